// A client for the HTTP/2 tests that writes frames by hand, so that it can write wrong ones, and reads
// what the session answers. Field blocks are literals without indexing: no state, no surprises.

import Bytes

@testable import Wire

/// One frame, as sent or as received.
struct Frame: Equatable {
  var type: UInt8
  var flags: UInt8 = 0
  var stream: UInt32 = 0
  var payload: [UInt8] = []

  static let endStream: UInt8 = 1
  static let ack: UInt8 = 1
  static let endHeaders: UInt8 = 4
  static let padded: UInt8 = 8
  static let priority: UInt8 = 0x20

  var bytes: [UInt8] {
    let length = UInt32(payload.count)
    return big(length).dropFirst() + [type, flags] + big(stream) + payload
  }

  static func data(_ stream: UInt32, _ payload: [UInt8], ends: Bool = false) -> Frame {
    Frame(type: 0, flags: ends ? endStream : 0, stream: stream, payload: payload)
  }
  static func data(_ stream: UInt32, _ payload: String, ends: Bool = false) -> Frame {
    data(stream, Array(payload.utf8), ends: ends)
  }
  static func headers(
    _ stream: UInt32, _ fields: [(String, String)], ends: Bool = true, complete: Bool = true
  ) -> Frame {
    Frame(
      type: 1, flags: (ends ? endStream : 0) | (complete ? endHeaders : 0), stream: stream,
      payload: block(fields))
  }
  static func continuation(_ stream: UInt32, _ payload: [UInt8], complete: Bool) -> Frame {
    Frame(type: 9, flags: complete ? endHeaders : 0, stream: stream, payload: payload)
  }
  static func priority(_ stream: UInt32, dependsOn other: UInt32) -> Frame {
    Frame(type: 2, stream: stream, payload: big(other) + [15])
  }
  static func reset(_ stream: UInt32, _ code: UInt32 = 8) -> Frame {
    Frame(type: 3, stream: stream, payload: big(code))
  }
  static func settings(_ entries: [(UInt16, UInt32)] = []) -> Frame {
    Frame(
      type: 4,
      payload: entries.flatMap { [UInt8($0.0 >> 8), UInt8($0.0 & 255)] + big($0.1) })
  }
  static let settingsAck = Frame(type: 4, flags: ack)
  static func ping(_ payload: [UInt8] = Array(repeating: 7, count: 8), ack: Bool = false) -> Frame {
    Frame(type: 6, flags: ack ? Frame.ack : 0, payload: payload)
  }
  static func goAway(_ last: UInt32, _ code: UInt32) -> Frame {
    Frame(type: 7, payload: big(last) + big(code))
  }
  static func windowUpdate(_ stream: UInt32, _ increment: UInt32) -> Frame {
    Frame(type: 8, stream: stream, payload: big(increment))
  }

  /// GOAWAY and RST_STREAM: the code in it.
  var code: HTTP2ErrorCode? {
    let at = type == 3 ? 0 : type == 7 ? 4 : -1
    guard at >= 0, payload.count >= at + 4 else { return nil }
    return HTTP2ErrorCode(rawValue: number(payload[at..<at + 4]))
  }
  var isGoAway: Bool { type == 7 }
  var isReset: Bool { type == 3 }
}

func big(_ value: UInt32) -> [UInt8] {
  [UInt8(value >> 24), UInt8(value >> 16 & 255), UInt8(value >> 8 & 255), UInt8(value & 255)]
}
func number(_ bytes: ArraySlice<UInt8>) -> UInt32 { bytes.reduce(0) { $0 << 8 | UInt32($1) } }

/// Literal fields without indexing (RFC 7541, section 6.2.2).
func block(_ fields: [(String, String)]) -> [UInt8] {
  fields.flatMap { [0] + text($0.0) + text($0.1) }
}

private func text(_ string: String) -> [UInt8] {
  let bytes = Array(string.utf8)
  guard bytes.count >= 127 else { return [UInt8(bytes.count)] + bytes }
  var length: [UInt8] = [127]
  var rest = bytes.count - 127
  while rest >= 128 {
    length.append(UInt8(rest & 127) | 128)
    rest >>= 7
  }
  return length + [UInt8(rest)] + bytes
}

let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
let opening = preface + Frame.settings().bytes

let getFields = [
  (":method", "GET"), (":scheme", "https"), (":path", "/chat?x=1"),
  (":authority", "example.com"),
]
let connectFields = [
  (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":path", "/chat"),
  (":authority", "example.com"), ("sec-websocket-version", "13"),
]

