// A client's connection over HTTP/2 (RFC 9113). Its slot does the I/O; each of its streams has a slot
// of its own, which for exchanges is a connection like any other. What the session reports is handed
// on here, in the order of the wire.

import Bytes
import Configuration
import Kernel
import Telemetry
import Wire

/// What such a connection has beside its socket.
final class HTTP2Front {
  /// What all streams together may have waiting before each is held to little.
  static let queuedMax = 1 << 20

  let session: HTTP2Session
  let carrier: SlotID
  // Not checked for exclusive access, as some properties of what an exchange holds: one worker has them,
  // what is called during an access touches nothing of the same object, and each check costs as much as a
  // short search.
  /// The slots of its streams, in no order.
  @safe @exclusivity(unchecked) var streams: [SlotID] = []
  /// Requests that have not been looked at.
  @safe @exclusivity(unchecked) var waiting: [WaitingRequest] = []
  /// Of requests that are complete but not all on their way.
  @safe @exclusivity(unchecked) var trailers: [WaitingTrailers] = []
  /// Bytes of all streams that the session holds.
  var queued = 0
  /// Some of its streams wait for their client's end, and for nothing else.
  var hasEnding = false
  var isMarked = false
  var isCrowded = false
  /// There has been a stream.
  var hasServed = false
  var goingAway = GoingAway.no
  /// The client has sent GOAWAY: its streams are its last.
  var clientLeaves = false
  var lastReceived: MonotonicTime
  /// The last authority that the certificate was found to cover.
  var coveredHost = ""

  init(_ session: HTTP2Session, carrier: SlotID, now: MonotonicTime) {
    self.session = session
    self.carrier = carrier
    lastReceived = now
  }
}

struct WaitingRequest {
  let stream: SlotID
  let head: RequestHead
}

struct WaitingTrailers {
  let stream: SlotID
  /// `name: value` CRLF.
  let lines: [UInt8]
}

/// How far a connection is with its good-bye (RFC 9113 section 6.8).
enum GoingAway {
  case no
  /// The client has been told that no new streams are wanted; those under way may still arrive.
  case announced
  /// The last stream has been named; the connection ends with it.
  case final
}

/// A stream as its slot knows it.
struct StreamLink {
  let front: HTTP2Front
  let number: Int32
}

extension Worker where K: ~Copyable {
  /// RFC 9113 3.4: within the time of a request head the preface has to be there.
  mutating func beginHTTP2(_ id: SlotID) {
    guard let session = HTTP2Session.server(shared.http2Limits, now: now) else {
      return closeNow(id)
    }
    let front = HTTP2Front(session, carrier: id, now: now)
    connections[id].role = .http2(front)
    metrics.add(.http2Connections)
    setTimeout(id, .requestHead, after: shared.timeouts.requestHead)
    markForSending(front)
    // Of the connections of a drain only one that has begun its preface comes here.
    if refusesNewWork { beginGoingAway(id, front) }
  }

  // MARK: Prior knowledge

  /// RFC 9113 section 3.3: without TLS the client's first bytes tell. As long as they could be the
  /// preface nothing is parsed; a request line differs by its fourth byte at the latest.
  func beginsHTTP2(_ id: SlotID) -> Bool {
    guard connections[id].tls == nil, let listener = connections[id].listener,
      listener < listeners.count, listeners[listener].protocols.count > 1
    else { return false }
    return connections[id].input.withSpan { bytes in
      ASCII.equals(bytes.extracting(0..<min(bytes.count, 4)), "PRI ")
    }
  }

  mutating func changeToHTTP2(_ id: SlotID) {
    beginHTTP2(id)
    guard connections.contains(id), case .http2(let front) = connections[id].role else { return }
    var waiting = ByteQueue()
    swap(&waiting, &connections[id].input)
    let plaintext = self.plaintext
    plaintext.reset(headroom: Self.headroom)
    waiting.withSpan { plaintext.append($0) }
    http2Received(id, front, plaintext)
  }

  mutating func http2Received(_ id: SlotID, _ front: HTTP2Front, _ bytes: SharedBuffer) {
    var events: [HTTP2Event] = []
    swap(&events, &http2Events)
    front.lastReceived = now
    let base = bytes.start
    let progress = bytes.withSpan { front.session.receive($0, now: now, events: &events) }
    markForSending(front)
    for event in events {
      guard connections.contains(id) else { break }
      handle(event, front, bytes, from: base)
    }
    events.removeAll(keepingCapacity: true)
    swap(&events, &http2Events)
    guard connections.contains(id) else { return }
    if case .failed(let violation) = progress { return failHTTP2(id, front, violation) }
    serveWaiting(front)
    if connections.contains(id) { setHTTP2Timeout(id, front) }
  }

