// One request and its response, from the head until the last byte; for an upgrade that is the whole
// life of its bridge or tunnel. Lives in a slot of the worker's slab. Its legs are ids of
// connections, of which the client's may be a stream of an HTTP/2 connection.

import TLS
import Kernel
import Configuration
import Bytes
import Telemetry
import Wire

/// How far an exchange has come.
enum ExchangePhase: Equatable {
  /// A backend is being dialled; nothing has been sent to it.
  case connecting
  /// The request is with the backend.
  case awaitingAnswer
  /// The one final response, to a plain request or a refused upgrade, goes to the client.
  case relayingResponse
  case bridge
  case tunnel
}

/// What an exchange's deadline means when it passes.
enum ExchangeTimeout {
  case none
  case queue
  case connect
  case answer
  case responseIdle
  case keepAlive
  case tunnelIdle
  case closing
}

/// What is needed until the backend's answer is there, and then let go.
final class Attempt {
  let asked: AnsweredRequest
  // As in HTTP2Front, here and below.
  /// The head for the backend.
  @safe @exclusivity(unchecked) var request: [UInt8]
  /// Nil for a plain request.
  let upgrade: UpgradeTerms?
  /// The exchange is only a question, which the client does not see: whether this may be passed on.
  var authorizes: Question?
  private let address: IPAddress?
  private let isSecure: Bool
  /// In the order they were taken.
  @safe @exclusivity(unchecked) var tried = TriedEndpoints()
  var informational = 0
  /// What the head says about where it belongs, and the table it says that of.
  private var affinity = ClientAffinity()
  private var table: EndpointTable?

  init(
    _ asked: AnsweredRequest, request: [UInt8], from client: ClientIdentity,
    upgrade: UpgradeTerms? = nil
  ) {
    self.asked = asked
    self.request = request
    address = client.address
    isSecure = client.isHTTPS
    self.upgrade = upgrade
  }

  var head: RequestHead { asked.head }
  var facts: ConnectionFacts { asked.facts }

  func affinity(in table: EndpointTable) -> ClientAffinity {
    if table !== self.table {
      self.table = table
      affinity = table.affinity(of: head, from: address, isSecure: isSecure)
    }
    return affinity
  }

  func triedIndices(in table: EndpointTable) -> [Int] {
    tried.indices(in: table)
  }
}

/// Mostly one, so that nothing is allocated for it.
struct TriedEndpoints {
  private var first: Endpoint?
  private var others: [Endpoint] = []

  var isEmpty: Bool { first == nil }

  mutating func append(_ endpoint: Endpoint) {
    if first == nil { first = endpoint } else { others.append(endpoint) }
  }

  mutating func removeLast() { if others.popLast() == nil { first = nil } }

  func indices(in table: EndpointTable) -> [Int] {
    guard let first else { return [] }
    return ([first] + others).compactMap { endpoint in
      table.endpoints.firstIndex { $0 === endpoint }
    }
  }
}

/// What an upgrade needs beside its head.
struct UpgradeTerms {
  /// What the backend's `Sec-WebSocket-Accept` must be, and what ours to the client is.
  let expectedAccept: [UInt8]
  let clientAccept: [UInt8]
  let offer: HandshakeOffer
}

/// As in `Connection`, what every frame touches comes first.
struct Exchange: ~Copyable {
  private(set) var client: SlotID?
  private(set) var backend: SlotID?
  var phase = ExchangePhase.connecting
  var timeout = ExchangeTimeout.none
  var bridge: Bridge

  let route: RoutePlan
  let upstream: WorkerUpstream
  /// The one it has taken.
  var endpoint: Endpoint?
  let startedAt: MonotonicTime
  var attempt: Attempt?
  /// Of a plain request, and of an upgrade that was refused.
  var forwarding: Forwarding?
  /// For the close line.
  var facts: KeptFacts?
  var status: UInt16 = 0
  /// Bytes of a tunnel, or of a relayed body, by the leg they came from.
  var relayed = PerLeg<UInt64>(repeating: 0)
  /// Tunnels: this leg has sent its FIN.
  var ended = PerLeg<Bool>(repeating: false)

