// SIGTERM, or a successor that serves: no new connections, every bridge told to go at a frame boundary, evenly over the time there
// is, and the end when the last one has gone or the time is up.

import Configuration
import Bytes
import Kernel
import Telemetry

extension Worker where K: ~Copyable {
  /// `fault`: what WebSockets are told. An upgrade under way is let through, and told as soon as it is
  /// a bridge.
  mutating func beginDrain(_ fault: Fault) {
    guard drainDeadline == nil else { return }
    if fault == .superseded { acceptWaiting() }
    closeListeners()
    let time = shared.snapshot.timeouts.drain
    drainDeadline = now + time
    drainFault = fault
    timers.add(.drain, at: now + time)
    let sockets = openSockets()
    // A few over HTTP/2 go with the last GOAWAY of their connection.
    let isHerd = sockets.count > Departures.fewMax
    abandonDepartures()
    sendAway(isHerd ? sockets : sockets.filter { !isOverHTTP2($0) }, fault)
    closeIdleConnections()
    // A check that is cut off says nothing.
    probes = [:]
    reapCasualties()
    continueDrain()
  }

  /// Tells a part of the WebSockets to go, and goes on. Who has been chosen before, and waits for its
  /// turn or for its client's Close, is not chosen again: two halves are all.
  mutating func dismiss(percent: Int) {
    guard drainDeadline == nil else { return }
    let sockets = openSockets()
    let waiting = departures.waitingSockets
    var chosen: [SlotID] = []
    let count = Departures.part(sockets.count, percent)
    for socket in sockets where chosen.count < count {
      if exchanges[socket].bridge.fault == nil, !waiting.contains(socket) { chosen.append(socket) }
    }
    sendAway(chosen, .drain)
  }

  /// In no order: neighbours in the table are often of one client.
  private mutating func openSockets() -> [SlotID] {
    var sockets: [SlotID] = []
    for index in 0..<exchanges.indexLimit {
      guard let exchange = exchanges.id(at: index), isOpenSocket(exchange) else { continue }
      sockets.append(exchange)
    }
    for index in sockets.indices.dropFirst() {
      let other = Int(kernel.random().multipliedFullWidth(by: UInt64(index + 1)).high)
      sockets.swapAt(index, other)
    }
    return sockets
  }

  /// Whether new requests are turned away. Not when there is a successor: a client that has this
  /// process on its line cannot know of it.
  var refusesNewWork: Bool { drainDeadline != nil && drainFault != .superseded }

  /// How long a connection in use may stay after that, for its next request to be answered with
  /// `Connection: close`.
  private static var lastRequestPatience: TimeSpan { .seconds(5) }

  /// The first request of a connection may be on its way, and so may the next one.
  private mutating func endIdle(_ id: SlotID) {
    if refusesNewWork { return finish(id, lingering: false) }
    guard connections[id].timeout == .keepAliveIdle else { return }
    let patience = min(shared.timeouts.keepAlive, Self.lastRequestPatience)
    setTimeout(id, .keepAliveIdle, after: patience)
  }

  private mutating func closeIdleConnections() {
    for index in 0..<connections.indexLimit {
      guard let id = connections.id(at: index), connections[id].exchange == nil else { continue }
      switch connections[id].role {
      case .front where connections[id].input.isEmpty: endIdle(id)
      case .echo: endEcho(id)
      case .http2(let front) where refusesNewWork || front.hasServed: beginGoingAway(id, front)
      case .http2: endIdle(id)
      case .upstream, .probe: closeNow(id)
      case .front, .stream: break
      }
    }
  }

  /// Ends the worker, whatever is open.
  mutating func stopAtOnce() {
    isStopped = true
    shared.process.departures.add(cutOff: openSockets().count)
  }

  /// Ends the worker when nothing is left, or when the time is up, whatever is left.
  mutating func continueDrain() {
    guard let deadline = drainDeadline else { return }
    if connections.count == 0 {
      isStopped = true
    } else if now >= deadline {
      stopAtOnce()
      for index in 0..<connections.indexLimit {
        if let id = connections.id(at: index) { connectionLost(id, .timedOut) }
      }
    }
  }
}
