// Deadlines of connections and exchanges. Each slot has one deadline and at most one timely entry in
// the wheel; pushing a deadline back touches only the slot.

import Configuration
import Bytes
import Telemetry

extension Worker where K: ~Copyable {
  // MARK: Connections

  mutating func setTimeout(_ id: SlotID, _ timeout: ConnectionTimeout, after span: TimeSpan) {
    let deadline = now + span
    connections[id].timeout = timeout
    connections[id].deadline = deadline
    if deadline < connections[id].armedAt { arm(connection: id, for: deadline) }
  }

  /// Entries outlive their slots, so none is set further ahead than this.
  private static var furthestEntry: TimeSpan { .seconds(60) }

  private mutating func arm(connection id: SlotID, for deadline: MonotonicTime) {
    let entry = min(deadline, now + Self.furthestEntry)
    connections[id].armedAt = entry
    timers.add(.connection(id), at: entry)
  }

  private mutating func arm(exchange: SlotID, for deadline: MonotonicTime) {
    let entry = min(deadline, now + Self.furthestEntry)
    exchanges[exchange].armedAt = entry
    timers.add(.exchange(exchange), at: entry)
  }

  mutating func clearTimeout(_ id: SlotID) {
    connections[id].timeout = .none
    connections[id].deadline = .never
  }

  // MARK: Exchanges

  mutating func setTimeout(
    exchange: SlotID, _ timeout: ExchangeTimeout, after span: TimeSpan
  ) {
    setTimeout(exchange: exchange, timeout, at: now + span)
  }

  mutating func setTimeout(
    exchange: SlotID, _ timeout: ExchangeTimeout, at deadline: MonotonicTime
  ) {
    exchanges[exchange].timeout = timeout
    exchanges[exchange].deadline = deadline
    if deadline < exchanges[exchange].armedAt { arm(exchange: exchange, for: deadline) }
  }

  // MARK: Firing

  mutating func fireTimers() {
    while let entry = timers.next(now: now) {
      // An entry that a nearer one has replaced ends here; put back, they would add up.
      guard Timers.isTimely(entry, connections, exchanges) else { continue }
      switch entry.owner {
      case .connection(let id): fire(connection: id)
      case .exchange(let id): fire(exchange: id)
      case .acceptPause: resumeAccepting()
      case .probe(let endpoint): probeDue(endpoint, entry.deadline)
      case .drain: break
      }
      if !casualties.isEmpty { reapCasualties() }
    }
    timers.sweepIfOvergrown(connections, exchanges)
  }

  private mutating func fire(connection id: SlotID) {
    connections[id].armedAt = .never
    let deadline = connections[id].deadline
    guard deadline <= now else {
      if deadline != .never { arm(connection: id, for: deadline) }
      return
    }
    let timeout = connections[id].timeout
    clearTimeout(id)
    switch timeout {
    case .none: break
    case .tlsHandshake:
      metrics.add(.tlsHandshakeTimeouts)
      logTLSFailure(id, "handshake timed out")
      closeNow(id)
    case .requestHead: headTimedOut(id)
    case .requestBody: requestBodyTimedOut(id)
    case .keepAliveIdle: idleTimedOut(id)
    case .writeStall: connectionLost(id, .writeStalled)
    case .lingering: lingeringTimedOut(id)
    case .adminAnswer: adminAnswerTimedOut(id)
    case .http2Silence: http2Silent(id)
    case .http2Drain: sendLastGoAway(id)
    }
  }

  private mutating func lingeringTimedOut(_ id: SlotID) {
    if !connections[id].hasUnsent { closeNow(id) } else { abortNow(id) }
  }

  private mutating func fire(exchange: SlotID) {
    exchanges[exchange].armedAt = .never
    let deadline = exchanges[exchange].deadline
    guard deadline <= now else {
      if deadline != .never { arm(exchange: exchange, for: deadline) }
      return
    }
    let timeout = exchanges[exchange].timeout
    exchanges[exchange].timeout = .none
    exchanges[exchange].deadline = .never
    switch timeout {
    case .none: break
    case .queue: queueTimedOut(exchange)
    case .connect: connectTimedOut(exchange)
    case .answer: refuse(exchange, .backendSilent)
    case .responseIdle: relayTimedOut(exchange)
    case .keepAlive: keepAliveDue(exchange)
    case .tunnelIdle: tunnelTimedOut(exchange)
    case .closing: closeTimedOut(exchange)
    }
  }

  // MARK: Lengths

  func writeStall(_ id: SlotID) -> TimeSpan { timeouts(of: id).writeStall }
  func closeTimeout(_ id: SlotID) -> TimeSpan { timeouts(of: id).close }

  func timeouts(of id: SlotID) -> RouteTimeouts {
    guard let exchange = connections[id].exchange, exchanges.contains(exchange) else {
      return shared.timeouts
    }
    return route(of: exchange).timeouts
  }
}