  var closedBy: Party?
  var fault: Fault?
  var violation: WebSocketViolation?

  var deadline = MonotonicTime.never
  var armedAt = MonotonicTime.never

  // Inlined, so that it is made where it will be.
  @inline(__always)
  init(
    client: SlotID, route: RoutePlan, upstream: WorkerUpstream, attempt: Attempt,
    now: MonotonicTime
  ) {
    self.client = client
    self.route = route
    self.upstream = upstream
    self.attempt = attempt
    startedAt = now
    bridge = .idle(now: now)
  }

  func connection(_ leg: Leg) -> SlotID? { leg == .client ? client : backend }

  mutating func setConnection(_ leg: Leg, _ id: SlotID?) {
    if leg == .client { client = id } else { backend = id }
  }

  /// Counts as a handshake in flight, until there is an answer.
  var isHandshake: Bool { forwarding == nil || attempt?.authorizes?.pending.offer != nil }

  func leg(of id: SlotID) -> Leg { id == client ? .client : .backend }
  func other(than id: SlotID) -> SlotID? { id == client ? backend : client }
}

extension Worker where K: ~Copyable {
  /// Plaintext for an exchange came from one of its legs.
  mutating func exchangeReceived(_ exchange: SlotID, from id: SlotID, _ bytes: SharedBuffer) {
    let leg = exchanges[exchange].leg(of: id)
    switch (exchanges[exchange].phase, leg) {
    case (.connecting, .client), (.awaitingAnswer, .client), (.relayingResponse, .client):
      if let forwarding = exchanges[exchange].forwarding {
        bytes.withSpan { requestBodyReceived(exchange, id, forwarding, $0) }
        return
      }
      // Not to be used before the backend's answer has been validated; reading is paused.
      bytes.withSpan { connections[id].input.append($0) }
    case (.connecting, .backend), (.awaitingAnswer, .backend):
      exchanges[exchange].forwarding?.hasAnswer = true
      bytes.withSpan { answerReceived(exchange, $0) }
    case (.relayingResponse, .backend): bytes.withSpan { relayBody(exchange, $0) }
    case (.bridge, _): bridgeReceived(exchange, from: leg, bytes)
    case (.tunnel, _): bytes.withSpan { tunnelReceived(exchange, from: leg, $0) }
    }
  }

  /// A leg's socket has ended by itself, and is closed.
  mutating func legLost(_ exchange: SlotID, _ id: SlotID, _ loss: ConnectionLoss) {
    let leg = exchanges[exchange].leg(of: id)
    detach(exchange, leg)
    switch exchanges[exchange].phase {
    case .connecting where leg == .backend: connectFailed(exchange, loss)
    case .awaitingAnswer where leg == .backend: answerLost(exchange, loss)
    case .connecting, .awaitingAnswer: abandon(exchange, .clientVanished)
    case .relayingResponse: relayLegLost(exchange, leg, loss)
    case .bridge: bridgeLegLost(exchange, leg, loss)
    case .tunnel: tunnelLegLost(exchange, leg, loss)
    }
  }

  /// Everything queued towards a leg has been sent.
  mutating func exchangeOutputDrained(_ exchange: SlotID, _ id: SlotID) {
    guard exchanges.contains(exchange) else { return }
    // What it took may be sent again, by a client that is a stream.
    if let source = exchanges[exchange].other(than: id) { settleCredit(source) }
    guard case .bridge = exchanges[exchange].phase else { return }
    let leg = exchanges[exchange].leg(of: id)
    let isPingWaiting = exchanges[exchange].bridge.keepAlive[leg.index].isPingWaiting
    let backlog = isPingWaiting ? backlog(id) : 0
    let wasStuck = !connections[id].isStream || connections[id].queuedSince < now
    exchanges[exchange].bridge.keepAlive[leg.index].outputDrained(
      now, backlog: backlog, wasStuck: wasStuck)
    scheduleKeepAlive(exchange)
  }

