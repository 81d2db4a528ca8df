// The final response of a backend on its way to the client: of a plain request, or of an upgrade that
// was refused, behind which both connections end. Its framing is followed and made anew, so that what
// the client takes for the end is the end.

import Bytes
import Configuration
import Kernel
import TLS
import Telemetry
import Wire

extension Worker where K: ~Copyable {
  // MARK: Heads

  /// 103 (RFC 8297): passed on; the final response is still to come.
  mutating func relayInterim(_ exchange: SlotID, _ head: ResponseHead) {
    guard let client = exchanges[exchange].client, let attempt = exchanges[exchange].attempt,
      attempt.head.version != .http10,
      let answer = ClientResponse.interim(
        head, edits: route(of: exchange).headers.response, onStream: connections[client].isStream)
    else { return }
    sendHead(client, answer)
  }

  /// `rest`: what came of the body with the head.
  mutating func relayFinal(
    _ exchange: SlotID, _ head: ResponseHead, _ attempt: Attempt, rest: Span<UInt8>
  ) {
    guard let client = exchanges[exchange].client, let backend = exchanges[exchange].backend else {
      return
    }
    let forwarding = exchanges[exchange].forwarding ?? Forwarding()
    let framing = forwarding.begin(
      head, attempt.head, isDraining: drainDeadline != nil, isQuestion: attempt.authorizes != nil)
    // Over HTTP/1.1 it goes out with what there is of the body.
    guard var unsentHead = writeHead(exchange, client, head, framing, forwarding) else {
      return refuse(exchange, .backendAnswerBroken)
    }
    if exchanges[exchange].forwarding == nil {
      // What it thinks of the connection now is anybody's guess.
      forwarding.keepsBackend = false
      metrics.add(.backendRefusals)
      handshakesInFlight -= 1
      connections[client].pauses.remove(.awaitingAnswer)
      connections[client].input.removeAll()
      exchanges[exchange].forwarding = forwarding
      updateInterest(client)
    }
    if let question = attempt.authorizes {
      authorizationRefused(exchange, client, question.pending)
    }
    endpointAnswered(exchange, well: !head.isServerFailure)
    exchanges[exchange].phase = .relayingResponse
    exchanges[exchange].status = UInt16(clamping: head.status)
    setTimeout(
      exchange: exchange, .responseIdle, after: route(of: exchange).timeouts.responseIdle)
    relayBody(exchange, rest, behind: unsentHead)
    spareBytes.give(&unsentHead)
    // Old servers write head and body apart.
    if exchanges.contains(exchange), connections.contains(backend) {
      kernel.acknowledgeNow(connections[backend].descriptor)
    }
  }

  /// Sends the head to a stream, or returns what it is on a connection. Nil when it cannot be passed on.
  private mutating func writeHead(
    _ exchange: SlotID, _ client: SlotID, _ head: ResponseHead, _ framing: ResponseFraming,
    _ forwarding: Forwarding
  ) -> [UInt8]? {
    let edits = route(of: exchange).headers.response
    let cookie = stickyCookie(exchange)
    guard connections[client].isStream else {
      return ClientResponse.relayed(
        head, edits: edits, cookie: cookie, framing: framing, closes: !forwarding.keepsClient,
        in: spareBytes.take(for: HeadWriter.usualBytes))
    }
    guard
      var fields = ClientResponse.relayedFields(
        head, edits: edits, cookie: cookie, framing: framing, in: &fieldRoom)
    else { return nil }
    sendFields(client, status: UInt16(clamping: head.status), fields, ends: framing == .none)
    fields.clear()
    swap(&fields, &fieldRoom)
    return []
  }

  // MARK: Body

  /// `head`: what the client has not got of it, over HTTP/1.1.
  mutating func relayBody(
    _ exchange: SlotID, _ bytes: Span<UInt8>, behind head: [UInt8] = []
  ) {
    guard let client = exchanges[exchange].client,
      let forwarding = exchanges[exchange].forwarding
    else { return }
    var content = ContentRanges()
    do throws(HTTPViolation) {
      let progress = try forwarding.response.advance(bytes) { content.append($0) }
      exchanges[exchange].relayed[Leg.backend.index] &+= UInt64(content.count)
      exchanges[exchange].deadline = now + route(of: exchange).timeouts.responseIdle
      var framing = ContentFraming(head: head, inChunks: forwarding.chunksResponse)
      if forwarding.chunksResponse, case .complete = progress {
        framing.trailers = trailers(exchange, forwarding)
        forwarding.hasSentEnd = true
      }
      sendContent(client, bytes, content, framing)
      guard case .complete(let consumed) = progress, exchanges.contains(exchange) else { return }
      // Nobody has asked for what is behind it.
      if consumed < bytes.count { forwarding.keepsBackend = false }
      endRelay(exchange, fault: nil)
    } catch {
      send(client, head)
      endRelay(exchange, fault: .backendAnswerBroken)
    }
  }

