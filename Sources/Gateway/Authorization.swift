// Asking before a request is passed on (`authorize` of a route). The question is an exchange of its own
// between the same client and the service, which is an upstream like any other: so it is dialled,
// pooled, ejected and timed like all others. It never answers the client when the service has let the
// request through: then it is dissolved, and the request goes the way it would have gone without.

import Bytes
import Configuration
import Kernel
import Telemetry
import Wire

/// A request that has passed every check of the gateway's own, until somebody has let it through.
struct PendingRequest {
  let plan: RoutePlan
  /// Where it goes, whatever the worker's upstreams are by the time of the verdict.
  let upstream: WorkerUpstream
  let request: AnsweredRequest
  let client: ClientIdentity
  /// Of a WebSocket handshake; nil for a plain request.
  var offer: HandshakeOffer?
}

/// What is asked of an authorization service: whether the request may be passed on.
final class Question {
  let pending: PendingRequest
  /// For the whole of it, whatever has to be tried.
  let deadline: MonotonicTime
  /// What a positive verdict is kept under.
  fileprivate let verdictKey: VerdictCache.Key?

  fileprivate init(
    _ pending: PendingRequest, until deadline: MonotonicTime, _ verdictKey: VerdictCache.Key?
  ) {
    self.pending = pending
    self.deadline = deadline
    self.verdictKey = verdictKey
  }
}

extension Worker where K: ~Copyable {
  /// Passes the request on, if its route asks nobody or the answer is known; otherwise asks. Nothing of
  /// the request but its head is used before the verdict.
  mutating func authorize(_ id: SlotID, _ pending: PendingRequest) {
    guard let settings = pending.plan.authorize else { return passOn(id, pending) }
    let key = VerdictCache.Key(
      pending.plan, pending.request.head, settings, secret: shared.process.secret)
    if let key, let granted = verdicts.find(key, now: now) {
      metrics.add(.authorizationsKept)
      return passOn(id, pending, granted)
    }
    guard pending.offer == nil || admitsHandshake(id, pending.request) else { return }
    ask(id, pending, settings, key)
  }

  private mutating func ask(
    _ id: SlotID, _ pending: PendingRequest, _ settings: AuthorizeSettings,
    _ key: VerdictCache.Key?
  ) {
    let request = pending.request
    let question = AuthorizationRequest.question(
      request.head, from: pending.client, isHandshake: pending.offer != nil, settings)
    guard let question else { return respond(id, .malformedRequest, to: request) }
    let attempt = Attempt(request, request: question, from: pending.client)
    attempt.authorizes = Question(pending, until: now + settings.timeout, key)
    guard
      let exchange = exchanges.insert(
        Exchange(
          client: id, route: pending.plan, upstream: upstreams[settings.upstream],
          attempt: attempt, now: now))
    else { return respond(id, .limitReached, to: request, detail: "exchanges") }
    exchanges[exchange].forwarding = Forwarding(
      isRepeatable: true, keepsClient: pending.offer == nil && keepsConnectionUnread(request.head))
    if pending.offer != nil { handshakesInFlight += 1 }
    connections[id].exchange = exchange
    connections[id].pauses.insert(.awaitingAnswer)
    updateInterest(id)
    dial(exchange)
  }

  private mutating func passOn(
    _ id: SlotID, _ pending: PendingRequest, _ granted: [GrantedField] = []
  ) {
    guard let offer = pending.offer else {
      return beginForwarding(
        id, pending.plan, pending.upstream, pending.request, pending.client, granted)
    }
    beginUpgrade(id, pending, offer, granted)
  }

  // MARK: Verdicts

  /// The head of the service's final answer to a question, if it is no refusal.
  mutating func authorizationAnswered(
    _ exchange: SlotID, _ head: ResponseHead, _ question: Question
  ) {
    let pending = question.pending
    guard let settings = pending.plan.authorize, head.status < 300,
      let granted = AuthorizationRequest.granted(by: head, settings)
    else { return refuse(exchange, .backendAnswerBroken) }
    endpointAnswered(exchange, well: true)
    if let key = question.verdictKey, let cache = settings.cache {
      verdicts.add(key, granted, until: now + cache.span, now: now)
    }
    let isWhole = hasWholeAnswer(exchange, head)
    guard let client = dissolve(exchange, parking: isWhole) else { return }
    passOn(client, pending, granted)
  }

  /// The client gets what the service says, and keeps its connection where nothing unread is in the
  /// way of the next request.
  mutating func authorizationRefused(
    _ exchange: SlotID, _ client: SlotID, _ pending: PendingRequest
  ) {
    guard let forwarding = exchanges[exchange].forwarding else { return }
    metrics.add(.authorizationRefusals)
    if pending.offer != nil {
      handshakesInFlight -= 1
      metrics.add(.handshakesUnauthorized)
    }
    if forwarding.keepsClient {
      forwarding.hasStarted = true
      return readOnUnlessFull(client)
    }
    metrics.add(.bytesAfterClose, UInt64(connections[client].input.count))
    connections[client].input.removeAll()
    connections[client].pauses.remove(.awaitingAnswer)
    updateInterest(client)
  }

  /// No verdict has come of the question.
  mutating func authorizationFailed(
    _ exchange: SlotID, _ pending: PendingRequest, _ fault: Fault
  ) {
    let isPassed = pending.plan.authorize?.onFailure == .allow
    let service = exchanges[exchange].upstream.name
    errorLog.write(.authorizationFailed, now: now, wall: kernel.wallClock()) { line in
      line.field("id", pending.request.facts.id)
      line.field("route", pending.plan.name)
      line.field("service", service)
      line.field("reason", word: fault.word)
      line.field("request", word: isPassed ? "passed" : "refused")
    }
    guard isPassed else {
      return refuse(exchange, .authorizationFailed, detail: fault.word)
    }
    metrics.add(.authorizationFailures)
    guard let client = dissolve(exchange, parking: false) else { return }
    passOn(client, pending)
  }

  /// Ends a question without a word to the client, which goes on waiting. Returns it unless it has gone.
  private mutating func dissolve(_ exchange: SlotID, parking: Bool) -> SlotID? {
    let upstream = exchanges[exchange].upstream
    let endpoint = exchanges[exchange].endpoint
    let client = exchanges[exchange].client
    let backend = exchanges[exchange].backend
    detach(exchange, .backend)
    detach(exchange, .client)
    remove(exchange)
    if let backend, connections.contains(backend) {
      if parking, let endpoint { park(backend, upstream, endpoint) } else { closeNow(backend) }
    }
    guard let client, connections.contains(client) else { return nil }
    return client
  }

  /// Whether the answer's body has come with its head, and nothing behind it. Nobody waits for more.
  private mutating func hasWholeAnswer(_ exchange: SlotID, _ head: ResponseHead) -> Bool {
    guard let backend = exchanges[exchange].backend, head.keepsConnection else { return false }
    var body = BodyFraming(head.bodyFraming)
    var waiting = ByteQueue()
    swap(&waiting, &connections[backend].input)
    return waiting.withSpan { bytes in
      (try? body.advance(bytes)) == .complete(consumed: bytes.count)
    }
  }
}

extension Fault {
  /// The service has given no verdict. Everything else is the client's matter, or our own.
  var leavesQuestionOpen: Bool {
    switch self {
    case .noEndpoint, .connectFailed, .backendTLSFailed: true
    default: isBadAnswer
    }
  }
}
