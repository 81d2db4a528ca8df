// Requests of a client's connection, one after the other: heads are parsed, answered by the gateway
// itself or made into an exchange. Nothing that follows a head is looked at while its exchange is
// under way.

import Configuration
import Bytes
import Kernel
import TLS
import Telemetry
import Wire

/// A request as far as its answer and its log line need it.
struct AnsweredRequest {
  let head: RequestHead
  let facts: ConnectionFacts
  let startedAt: MonotonicTime
}

private enum ParsedRequest {
  case needMore
  case head(RequestHead)
  case violation(HTTPViolation)
}

extension Worker where K: ~Copyable {
  mutating func requestBytesReceived(_ id: SlotID, _ bytes: Span<UInt8>) {
    connections[id].input.append(bytes)
    if beginsHTTP2(id) { return changeToHTTP2(id) }
    serveRequests(id)
  }

  /// Serves what waits in `input`, as long as requests are complete and answered at once, and their
  /// answers are taken.
  mutating func serveRequests(_ id: SlotID) {
    while connections.contains(id), connections[id].exchange == nil,
      case .open = connections[id].ending, !connections[id].input.isEmpty,
      !connections[id].pauses.contains(.backpressure), !awaitsWorkers(id)
    {
      switch Self.parse(&connections[id]) {
      case .needMore:
        if connections[id].timeout != .requestHead {
          setTimeout(id, .requestHead, after: shared.timeouts.requestHead)
        }
        return readOn(id)
      case .violation(let violation):
        return refuseUnread(id, .of(violation), detail: violation.word)
      case .head(let head):
        headComplete(id)
        connections[id].role = .front(RequestParser(limits: shared.requestLimits))
        metrics.add(.requests)
        serve(id, head)
      }
    }
    guard connections.contains(id), connections[id].exchange == nil, !awaitsWorkers(id) else {
      return
    }
    readOn(id)
  }

  /// What waited has been served, or is the beginning of a head.
  private mutating func readOn(_ id: SlotID) {
    guard connections[id].pauses.contains(.awaitingAnswer) else { return }
    connections[id].pauses.remove(.awaitingAnswer)
    updateInterest(id)
  }

  /// The head kept its deadline; answers that still wait for the peer have theirs.
  private mutating func headComplete(_ id: SlotID) {
    guard connections[id].timeout != .writeStall else { return }
    clearTimeout(id)
    if !connections[id].output.isEmpty { watchForStall(id) }
  }

  private static func parse(_ connection: inout Connection) -> ParsedRequest {
    guard case .front(var parser) = connection.role else { return .needMore }
    var taken = 0
    let result = connection.input.withSpan { bytes -> ParsedRequest in
      do throws(HTTPViolation) {
        switch try parser.parse(bytes) {
        case .needMore: return .needMore
        case .done(let head, let consumed):
          taken = consumed
          return .head(head)
        }
      } catch {
        return .violation(error)
      }
    }
    connection.role = .front(parser)
    connection.input.consume(taken)
    return result
  }

  // MARK: Deciding

  mutating func serve(_ id: SlotID, _ head: RequestHead) {
    let client = identity(id, head)
    let request = AnsweredRequest(
      head: head, facts: facts(id, head, client), startedAt: now)
    if let admin { return serveAdmin(id, request, admin) }
    let classification = Handshake.classify(head)
    if case .refused(let violation) = classification {
      return respond(id, .of(violation), to: request, detail: violation.word)
    }
    let asksForSocket = if case .webSocket = classification { true } else { false }
    if isRefusedForMemory(id, asksForSocket: asksForSocket) {
      if asksForSocket { metrics.add(.handshakesUnserved) }
      return respond(id, .memoryShort, to: request)
    }
    if isMisdirected(id, head) { return respond(id, .misdirected, to: request) }
    if case .plain = classification, servePage(id, request) { return }
    guard let route = findRoute(head, client) else {
      if case .webSocket = classification { metrics.add(.handshakesMissed) }
      return respond(id, .noRoute, to: request)
    }
    let plan = shared.routes[route]
    request.facts.route = plan.name
    plan.counts.request()
    if serveLocally(id, plan, request, client) { return }
    if plan.refusesBody(of: head) { return respond(id, .bodyTooLarge, to: request) }
    guard case .webSocket(let offer) = classification, plan.webSocket.mode != .off else {
      // RFC 8441: a stream that asks for a WebSocket cannot be served as something else.
      if request.head.protocolName != nil { return respond(id, .notImplemented, to: request) }
      if refusesNewWork, connections[id].isStream {
        return respond(id, .refusingWork, to: request)
      }
      if request.head.hasUnknownExpectation {
        return respond(id, .expectationFailed, to: request)
      }
      let upstream = upstreams[plan.upstream]
      // As most are: what waits for a verdict is put together only where somebody is asked.
      if plan.authorize == nil { return beginForwarding(id, plan, upstream, request, client) }
      return authorize(
        id, PendingRequest(plan: plan, upstream: upstream, request: request, client: client))
    }
    guard passesOrigin(id, request, plan, client) else { return }
    if refusesNewWork {
      metrics.add(.handshakesUnserved)
      return respond(id, .refusingWork, to: request)
    }
    authorize(
      id,
      PendingRequest(
        plan: plan, upstream: upstreams[plan.upstream], request: request, client: client,
        offer: offer))
  }

