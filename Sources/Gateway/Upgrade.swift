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
    _ id: SlotID, _ pending: PendingRequest, _ asked: HandshakeOffer, _ granted: [GrantedField]
  ) {
    let (plan, request, client) = (pending.plan, pending.request, pending.client)
    guard admitsHandshake(id, request) else { return }
    var offer = asked
    if plan.webSocket.compression == .off { offer.deflate = [] }
    offer.key = freshKey()
    let outgoing = UpstreamRequest.upgrade(
      request.head, from: client, key: offer.key, offer: offer, edits: plan.requestEdits,
      policy: BackendPolicy(of: plan, to: pending.upstream.plan, granted))
    guard let outgoing else { return respond(id, .malformedRequest, to: request) }
    let attempt = Attempt(
      request, request: outgoing, from: client,
      upgrade: UpgradeTerms(
        expectedAccept: Self.accept(offer.key),
        clientAccept: asked.key.isEmpty ? [] : Self.accept(asked.key), offer: offer))
    guard
      let exchange = exchanges.insert(
        Exchange(
          client: id, route: plan, upstream: pending.upstream, attempt: attempt,
          now: request.startedAt))
    else { return refuseUpgrade(id, request, "exchanges") }
    handshakesInFlight += 1
    connections[id].exchange = exchange
    connections[id].pauses.insert(.awaitingAnswer)
    updateInterest(id)
    dial(exchange)
  }

  /// False when it has been answered that there will be no WebSocket.
  mutating func admitsHandshake(_ id: SlotID, _ request: AnsweredRequest) -> Bool {
    // A stream that ended with its request can be no WebSocket.
    if connections[id].pauses.contains(.finished) {
      respond(id, .malformedHandshake, to: request, detail: "ended")
      return false
    }
    let most = max(1, shared.snapshot.limits.handshakes / shared.workerCount)
    if handshakesInFlight < most { return true }
    refuseUpgrade(id, request, "handshakes")
    return false
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

  /// More of the answer. A final head that is whole is read where it lies and relayed with what is
  /// behind it; everything else is collected first.
  mutating func answerReceived(_ exchange: SlotID, _ bytes: Span<UInt8>) {
    guard let id = exchanges[exchange].backend else { return }
    // The answer of an authorization service goes nowhere before `answered()` has looked at it.
    guard connections[id].input.isEmpty, case .awaitingAnswer = exchanges[exchange].phase,
      let attempt = exchanges[exchange].attempt, attempt.authorizes == nil
    else { return collectAnswer(exchange, id, bytes) }
    do throws(HTTPViolation) {
      guard case (var head, let consumed)? = try Self.parse(&connections[id].role, bytes, &headRoom)
      else {
        return connections[id].input.append(bytes)
      }
      let rest = bytes.extracting(consumed..<bytes.count)
      if head.status >= 200 {
        relayFinal(exchange, head, attempt, rest: rest)
        return headRoom.take(from: &head)
      }
      connections[id].input.append(rest)
      answered(exchange, head)
      headRoom.take(from: &head)
      readAnswer(exchange)
    } catch {
      refuseAnswer(exchange, error.word)
    }
  }

  private mutating func collectAnswer(_ exchange: SlotID, _ id: SlotID, _ bytes: Span<UInt8>) {
    connections[id].input.append(bytes)
    readAnswer(exchange)
  }

  /// The backend connection's `input` holds what has come.
  private mutating func readAnswer(_ exchange: SlotID) {
    while exchanges.contains(exchange), case .awaitingAnswer = exchanges[exchange].phase,
      let id = exchanges[exchange].backend
    {
      do throws(HTTPViolation) {
        guard var head = try Self.parseAnswer(&connections[id], in: &headRoom) else { return }
        answered(exchange, head)
        headRoom.take(from: &head)
      } catch {
        return refuseAnswer(exchange, error.word)
      }
    }
  }

  /// The next head that `input` holds whole.
  static func parseAnswer(
    _ connection: inout Connection, in room: inout HeadRoom
  ) throws(HTTPViolation) -> ResponseHead? {
    var role = connection.role
    let parsed = try connection.input.withSpan {
      (bytes) throws(HTTPViolation) in try parse(&role, bytes, &room)
    }
    connection.role = role
    guard let (head, consumed) = parsed else { return nil }
    connection.input.consume(consumed)
    return head
  }

  /// The head and its length, once it is whole.
  private static func parse(
    _ role: inout ConnectionRole, _ bytes: Span<UInt8>, _ room: inout HeadRoom
  ) throws(HTTPViolation) -> (ResponseHead, Int)? {
    let parsed: Parsed<ResponseHead>
    switch role {
    case .upstream(var parser):
      parsed = try parser.parse(bytes, in: &room)
      role = .upstream(parser)
    case .probe(let probe, var parser):
      parsed = try parser.parse(bytes, in: &room)
      role = .probe(probe, parser)
    case .front, .http2, .stream, .echo: return nil
    }
    guard case .done(let head, let consumed) = parsed else { return nil }
    return (head, consumed)
  }

  private mutating func answered(_ exchange: SlotID, _ head: ResponseHead) {
    guard let attempt = exchanges[exchange].attempt else { return }
    if head.isInterim {
      attempt.informational += 1
      if attempt.informational > Self.informationalMax {
        refuseAnswer(exchange, "too-many-interim-responses")
      } else if head.status == 103, exchanges[exchange].forwarding != nil,
        attempt.authorizes == nil
      {
        relayInterim(exchange, head)
      }
    } else if head.status == 101 {
      // RFC 9110 section 15.2.2: nobody has asked for it.
      guard let terms = attempt.upgrade else {
        return refuseAnswer(exchange, "switching-protocols-unasked")
      }
      switching(exchange, head, attempt, terms)
    } else if let question = attempt.authorizes, head.status < 300 || head.status >= 500 {
      authorizationAnswered(exchange, head, question)
    } else {
      guard let id = exchanges[exchange].backend else { return }
      var waiting = ByteQueue()
      swap(&waiting, &connections[id].input)
      waiting.withSpan { relayFinal(exchange, head, attempt, rest: $0) }
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
    if keepsFacts { exchanges[exchange].facts = attempt.facts.kept() }
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
