// SIGTERM: no new connections, every bridge told 1001 at a frame boundary, and the end when the last
// one has gone or the time is up.

import Configuration
import Bytes
import Telemetry

extension Worker where K: ~Copyable {
  mutating func beginDrain() {
    guard drainDeadline == nil else { return }
    closeListeners()
    let deadline = now + shared.snapshot.timeouts.drain
    drainDeadline = deadline
    timers.add(.drain, at: deadline)
    for index in 0..<exchanges.indexLimit {
      guard let exchange = exchanges.id(at: index) else { continue }
      if isOverHTTP2(exchange) { continue }
      switch exchanges[exchange].phase {
      case .bridge: endBridge(exchange, .drain)
      case .tunnel: endTunnel(exchange, .drain)
      // An upgrade under way is let through, and told to go as soon as it is a bridge.
      case .connecting, .awaitingAnswer, .relayingResponse: break
      }
    }
    closeIdleConnections()
    reapCasualties()
    continueDrain()
  }

  private mutating func closeIdleConnections() {
    for index in 0..<connections.indexLimit {
      guard let id = connections.id(at: index), connections[id].exchange == nil else { continue }
      switch connections[id].role {
      case .front where connections[id].input.isEmpty: finish(id, lingering: false)
      case .echo: endEcho(id)
      case .http2(let front): beginGoingAway(id, front)
      case .upstream, .probe: closeNow(id)
      case .front, .stream: break
      }
    }
  }

  /// Ends the worker when nothing is left, or when the time is up, whatever is left.
  mutating func continueDrain() {
    guard let deadline = drainDeadline else { return }
    if connections.count == 0 {
      isStopped = true
    } else if now >= deadline {
      isStopped = true
      for index in 0..<connections.indexLimit {
        if let id = connections.id(at: index) { connectionLost(id, .timedOut) }
      }
    }
  }
}
