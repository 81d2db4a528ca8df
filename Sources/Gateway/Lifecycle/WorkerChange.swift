// What a reload comes to in a worker: the new configuration counts for what begins from here on, and
// what is open goes on as it began, unless its route says otherwise.

import Bytes
import Configuration
import Kernel
import Telemetry

struct WorkerChange: Sendable {
  let shared: SharedState
  /// By the number the worker knows it by: how it serves from now on.
  var kept: [Int: Listener] = [:]
  var removed: [Int] = []
  var added: [Listener] = []
}

extension Worker where K: ~Copyable {
  mutating func apply(_ change: WorkerChange) {
    guard drainDeadline == nil else {
      for socket in change.added.flatMap(\.sockets) { kernel.close(socket) }
      return
    }
    shared = change.shared
    accessLog = AccessLog(ring: shared.accessRing, metrics: metrics)
    errorLog.level = shared.logLevel
    changeUpstreams()
    changeListeners(change)
    closeChanged()
  }

  private mutating func changeUpstreams() {
    let before = upstreams
    upstreams = zip(shared.upstreams, shared.tables).map { plan, table in
      guard let known = before.first(where: { $0.name == table.upstream }) else {
        return WorkerUpstream(plan, table, worker: index, now: now)
      }
      for endpoint in known.change(to: table, plan, now: now) { closeIdle(endpoint) }
      return known
    }
    for gone in before where !upstreams.contains(where: { $0 === gone }) {
      for endpoint in gone.table.endpoints { closeIdle(endpoint) }
      waiting -= gone.waiting.count
      for exchange in gone.waiting where exchanges.contains(exchange) {
        refuse(exchange, .noEndpoint, detail: "removed")
      }
      gone.waiting = []
    }
    for upstream in upstreams { beginProbes(upstream) }
  }

  /// Connections remember their listener by its number, so that none is ever taken out of the list.
  private mutating func changeListeners(_ change: WorkerChange) {
    for number in change.removed where listeners.indices.contains(number) {
      closeListener(number)
    }
    for (number, next) in change.kept where listeners.indices.contains(number) {
      let (sockets, isShared) = (listeners[number].sockets, listeners[number].isShared)
      listeners[number] = next
      listeners[number].sockets = sockets
      listeners[number].isShared = isShared
    }
    for listener in change.added {
      listeners.append(listener)
      if isAccepting, !watchListener(listeners.count - 1) { logEvent(.acceptFailed) }
    }
  }

  /// WebSockets whose route is another one now, or none.
  private mutating func closeChanged() {
    var known: [ObjectIdentifier: Bool] = [:]
    var leaving: [SlotID] = []
    for index in 0..<exchanges.indexLimit {
      guard let exchange = exchanges.id(at: index) else { continue }
      let route = exchanges[exchange].route
      guard route.webSocket.onChange == .close, isOpenSocket(exchange) else { continue }
      let isKnown =
        known[ObjectIdentifier(route)] ?? shared.routes.contains { $0.isSame(as: route) }
      known[ObjectIdentifier(route)] = isKnown
      if !isKnown { leaving.append(exchange) }
    }
    sendAway(leaving, .routeChanged)
  }

  func isOpenSocket(_ exchange: SlotID) -> Bool {
    switch exchanges[exchange].phase {
    case .bridge, .tunnel: true
    case .connecting, .awaitingAnswer, .relayingResponse: false
    }
  }
}