  mutating func exchangeReadingPaused(_ exchange: SlotID, _ id: SlotID) {
    guard exchanges.contains(exchange), case .bridge = exchanges[exchange].phase else { return }
    let leg = exchanges[exchange].leg(of: id)
    let limits = shared.snapshot.limits
    exchanges[exchange].bridge.from[leg.index].pings.readingPaused(
      now, burst: limits.pingBurst, perSecond: limits.pingRate)
  }

  mutating func exchangeReadingResumed(_ exchange: SlotID, _ id: SlotID) {
    guard exchanges.contains(exchange), case .bridge = exchanges[exchange].phase else { return }
    let leg = exchanges[exchange].leg(of: id)
    exchanges[exchange].bridge.keepAlive[leg.index].readingResumed(now)
    exchanges[exchange].bridge.from[leg.index].pings.readingResumed(now)
    scheduleKeepAlive(exchange)
  }

  // MARK: Ends without a WebSocket

  /// Ends an exchange that has not been answered yet with the status of `fault`.
  mutating func refuse(_ exchange: SlotID, _ fault: Fault, detail: StaticString? = nil) {
    guard exchanges.contains(exchange) else { return }
    let attempt = exchanges[exchange].attempt
    let client = exchanges[exchange].client
    let forwarding = exchanges[exchange].forwarding
    if fault.isBadAnswer { endpointAnswered(exchange, well: false) }
    if let question = attempt?.authorizes, fault.leavesQuestionOpen {
      return authorizationFailed(exchange, question.pending, fault)
    }
    if exchanges[exchange].isHandshake { metrics.count(handshakeFailed: fault) }
    abandonBackend(exchange)
    detach(exchange, .client)
    remove(exchange)
    guard let attempt, let client, connections.contains(client) else { return }
    // What came behind an upgrade may be meant as frames, and what comes behind half a body belongs
    // to that: neither is ever read as a request.
    let keeps = forwarding?.isRequestComplete == true && forwarding?.keepsClient == true
    respond(client, fault, to: attempt.asked, detail: detail, closes: !keeps)
  }

  /// The client is gone before any answer: nothing is owed to anybody.
  mutating func abandon(_ exchange: SlotID, _ fault: Fault) {
    if let attempt = exchanges[exchange].attempt {
      metrics.add(fault.counter, 1)
      if exchanges[exchange].isHandshake { metrics.count(handshakeFailed: fault) }
      logResponse(
        attempt.facts, method: attempt.head.methodBytes,
        ResponseFacts(
          status: nil, duration: now - exchanges[exchange].startedAt, fault: fault.word))
    }
    abandonBackend(exchange)
    detach(exchange, .client)
    remove(exchange)
  }

  private mutating func abandonBackend(_ exchange: SlotID) {
    guard let backend = exchanges[exchange].backend else { return }
    detach(exchange, .backend)
    closeNow(backend)
  }

  /// Frees the slot. Legs must be detached or lost before.
  mutating func remove(_ exchange: SlotID) {
    guard exchanges.contains(exchange) else { return }
    giveBackEndpoint(exchange)
    if let attempt = exchanges[exchange].attempt { spareBytes.give(&attempt.request) }
    switch exchanges[exchange].phase {
    case .connecting, .awaitingAnswer:
      if exchanges[exchange].isHandshake { handshakesInFlight -= 1 }
    case .relayingResponse, .bridge, .tunnel: break
    }
    exchanges.discard(exchange)
  }

  /// Takes a leg off the exchange; its connection goes its own way. What fed it must not stay
  /// paused for its sake.
  mutating func detach(_ exchange: SlotID, _ leg: Leg) {
    if let id = exchanges[exchange].connection(leg), connections.contains(id) {
      connections[id].exchange = nil
    }
    exchanges[exchange].setConnection(leg, nil)
    guard let other = exchanges[exchange].connection(leg.other), connections.contains(other) else {
      return
    }
    settleCredit(other)
    if connections[other].pauses.contains(.backpressure) {
      connections[other].pauses.remove(.backpressure)
      updateInterest(other)
    }
  }
}
