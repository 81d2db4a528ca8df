// Plain HTTP: a request that asks for no WebSocket goes to a backend, its body as it comes, and the
// response comes back. Bodies are decoded on one side and framed anew on the other; nothing is kept
// but what a socket refuses. `ResponseRelay.swift` has the way back.

import Bytes
import Configuration
import Kernel
import Telemetry
import Wire

/// What such an exchange has beside the rest; a refused upgrade has it from the refusal on.
final class Forwarding {
  // As in HTTP2Front, here and below; what `advance` tells of content is only noted.
  /// Follows the request's body.
  @safe @exclusivity(unchecked) var request: BodyFraming
  var isRequestComplete: Bool
  /// Of its content, so far.
  var requestBytes: UInt64 = 0
  /// The backend is not told the length but gets chunks.
  let chunksRequest: Bool
  /// The backend has the head, and may have the body.
  var hasStarted = false
  /// Another endpoint, or a fresh connection, may be tried without doing anything twice.
  let isRepeatable: Bool
  /// Bytes of an answer have come.
  var hasAnswer = false
  /// The backend's connection has served before. It may have been closing while the request went out.
  var isReused = false
  var usesPool = true

  /// Follows the response's body.
  @safe @exclusivity(unchecked) var response = BodyFraming(.none)
  var chunksResponse = false
  /// The chunk that ends the response has gone out with its last content.
  var hasSentEnd = false
  /// What becomes of the connections when the response is complete.
  var keepsClient: Bool
  var keepsBackend = false

  init(_ head: RequestHead, keepsClient: Bool) {
    request = BodyFraming(head.bodyFraming)
    isRequestComplete = !head.hasBody
    switch head.bodyFraming {
    case .none, .length: chunksRequest = false
    case .chunked, .untilClose: chunksRequest = true
    }
    isRepeatable = !head.hasBody && head.isIdempotent
    self.keepsClient = keepsClient
  }

  /// Of an upgrade that the backend has refused: the one response is relayed, then both sides end. And
  /// of a question to an authorization service, which leaves the client's body where it is.
  init(isRepeatable: Bool = false, keepsClient: Bool = false) {
    request = BodyFraming(.none)
    isRequestComplete = true
    chunksRequest = false
    self.isRepeatable = isRepeatable
    self.keepsClient = keepsClient
  }
}

extension Worker where K: ~Copyable {
  mutating func beginForwarding(
    _ id: SlotID, _ plan: RoutePlan, _ upstream: WorkerUpstream, _ request: AnsweredRequest,
    _ client: ClientIdentity, _ granted: [GrantedField] = []
  ) {
    let outgoing = UpstreamRequest.plain(
      request.head, from: client, edits: plan.requestEdits,
      policy: BackendPolicy(of: plan, to: upstream.plan, granted),
      in: spareBytes.take(for: HeadWriter.usualBytes))
    guard let outgoing else { return respond(id, .malformedRequest, to: request) }
    let attempt = Attempt(request, request: outgoing, from: client)
    guard
      let exchange = exchanges.insert(
        Exchange(
          client: id, route: plan, upstream: upstream, attempt: attempt, now: request.startedAt))
    else { return respond(id, .limitReached, to: request, detail: "exchanges") }
    exchanges[exchange].forwarding = Forwarding(
      request.head, keepsClient: keepsConnection(request.head))
    connections[id].exchange = exchange
    // Its body waits until there is somebody to take it.
    connections[id].pauses.insert(.awaitingAnswer)
    if request.head.expectsContinue { sendContinue(id) }
    dial(exchange)
  }

  // MARK: The request's body

  /// The backend has taken the head, or has it queued before everything else.
  mutating func startRequestBody(_ exchange: SlotID) {
    guard exchanges.contains(exchange), let forwarding = exchanges[exchange].forwarding,
      !forwarding.hasStarted, case .awaitingAnswer = exchanges[exchange].phase,
      let client = exchanges[exchange].client
    else { return }
    if let question = exchanges[exchange].attempt?.authorizes {
      // What is read waits, but that a client has gone is seen.
      if question.pending.offer == nil { readOnUnlessFull(client) }
      return
    }
    forwarding.hasStarted = true
    if !forwarding.isRequestComplete {
      var waiting = ByteQueue()
      swap(&waiting, &connections[client].input)
      waiting.withSpan { relayRequestBody(exchange, $0) }
      guard exchanges.contains(exchange), connections.contains(client) else { return }
    }
    if connections[client].pauses.contains(.finished) { requestEnded(exchange) }
    readOnUnlessFull(client)
    settleCredit(client)
    if !forwarding.isRequestComplete { watchForBody(client) }
  }

