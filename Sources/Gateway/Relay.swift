// Backpressure. The only place that decides to pause or resume the reading of a direction: at the
// high mark of unsent bytes towards one side, the other side is not read; at the low mark it is
// again. Nothing else stops.

import Bytes
import Telemetry

extension Worker where K: ~Copyable {
  /// Bytes towards `id` wait: stop reading what feeds it.
  mutating func pauseSourceIfFull(_ id: SlotID) {
    guard connections[id].unsent >= highMark(id), let source = source(of: id) else {
      return
    }
    guard !connections[source].pauses.contains(.backpressure) else { return }
    connections[source].pauses.insert(.backpressure)
    metrics.add(.pauses, 1)
    updateInterest(source)
    if let exchange = connections[source].exchange { exchangeReadingPaused(exchange, source) }
  }

  mutating func resumeSourceIfDrained(_ id: SlotID) {
    guard connections[id].unsent <= Self.outputLowMark, let source = source(of: id) else {
      return
    }
    guard connections[source].pauses.contains(.backpressure) else { return }
    connections[source].pauses.remove(.backpressure)
    updateInterest(source)
    if let exchange = connections[source].exchange { exchangeReadingResumed(exchange, source) }
    if case .front = connections[source].role, source == id { serveRequests(id) }
  }

  private func highMark(_ id: SlotID) -> Int {
    connections[id].isStream ? streamHighMark(id) : Self.outputHighMark
  }

  /// The connection whose bytes go to `id`. Clients of the gateway itself (of its own answers, of
  /// the echo backend) feed themselves.
  private func source(of id: SlotID) -> SlotID? {
    switch connections[id].role {
    case .echo: return id
    case .front where connections[id].exchange == nil: return id
    // What it says itself is bounded by its session; its streams have sources of their own.
    case .http2: return nil
    case .front, .stream, .upstream, .probe: break
    }
    guard let exchange = connections[id].exchange, exchanges.contains(exchange),
      let source = exchanges[exchange].other(than: id), connections.contains(source)
    else { return nil }
    return source
  }
}