  private func findRoute(_ head: RequestHead, _ client: ClientIdentity) -> Int? {
    let host = head.host?.host ?? ""
    let bytes = head.bytes
    return shared.router.route(
      host: host.utf8.span, path: bytes.span.extracting(head.path), isHTTPS: client.isHTTPS)
  }

  private mutating func identity(_ id: SlotID, _ head: RequestHead) -> ClientIdentity {
    var peer: IPAddress?
    if case .ip(let address, _) = connections[id].peer { peer = address }
    var port: UInt16?
    if let listener = connections[id].listener, listener < listeners.count {
      port = listeners[listener].port == 0 ? nil : listeners[listener].port
    }
    return ClientIdentity(
      of: head, peer: peer, isTLS: tlsVersion(id) != nil, localPort: port,
      trusted: shared.snapshot.trustedProxies, random: (kernel.random(), kernel.random()))
  }

  private mutating func facts(
    _ id: SlotID, _ head: RequestHead, _ client: ClientIdentity
  ) -> ConnectionFacts {
    nextExchange &+= 1
    let keepsFacts = self.keepsFacts
    return ConnectionFacts(
      name: ExchangeName(process: shared.process.tag, number: UInt64(index) << 40 | nextExchange),
      client: client.text, proto: protocolWord(id, head), tls: tlsVersion(id),
      host: keepsFacts ? Array((head.host?.description ?? "").utf8) : [],
      path: keepsFacts ? Array(head.bytes[head.path]) : [],
      origin: head.values(of: .origin).first.map { Array(head.bytes[$0]) },
      requestID: client.requestID)
  }

  /// For the lines of the access log, and for the admin listener's list.
  var keepsFacts: Bool { accessLog.isOn || shared.hasAdmin }

  /// The same check for every handshake, before an endpoint is chosen.
  private mutating func passesOrigin(
    _ id: SlotID, _ request: AnsweredRequest, _ plan: RoutePlan, _ client: ClientIdentity
  ) -> Bool {
    let verdict = plan.origins.check(
      request.head.slices(of: .origin), requestIsHTTPS: client.isHTTPS,
      authority: client.authority)
    guard case .refused(let reason) = verdict else { return true }
    let isReportOnly = plan.origins.reportOnly
    errorLog.write(
      isReportOnly ? .originReported : .originRefused, now: now, wall: kernel.wallClock()
    ) { line in
      line.field("id", request.facts.id)
      line.field("client", request.facts.client)
      line.field("route", plan.name)
      line.field("origin", request.facts.origin ?? [])
      line.field("reason", word: reason.word)
    }
    if isReportOnly {
      metrics.add(.originReports)
      return true
    }
    let body = LocalResponse.originRefused(
      request.facts.origin, own: client.origin, why: reason,
      closes: !keepsConnectionUnread(request.head), requestID: request.facts.requestID)
    respond(id, .originRefused, to: request, detail: reason.word, with: body)
    return false
  }

  // MARK: Answering

  mutating func headTimedOut(_ id: SlotID) {
    if connections[id].awaitsProxyHeader { return proxyHeaderFailed(id, "timed-out") }
    if case .http2(let front) = connections[id].role { return http2HeadTimedOut(id, front) }
    // A connection on which nothing was ever sent (browsers open some ahead) ends without a word.
    if connections[id].input.isEmpty { return finish(id, lingering: false) }
    refuseUnread(id, .headTooSlow)
  }

  /// A request that cannot be read is answered and the connection ends: where the next request
  /// would begin is anybody's guess.
  mutating func refuseUnread(
    _ id: SlotID, _ fault: Fault, detail: StaticString? = nil
  ) {
    metrics.add(fault.counter)
    let response = LocalResponse.fault(fault, closes: true)
    let status = response.map { sendAnswer(id, $0) }
    var client = "unix"
    if case .ip(let address, _) = connections[id].peer { client = address.description }
    let facts = ConnectionFacts(
      name: nil, client: client, proto: protocolWord(id, nil), tls: tlsVersion(id), host: [],
      path: [])
    logResponse(
      facts, method: [],
      ResponseFacts(
        status: status, duration: nil, fault: fault.word, detail: detail,
        bytes: response?.bodyCount ?? 0))
    finish(id, lingering: true)
  }