  /// Ranges of events count from `base`.
  mutating func handle(
    _ event: HTTP2Event, _ front: HTTP2Front, _ bytes: SharedBuffer, from base: Int
  ) {
    switch event {
    case .request(let stream, let head, let ends):
      guard !isRefusedForMemory(front.carrier, asksForSocket: head.protocolName != nil) else {
        metrics.add(.memoryRefusals)
        if head.protocolName != nil { metrics.add(.handshakesUnserved) }
        return front.session.reset(stream, .refusedStream)
      }
      guard let id = openStream(front, stream) else { return }
      if ends { streamEnded(id) }
      front.waiting.append(WaitingRequest(stream: id, head: head))
    case .refused(let stream, let violation):
      if let id = openStream(front, stream) {
        refuseUnread(id, .of(violation), detail: violation.word)
      }
    case .malformed: metrics.add(.requestsMalformed)
    case .data(let stream, let owner, let range):
      guard let id = slot(front, stream, owner) else { return }
      bytes.select(base + range.lowerBound..<base + range.upperBound)
      streamReceived(id, bytes)
    case .ended(let stream, let owner, let trailers):
      if let id = slot(front, stream, owner) { streamEnded(id, trailers: trailers) }
    case .closed(_, let owner, _, _): if let owner { streamClosed(SlotID(packed: owner)) }
    case .sent(_, let owner, let count):
      if let owner { streamSent(SlotID(packed: owner), front, count) }
    case .pong: if front.goingAway == .announced { sendLastGoAway(front.carrier) }
    case .goAwayReceived: front.clientLeaves = true
    }
  }

  /// `owner`: nil for a stream that came in the same call.
  private func slot(_ front: HTTP2Front, _ stream: Int32, _ owner: UInt64?) -> SlotID? {
    guard let owner = owner ?? front.session.owner(of: stream) else { return nil }
    let id = SlotID(packed: owner)
    return connections.contains(id) ? id : nil
  }

  // MARK: Requests

  /// A slot for a new stream; none when it was reset as soon as it came. Refused when the table is
  /// full, and while draining without a successor.
  private mutating func openStream(_ front: HTTP2Front, _ number: Int32) -> SlotID? {
    guard front.session.isOpen(number) else { return nil }
    let carrier = front.carrier
    var opened: SlotID?
    if !refusesNewWork, streams < shared.connectionsPerWorker {
      var connection = Connection(
        descriptor: .none, peer: connections[carrier].peer,
        listener: connections[carrier].listener,
        role: .stream(StreamLink(front: front, number: number)), tls: nil, interest: [])
      // Until the request has been looked at what follows it is kept.
      connection.pauses = .awaitingAnswer
      opened = connections.insert(connection)
    }
    guard let id = opened else {
      metrics.add(refusesNewWork ? .drainRefusals : .limitRefusals)
      front.session.reset(number, .refusedStream)
      return nil
    }
    streams += 1
    front.session.setOwner(number, id.packed)
    front.streams.append(id)
    front.hasServed = true
    // It has come while its process was being replaced: this is its last.
    if drainDeadline != nil { beginGoingAway(carrier, front) }
    metrics.add(.http2Streams)
    metrics.add(.requests)
    return id
  }

  /// So many requests of one connection per turn; a client with many must not make the others wait.
  private static var requestsPerTurn: Int { 16 }

  mutating func serveWaiting(_ front: HTTP2Front) {
    var served = 0
    while served < Self.requestsPerTurn, served < front.waiting.count {
      let request = front.waiting[served]
      served += 1
      guard connections.contains(request.stream) else { continue }
      serve(request.stream, request.head)
    }
    front.waiting.removeFirst(min(served, front.waiting.count))
    if !front.waiting.isEmpty, !front.isCrowded {
      front.isCrowded = true
      crowded.append(front.carrier)
    }
  }

  mutating func serveCrowded() {
    guard !crowded.isEmpty else { return }
    var ids: [SlotID] = []
    swap(&ids, &crowded)
    for id in ids where connections.contains(id) {
      switch connections[id].role {
      case .http2(let front):
        front.isCrowded = false
        serveWaiting(front)
      case .front: serveRequests(id)
      case .stream, .upstream, .probe, .echo: break
      }
    }
  }

  // MARK: Sending

  mutating func markForSending(_ front: HTTP2Front) {
    guard !front.isMarked else { return }
    front.isMarked = true
    marked.append(front.carrier)
  }

  /// Sends what this turn has left with the sessions.
  mutating func sendMarked() {
    while let id = marked.popLast() {
      guard connections.contains(id), case .http2(let front) = connections[id].role else {
        continue
      }
      front.isMarked = false
      sendQueued(id, front)
      if !casualties.isEmpty { reapCasualties() }
    }
  }

  private static var bytesPerSend: Int { 64 * 1024 }

  /// As long as the socket takes it all; what is left waits in the session, stream by stream.
  private mutating func sendQueued(_ id: SlotID, _ front: HTTP2Front) {
    guard case .open = connections[id].ending else { return }
    while connections[id].output.isEmpty, connections[id].failure == nil, sendSome(id, front) {}
    if let violation = front.session.failure { return failHTTP2(id, front, violation) }
    watchStreams(front)
    finishIfGone(id, front)
  }

  /// Sends about 64 KiB of the session's frames; false when it has none.
  mutating func sendSome(_ id: SlotID, _ front: HTTP2Front) -> Bool {
    let frames = self.frames
    var events: [HTTP2Event] = []
    swap(&events, &http2Events)
    frames.reset()
    front.session.send(
      into: frames, limit: Self.bytesPerSend, events: &events, spare: &spareBytes)
    let hasSent = !frames.isEmpty
    frames.withSpan { send(id, $0) }
    for event in events { handle(event, front, frames, from: 0) }
    events.removeAll(keepingCapacity: true)
    swap(&events, &http2Events)
    return hasSent
  }
}