  /// Bytes of the client, while its request is under way.
  mutating func requestBodyReceived(
    _ exchange: SlotID, _ id: SlotID, _ forwarding: Forwarding, _ bytes: Span<UInt8>
  ) {
    guard forwarding.hasStarted else {
      // Behind an upgrade that has been refused, or a body nobody wants, nothing is read as a request.
      if case .relayingResponse = exchanges[exchange].phase {
        return metrics.add(.bytesAfterClose, UInt64(bytes.count))
      }
      return keepForLater(id, bytes)
    }
    relayRequestBody(exchange, bytes)
    if exchanges.contains(exchange), connections.contains(id), !forwarding.isRequestComplete {
      watchForBody(id)
    }
  }

  private mutating func relayRequestBody(_ exchange: SlotID, _ bytes: Span<UInt8>) {
    guard let forwarding = exchanges[exchange].forwarding,
      let client = exchanges[exchange].client
    else { return }
    guard !forwarding.isRequestComplete else { return keepForLater(client, bytes) }
    var content = ContentRanges()
    do throws(HTTPViolation) {
      let progress = try forwarding.request.advance(bytes) { content.append($0) }
      forwarding.requestBytes &+= UInt64(content.count)
      if let most = route(of: exchange).requestBodyMax, forwarding.requestBytes > most {
        return endRequest(exchange, .bodyTooLarge)
      }
      if let backend = exchanges[exchange].backend {
        let framing = ContentFraming(inChunks: forwarding.chunksRequest)
        sendContent(backend, bytes, content, framing)
      }
      guard case .complete(let consumed) = progress, exchanges.contains(exchange) else { return }
      requestEnded(exchange)
      if connections.contains(client) {
        keepForLater(client, bytes.extracting(consumed..<bytes.count))
      }
    } catch {
      requestBroken(exchange, error)
    }
  }

  /// Reads the client again, unless the requests that wait in `input` fill it: each that is served
  /// makes room for itself, not for one more read.
  mutating func readOnUnlessFull(_ id: SlotID) {
    guard connections[id].pauses.contains(.awaitingAnswer),
      connections[id].input.count < Self.outputHighMark
    else { return }
    connections[id].pauses.remove(.awaitingAnswer)
    updateInterest(id)
  }

  /// What cannot be used yet waits, and beyond a bound is not read.
  private mutating func keepForLater(_ id: SlotID, _ bytes: Span<UInt8>) {
    guard !bytes.isEmpty else { return }
    connections[id].input.append(bytes)
    guard connections[id].input.count >= Self.outputHighMark else { return }
    connections[id].pauses.insert(.awaitingAnswer)
    updateInterest(id)
  }

  /// The request is complete, on a stream also by END_STREAM.
  mutating func requestEnded(_ exchange: SlotID) {
    guard let forwarding = exchanges[exchange].forwarding, !forwarding.isRequestComplete else {
      return
    }
    forwarding.isRequestComplete = true
    if case .awaitingAnswer = exchanges[exchange].phase { awaitAnswer(exchange) }
    var trailers = forwarding.request.trailers
    if let client = exchanges[exchange].client {
      if connections[client].timeout == .requestBody { clearTimeout(client) }
      if connections[client].isStream { trailers = takeTrailers(client) }
    }
    if forwarding.chunksRequest, let backend = exchanges[exchange].backend {
      // A backend may take them for fields, of which some are an authorization service's alone.
      let plan = route(of: exchange)
      sendEnd(backend, trailers: plan.authorize == nil ? plan.requestEdits.passing(trailers) : [])
    }
  }

  private mutating func watchForBody(_ id: SlotID) {
    switch connections[id].timeout {
    case .none, .requestBody:
      setTimeout(id, .requestBody, after: timeouts(of: id).requestBody)
    default: break
    }
  }