  mutating func relayLegLost(_ exchange: SlotID, _ leg: Leg, _ loss: ConnectionLoss) {
    if leg == .client { return endRelay(exchange, fault: .clientVanished) }
    let mayEnd = exchanges[exchange].forwarding?.response.mayEndHere == true
    endRelay(exchange, fault: loss == .endOfStream && mayEnd ? nil : .backendVanished)
  }

  mutating func relayTimedOut(_ exchange: SlotID) { endRelay(exchange, fault: .backendSilent) }

  // MARK: The end

  /// A response that is not whole must not look whole: its client's connection is reset.
  mutating func endRelay(_ exchange: SlotID, fault: Fault?) {
    logRelay(exchange, fault: fault)
    guard let forwarding = exchanges[exchange].forwarding else { return }
    let upstream = exchanges[exchange].upstream
    let endpoint = exchanges[exchange].endpoint
    let client = exchanges[exchange].client
    let backend = exchanges[exchange].backend
    if fault == nil, let client {
      endResponse(client, forwarding, trailers(exchange, forwarding))
    }
    guard exchanges.contains(exchange) else { return }
    detach(exchange, .client)
    detach(exchange, .backend)
    remove(exchange)
    let isClean = fault == nil && forwarding.isRequestComplete
    if let backend, connections.contains(backend) {
      // One that was announced to a backend is that client's.
      if isClean, forwarding.keepsBackend, let endpoint, upstream.plan.proxyProtocol == .off {
        park(backend, upstream, endpoint)
      } else {
        closeNow(backend)
      }
    }
    guard let client, connections.contains(client) else { return }
    if fault != nil { return abortNow(client) }
    if isClean, forwarding.keepsClient, drainDeadline == nil, !connections[client].isStream {
      continueFront(client)
    } else {
      finish(client, lingering: true)
    }
  }

  private func trailers(_ exchange: SlotID, _ forwarding: Forwarding) -> [UInt8] {
    let trailers = forwarding.response.trailers
    if trailers.isEmpty { return [] }
    return route(of: exchange).headers.response.passing(trailers)
  }

  private mutating func endResponse(
    _ client: SlotID, _ forwarding: Forwarding, _ trailers: [UInt8]
  ) {
    guard connections.contains(client) else { return }
    if connections[client].isStream { return endStream(client, trailers: trailers) }
    if forwarding.chunksResponse, !forwarding.hasSentEnd { sendEnd(client, trailers: trailers) }
  }

  private mutating func logRelay(_ exchange: SlotID, fault: Fault?) {
    if let fault { metrics.add(fault.counter) }
    guard let attempt = exchanges[exchange].attempt else { return }
    let detail: StaticString? = attempt.authorizes == nil ? nil : "authorization"
    logResponse(
      attempt.facts, method: attempt.head.methodBytes,
      ResponseFacts(
        status: exchanges[exchange].status,
        duration: kernel.now() - exchanges[exchange].startedAt, fault: fault?.word,
        detail: detail, bytes: exchanges[exchange].relayed[Leg.backend.index]))
  }
}

extension ResponseHead {
  /// 5xx, but for those that are about the request (RFC 9110 sections 15.6.2 and 15.6.6).
  fileprivate var isServerFailure: Bool { status >= 500 && status != 501 && status != 505 }
}

extension Forwarding {
  /// Decides how the body of `answer` is read and written, and what is kept after it.
  fileprivate func begin(
    _ answer: ResponseHead, _ request: RequestHead, isDraining: Bool, isQuestion: Bool
  ) -> ResponseFraming {
    let framing: BodyFraming.Length = answer.body(toHEAD: request.isHEAD)
    response = BodyFraming(framing)
    keepsBackend =
      answer.keepsConnection && framing != .untilClose
    // A question is a GET, so that a body comes that the client has not asked for.
    if isQuestion, request.isHEAD { keepsBackend = false }
    if isDraining { keepsClient = false }
    switch framing {
    case .none: return .none
    case .length(let count): return .length(count)
    case .chunked, .untilClose:
      guard request.version == .http11 else {
        if request.version == .http10 { keepsClient = false }
        return .untilEnd
      }
      chunksResponse = true
      return .chunked
    }
  }
}

/// How a client learns where a response ends.
enum ResponseFraming: Equatable {
  /// It has no body; a length that it says it would have is passed on.
  case none
  case length(UInt64)
  case chunked
  /// With the connection, over HTTP/2 with the stream.
  case untilEnd
}