/// An event in a form that does not depend on how the input was divided.
enum Seen: Equatable {
  case request(Int32, method: String, path: String, fields: [String], ends: Bool)
  case refused(Int32, HTTPViolation)
  case malformed(Int32)
  case data(Int32, [UInt8])
  /// With the trailers that may be passed on.
  case ended(Int32, String = "")
  case closed(Int32, owner: UInt64?, code: UInt32, byPeer: Bool)
  case sent(Int32, owner: UInt64?, count: Int)
  case pong(UInt64)
  case goAway(UInt32)
}

/// A session under test and what it has said so far.
final class Conversation {
  let session: HTTP2Session
  var now = MonotonicTime(nanoseconds: 1_000_000_000)
  private(set) var seen: [Seen] = []
  private(set) var frames: [Frame] = []
  private(set) var progress = HTTP2Progress.open
  private(set) var heads: [Int32: RequestHead] = [:]
  private let output = SharedBuffer(capacity: 1024)
  private var spare = SpareBytes()
  var outputLimit = 1 << 20

  init(_ limits: HTTP2Limits = HTTP2Limits()) {
    guard let session = HTTP2Session.server(limits, now: now) else { fatalError("no memory") }
    self.session = session
  }

  /// A connection past its preface, with what was said during it forgotten.
  static func open(_ limits: HTTP2Limits = HTTP2Limits()) -> Conversation {
    let it = Conversation(limits)
    it.feed(opening + Frame.settingsAck.bytes)
    it.collect()
    it.forget()
    return it
  }

  func forget() {
    seen = []
    frames = []
  }

  @discardableResult
  func feed(_ bytes: some Collection<UInt8>) -> HTTP2Progress {
    let bytes = Array(bytes)
    var events: [HTTP2Event] = []
    progress = session.receive(bytes.span, now: now, events: &events)
    for event in events { note(event, bytes) }
    return progress
  }

  @discardableResult
  func feed(_ frames: Frame...) -> HTTP2Progress { feed(frames.flatMap(\.bytes)) }

  func write(_ stream: Int32, _ bytes: Span<UInt8>) {
    session.write(stream, bytes, spare: &spare)
  }

  /// Takes everything that the session wants to send.
  @discardableResult
  func collect() -> [Frame] {
    var events: [HTTP2Event] = []
    session.send(
      into: output, limit: output.count + outputLimit, events: &events, spare: &spare)
    for event in events { note(event, []) }
    let bytes = output.withSpan { span in (0..<span.count).map { span[$0] } }
    output.consume(bytes.count)
    output.reset()
    var fresh: [Frame] = []
    var at = 0
    while at + 9 <= bytes.count {
      let length = Int(number(bytes[at..<at + 3]))
      fresh.append(
        Frame(
          type: bytes[at + 3], flags: bytes[at + 4], stream: number(bytes[at + 5..<at + 9]),
          payload: Array(bytes[at + 9..<at + 9 + length])))
      at += 9 + length
    }
    frames += fresh
    return fresh
  }

  private func note(_ event: HTTP2Event, _ bytes: [UInt8]) {
    switch event {
    case .request(let stream, let head, let ends):
      heads[stream] = head
      seen.append(
        .request(
          stream, method: head.string(head.method), path: head.string(head.path),
          fields: head.fields.map { head.string($0.name) + ": " + head.string($0.value) },
          ends: ends))
    case .refused(let stream, let violation): seen.append(.refused(stream, violation))
    case .malformed(let stream): seen.append(.malformed(stream))
    case .data(let stream, _, let range):
      if case .data(stream, let before)? = seen.last {
        seen[seen.count - 1] = .data(stream, before + bytes[range])
      } else {
        seen.append(.data(stream, Array(bytes[range])))
      }
    case .ended(let stream, _, let trailers):
      seen.append(.ended(stream, String(decoding: trailers, as: UTF8.self)))
    case .closed(let stream, let owner, let code, let byPeer):
      seen.append(.closed(stream, owner: owner, code: code, byPeer: byPeer))
    case .sent(let stream, let owner, let count):
      seen.append(.sent(stream, owner: owner, count: count))
    case .pong(let payload): seen.append(.pong(payload))
    case .goAwayReceived(let code): seen.append(.goAway(code))
    }
  }
}
