// The WebSocket handshake between client and backend: ours to the client, and ours, with a fresh
// key, to the backend. Nothing the client sends reaches the backend before its answer is validated.

import Configuration
import Bytes
import Kernel
import TLS
import Telemetry
import Wire

extension Worker where K: ~Copyable {
  private static var informationalMax: Int { 8 }

  /// Makes a checked handshake into an exchange and dials a backend.
  mutating func beginUpgrade(
    _ id: SlotID, _ plan: RoutePlan, _ request: AnsweredRequest, _ client: ClientIdentity,
    _ asked: HandshakeOffer
  ) {
    // A stream that ended with its request can be no WebSocket.
    guard !connections[id].pauses.contains(.finished) else {
      return respond(id, .malformedHandshake, to: request, detail: "ended")
    }
    guard handshakesInFlight < max(1, shared.snapshot.limits.handshakes / shared.workerCount)
    else { return refuseUpgrade(id, request, "handshakes") }
    var offer = asked
    if plan.webSocket.compression == .off { offer.deflate = [] }
    offer.key = freshKey()
    let outgoing = UpstreamRequest.upgrade(
      request.head, from: client, key: offer.key, offer: offer, edits: plan.headers.request,
      policy: shared.backendPolicy(of: plan))
    guard let outgoing else { return respond(id, .malformedRequest, to: request) }
    let facts = request.facts
    facts.route = plan.name
    let attempt = Attempt(
      head: request.head, facts: facts, request: outgoing, from: client,
      upgrade: UpgradeTerms(
        expectedAccept: Self.accept(offer.key),
        clientAccept: asked.key.isEmpty ? [] : Self.accept(asked.key), offer: offer))
    guard
      let exchange = exchanges.insert(
        Exchange(
          client: id, route: plan, upstream: upstreams[plan.upstream], attempt: attempt, now: now))
    else { return refuseUpgrade(id, request, "exchanges") }
    handshakesInFlight += 1
    connections[id].exchange = exchange
    connections[id].pauses.insert(.awaitingAnswer)
    updateInterest(id)
    dial(exchange)
  }

  private mutating func refuseUpgrade(
    _ id: SlotID, _ request: AnsweredRequest, _ limit: StaticString
  ) {
    metrics.add(.handshakesUnserved)
    respond(id, .limitReached, to: request, detail: limit)
  }

  mutating func freshKey() -> [UInt8] {
    let random = (kernel.random(), kernel.random())
    var bytes: [UInt8] = []
    for word in [random.0, random.1] {
      for shift in stride(from: 0, to: 64, by: 8) {
        bytes.append(UInt8(truncatingIfNeeded: word >> UInt64(shift)))
      }
    }
    return Digest.base64(bytes.span)
  }

  static func accept(_ key: [UInt8]) -> [UInt8] {
    Handshake.accept(key: key.span, sha1: { Digest.sha1($0) }, base64: { Digest.base64($0) })
  }

  // MARK: The backend's answer

  /// More of the answer is in the backend connection's `input`.
  mutating func answerReceived(_ exchange: SlotID) {
    while exchanges.contains(exchange), case .awaitingAnswer = exchanges[exchange].phase,
      let id = exchanges[exchange].backend
    {
      do throws(HTTPViolation) {
        guard let head = try Self.parseAnswer(&connections[id]) else { return }
        connections[id].role = .upstream(ResponseParser(limits: shared.responseLimits))
        answered(exchange, head)
      } catch {
        return refuseAnswer(exchange, error.word)
      }
    }
  }

  private static func parseAnswer(
    _ connection: inout Connection
  ) throws(HTTPViolation) -> ResponseHead? {
    guard case .upstream(var parser) = connection.role else { return nil }
    let parsed = try connection.input.withSpan {
      (bytes) throws(HTTPViolation) in try parser.parse(bytes)
    }
    connection.role = .upstream(parser)
    guard case .done(let head, let consumed) = parsed else { return nil }
    connection.input.consume(consumed)
    return head
  }

  private mutating func answered(_ exchange: SlotID, _ head: ResponseHead) {
    guard let attempt = exchanges[exchange].attempt else { return }
    if head.isInterim {
      attempt.informational += 1
      if attempt.informational > Self.informationalMax {
        refuseAnswer(exchange, "too-many-interim-responses")
      } else if head.status == 103, exchanges[exchange].forwarding != nil {
        relayInterim(exchange, head)
      }
    } else if head.status == 101 {
      // RFC 9110 section 15.2.2: nobody has asked for it.
      guard let terms = attempt.upgrade else {
        return refuseAnswer(exchange, "switching-protocols-unasked")
      }
      switching(exchange, head, attempt, terms)
    } else {
      relayFinal(exchange, head, attempt)
    }
  }

  private mutating func switching(
    _ exchange: SlotID, _ head: ResponseHead, _ attempt: Attempt, _ terms: UpgradeTerms
  ) {
    let agreement: HandshakeAgreement
    let expected = terms.expectedAccept
    do throws(AnswerViolation) {
      agreement = try Handshake.validateAnswer(
        head, expectedAccept: expected.span, offer: terms.offer)
    } catch {
      return refuseAnswer(exchange, error.word)
    }
    let plan = route(of: exchange)
    guard let client = exchanges[exchange].client,
      let answer = ClientResponse.accepting(
        head, accept: terms.clientAccept, agreement: agreement, edits: plan.headers.response,
        cookie: stickyCookie(exchange), onStream: connections[client].isStream)
    else { return refuseAnswer(exchange, "too-many-connection-options") }
    attempt.facts.subprotocol = agreement.subprotocol
    if accessLog.isOn || shared.snapshot.admin != nil {
      exchanges[exchange].facts = attempt.facts.kept()
    }
    exchanges[exchange].attempt = nil
    exchanges[exchange].timeout = .none
    exchanges[exchange].deadline = .never
    handshakesInFlight -= 1
    metrics.add(.handshakesAccepted)
    accessLog.open(attempt.facts, wall: kernel.wallClock())
    sendHead(client, answer)
    if plan.webSocket.mode == .tunnel {
      beginTunnel(exchange)
    } else {
      beginBridge(exchange, allowsRSV1: agreement.deflate != nil)
    }
  }

  /// The backend's connection ended before its answer was complete.
  mutating func answerLost(_ exchange: SlotID, _ loss: ConnectionLoss) {
    if triesAgain(exchange, loss) { return }
    switch loss {
    case .writeStalled, .timedOut: refuse(exchange, .backendSilent)
    case .tls(let failure):
      logEvent(
        .backendTLSFailed, reason: failure.reason,
        endpoint: exchanges[exchange].attempt?.facts.endpoint)
      refuse(exchange, .backendTLSFailed, detail: failure.word)
    case .endOfStream, .failed: refuse(exchange, .backendVanished)
    }
  }

  private mutating func refuseAnswer(_ exchange: SlotID, _ detail: StaticString) {
    guard exchanges.contains(exchange) else { return }
    logEvent(
      .backendAnswerBroken, reason: detail.description,
      endpoint: exchanges[exchange].attempt?.facts.endpoint)
    refuse(exchange, .backendAnswerBroken, detail: detail)
  }
}
