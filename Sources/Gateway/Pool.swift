// Connections to backends that wait for their next request. Each worker has its own; a connection is
// put here only behind a response that ended where its framing said, with nothing behind it. One that
// closes or speaks while it waits is gone by its generation: `take` finds no slot any more.

import Bytes
import Configuration
import Kernel
import Telemetry
import Wire

/// By endpoint; the last one in is the first out, so that the rest can end. A list: until there are
/// hundreds of endpoints, looking through it is quicker than a hash.
struct Pool {
  /// Of one endpoint and worker.
  static var idleMax: Int { 256 }

  private struct Shelf {
    let endpoint: UInt64
    var waiting: [SlotID] = []
  }
  private var shelves: [Shelf] = []

  private func index(of endpoint: Endpoint) -> Int? {
    shelves.firstIndex { $0.endpoint == endpoint.id }
  }

  /// The one that has waited longest, when there are too many.
  mutating func put(_ id: SlotID, _ endpoint: Endpoint) -> SlotID? {
    let index = index(of: endpoint) ?? shelves.endIndex
    if index == shelves.endIndex { shelves.append(Shelf(endpoint: endpoint.id)) }
    shelves[index].waiting.append(id)
    return shelves[index].waiting.count > Self.idleMax ? shelves[index].waiting.removeFirst() : nil
  }

  mutating func take(_ endpoint: Endpoint) -> SlotID? {
    index(of: endpoint).flatMap { shelves[$0].waiting.popLast() }
  }

  /// One of any endpoint.
  mutating func takeAny() -> SlotID? {
    guard let index = shelves.firstIndex(where: { !$0.waiting.isEmpty }) else { return nil }
    return shelves[index].waiting.popLast()
  }

  /// All of an endpoint that has gone.
  mutating func takeAll(_ endpoint: Endpoint) -> [SlotID] {
    index(of: endpoint).map { shelves.remove(at: $0).waiting } ?? []
  }
}

extension Worker where K: ~Copyable {
  /// A connection that has served `exchange` and may serve another.
  mutating func park(_ id: SlotID, _ upstream: WorkerUpstream, _ endpoint: Endpoint) {
    guard drainDeadline == nil, upstream.table.holds(endpoint),
      case .upstream = connections[id].role,
      connections[id].input.isEmpty, !connections[id].hasUnsent, connections[id].failure == nil,
      connections[id].pauses.isEmpty
    else { return closeNow(id) }
    setTimeout(id, .keepAliveIdle, after: shared.timeouts.upstreamKeepAlive)
    connections[id].isIdle = true
    metrics.change(.poolIdle, by: 1)
    if let oldest = pool.put(id, endpoint), connections.contains(oldest),
      connections[oldest].exchange == nil
    {
      closeNow(oldest)
    }
  }

  /// An idle connection to that endpoint. `isFresh`: one whose end may have come in this turn is no
  /// good, for the request cannot be sent twice.
  mutating func takeIdle(_ endpoint: Endpoint, isFresh: Bool) -> SlotID? {
    while let id = pool.take(endpoint) {
      guard connections.contains(id), connections[id].exchange == nil else { continue }
      if !isFresh || isSilent(id) { return id }
      closeNow(id)
    }
    return nil
  }

  /// Idle connections must not take the places, nor the descriptors, of those that are needed: there
  /// are as many for backends as for clients.
  mutating func makeRoomForBackend() {
    guard connections.count - clients - streams >= shared.connectionsPerWorker else { return }
    while let id = pool.takeAny() {
      if connections.contains(id), connections[id].exchange == nil { return closeNow(id) }
    }
  }

  private mutating func isSilent(_ id: SlotID) -> Bool {
    let frames = self.frames
    frames.reset()
    return kernel.receive(connections[id].descriptor, into: frames, limit: 1) == .wouldBlock
  }

  /// Sends the exchange's request on a connection that has served before.
  mutating func reuse(_ exchange: SlotID, _ id: SlotID, _ forwarding: Forwarding) {
    guard let attempt = exchanges[exchange].attempt else { return }
    forwarding.isReused = true
    clearTimeout(id)
    connections[id].isIdle = false
    // The limits of now, which are not those it was opened under when there has been a reload.
    connections[id].role = .upstream(ResponseParser(limits: shared.responseLimits))
    metrics.change(.poolIdle, by: -1)
    connections[id].exchange = exchange
    exchanges[exchange].setConnection(.backend, id)
    awaitAnswer(exchange)
    metrics.add(.connectionsReused)
    send(id, attempt.request)
    startRequestBody(exchange)
  }
}