  /// Nothing of the body came for its time, while it was being read.
  mutating func requestBodyTimedOut(_ id: SlotID) {
    guard let exchange = connections[id].exchange, exchanges.contains(exchange) else { return }
    guard connections[id].pauses.isEmpty else { return watchForBody(id) }
    endRequest(exchange, .bodyTooSlow)
  }

  private mutating func requestBroken(_ exchange: SlotID, _ violation: HTTPViolation) {
    endRequest(exchange, .of(violation), detail: violation.word)
  }

  /// Ends an exchange for its request's sake: with a status as long as none has been sent.
  private mutating func endRequest(
    _ exchange: SlotID, _ fault: Fault, detail: StaticString? = nil
  ) {
    switch exchanges[exchange].phase {
    case .connecting, .awaitingAnswer: refuse(exchange, fault, detail: detail)
    case .relayingResponse: endRelay(exchange, fault: fault)
    case .bridge, .tunnel: break
    }
  }

  // MARK: Trying again

  /// The backend's connection ended before its answer. One that had served before may have been closing
  /// while the request went out: then it goes to a fresh one, if doing it twice does no harm.
  mutating func triesAgain(_ exchange: SlotID, _ loss: ConnectionLoss) -> Bool {
    guard let forwarding = exchanges[exchange].forwarding, forwarding.isReused,
      forwarding.isRepeatable, !forwarding.hasAnswer, let attempt = exchanges[exchange].attempt,
      attempt.informational == 0
    else { return false }
    switch loss {
    case .endOfStream, .failed: break
    case .tls, .writeStalled, .timedOut: return false
    }
    forwarding.isReused = false
    forwarding.usesPool = false
    forwarding.hasStarted = false
    attempt.tried.removeLast()
    exchanges[exchange].phase = .connecting
    metrics.add(.retries)
    dial(exchange)
    return true
  }

  // MARK: Framing

  /// What is copied behind a head to go out with it.
  private static var joinedMax: Int { 16 * 1024 }

  /// Sends what `content` names of `bytes`, with one send where it is framed or little: a head that
  /// goes out alone costs a send more here and a wake-up more at the client.
  mutating func sendContent(
    _ id: SlotID, _ bytes: Span<UInt8>, _ content: ContentRanges, _ framing: ContentFraming
  ) {
    let isJoined = !framing.head.isEmpty && 1...Self.joinedMax ~= content.count
    guard framing.inChunks || isJoined else {
      send(id, framing.head)
      return content.forEach { send(id, bytes.extracting($0)) }
    }
    let frames = self.frames
    frames.reset()
    frames.append(framing.head)
    content.forEach { range in
      let piece = bytes.extracting(range)
      if framing.inChunks {
        ChunkWriter.appendChunk(piece, to: frames)
      } else {
        frames.append(piece)
      }
    }
    if let trailers = framing.trailers { ChunkWriter.appendEnd(trailers: trailers, to: frames) }
    frames.withSpan { send(id, $0) }
  }

  mutating func sendEnd(_ id: SlotID, trailers: [UInt8]) {
    let frames = self.frames
    frames.reset()
    ChunkWriter.appendEnd(trailers: trailers, to: frames)
    frames.withSpan { send(id, $0) }
  }
}

/// What goes out with content, around it.
struct ContentFraming {
  /// Of HTTP/1.1, in front of the first content.
  var head: [UInt8] = []
  /// Each range with its size.
  var inChunks = false
  /// It is the last content in chunks; what ends it follows.
  var trailers: [UInt8]?
}

/// The ranges of some bytes that are content: mostly one, so that nothing is allocated for it.
struct ContentRanges {
  private var first = 0..<0
  private var others: [Range<Int>] = []
  /// Bytes in all of them.
  private(set) var count = 0

  /// `range` is not empty.
  mutating func append(_ range: Range<Int>) {
    if count == 0 { first = range } else { others.append(range) }
    count += range.count
  }

  func forEach(_ body: (Range<Int>) -> Void) {
    if count == 0 { return }
    body(first)
    for range in others { body(range) }
  }
}