  /// Answers a request with the status of `fault`, and keeps the connection where that is safe.
  mutating func respond(
    _ id: SlotID, _ fault: Fault, to request: AnsweredRequest, detail: StaticString? = nil,
    with special: LocalResponse? = nil, closes: Bool = false
  ) {
    guard connections.contains(id) else { return }
    metrics.add(fault.counter)
    let keeps = keepsConnectionUnread(request.head) && !fault.closesConnection && !closes
    if let response = special
      ?? LocalResponse.fault(fault, closes: !keeps, requestID: request.facts.requestID)
    {
      answer(id, response, to: request, fault: fault.word, detail: detail)
    }
    answered(id, keeps: keeps)
  }

  /// The page of `bascule demo`.
  private mutating func servePage(_ id: SlotID, _ request: AnsweredRequest) -> Bool {
    guard let demo = shared.demo, request.head.isGET || request.head.isHEAD,
      request.head.equals(request.head.path, "/")
    else { return false }
    let keeps = keepsConnectionUnread(request.head)
    let response = LocalResponse.demoPage(
      httpPort: demo.http, httpsPort: demo.https, closes: !keeps)
    answer(id, response, to: request, fault: nil, detail: nil)
    answered(id, keeps: keeps)
    return true
  }

  /// Unless a body that nobody reads is in the way.
  func keepsConnectionUnread(_ head: RequestHead) -> Bool {
    keepsConnection(head) && !head.hasBody
  }

  func keepsConnection(_ head: RequestHead) -> Bool {
    // HTTP/1.0 would have to be told that it is kept.
    head.version != .http10 && head.keepsConnection && drainDeadline == nil
  }

  /// A route without an upstream. Upgrades are answered like any other request.
  private mutating func serveLocally(
    _ id: SlotID, _ plan: RoutePlan, _ request: AnsweredRequest, _ client: ClientIdentity
  ) -> Bool {
    guard plan.redirect != nil || plan.respond != nil else { return false }
    let keeps = keepsConnectionUnread(request.head)
    guard let response = plan.localResponse(to: request.head, client, closes: !keeps) else {
      respond(id, .malformedRequest, to: request)
      return true
    }
    answer(id, response, to: request, fault: nil, detail: nil)
    answered(id, keeps: keeps)
    return true
  }

  /// Sends an answer of ours and writes its line.
  private mutating func answer(
    _ id: SlotID, _ response: LocalResponse, to request: AnsweredRequest, fault: StaticString?,
    detail: StaticString?
  ) {
    let isHEAD = request.head.isHEAD
    let status = sendAnswer(id, response, withoutBody: isHEAD)
    // Not the time of this turn: head and answer are often in the same, which would come to 0.
    let duration = kernel.now() - request.startedAt
    logResponse(
      request.facts, method: request.head.methodBytes,
      ResponseFacts(
        status: status, duration: duration, fault: fault, detail: detail,
        bytes: isHEAD ? 0 : response.bodyCount))
  }

  mutating func answered(_ id: SlotID, keeps: Bool) {
    guard connections.contains(id) else { return }
    if keeps, !connections[id].isStream {
      continueFront(id)
    } else {
      finish(id, lingering: true)
    }
  }

  /// A request has been answered. The next one may be there already; its turn comes.
  mutating func continueFront(_ id: SlotID) {
    readOnUnlessFull(id)
    if connections[id].output.isEmpty {
      setTimeout(id, .keepAliveIdle, after: shared.timeouts.keepAlive)
    } else {
      watchForStall(id)
    }
    if !connections[id].input.isEmpty { crowded.append(id) }
  }
}

extension RoutePlan {
  /// What the route answers by itself; nil where it cannot.
  func localResponse(
    to head: RequestHead, _ client: ClientIdentity, closes: Bool
  ) -> LocalResponse? {
    if let respond {
      return .fixed(respond, edits: headers.response, closes: closes)
    }
    return redirect.flatMap {
      .redirect(
        $0, head, authority: client.authority, edits: headers.response, closes: closes)
    }
  }

  /// Whether the head announces more than the route takes.
  func refusesBody(of head: RequestHead) -> Bool {
    guard let requestBodyMax, case .length(let count) = head.bodyFraming else { return false }
    return count > requestBodyMax
  }
}

extension RequestHead {
  var methodBytes: [UInt8] { Array(bytes[method]) }
}

extension ClientIdentity {
  /// What same-origin means for this request.
  var origin: Origin? {
    authority.map {
      Origin.tuple(
        scheme: isHTTPS ? "https" : "http", host: $0.host, port: $0.effectivePort(https: isHTTPS))
    }
  }
}
