// RFC 9113, RFC 8441 and RFC 7541, requirement by requirement: the offending bytes, and the exact error
// that has to answer them. Every case is fed whole, split at every offset, and byte by byte.

import Bytes
import Support
import Testing

@testable import Wire

/// How a session answers a broken rule.
enum Verdict: Equatable {
  case goAway(HTTP2Violation)
  case reset(UInt32, HTTP2ErrorCode)
  /// Nothing is wrong, or must not be called so.
  case tolerated
}

/// Frames behind an ordinary opening, and what has to come of them.
struct Rule: Sendable, CustomTestStringConvertible {
  let name: String
  let input: [UInt8]
  let verdict: Verdict

  init(_ name: String, _ frames: [Frame], _ verdict: Verdict) {
    self.init(name, bytes: opening + frames.flatMap(\.bytes), verdict)
  }
  init(_ name: String, bytes: [UInt8], _ verdict: Verdict) {
    (self.name, input, self.verdict) = (name, bytes, verdict)
  }
  var testDescription: String { name }
}

private struct Outcome: Equatable {
  var progress: HTTP2Progress
  /// GOAWAY and RST_STREAM. Whether an acknowledgement still goes out before them depends on when
  /// the bytes came.
  var errors: [Frame]
  var seen: [Seen]
}

private func check(_ rule: Rule) {
  let (outcome, disagreement) = DecoderVerifier.verify(rule.input, everySplitMax: 256) { pieces in
    let it = Conversation()
    for piece in pieces { it.feed(piece) }
    it.collect()
    // Of DATA that turns out to be too much, the part that came earlier has been handed on.
    let isKept: (Seen) -> Bool = { if case .data = $0 { rule.verdict == .tolerated } else { true } }
    return Outcome(
      progress: it.progress, errors: it.frames.filter { $0.isGoAway || $0.isReset },
      seen: it.seen.filter(isKept))
  }
  #expect(disagreement == nil)
  switch rule.verdict {
  case .goAway(let violation):
    #expect(outcome.progress == .failed(violation))
    #expect(outcome.errors.map(\.type) == [7])
    #expect(outcome.errors.last?.code == violation.code)
  case .reset(let stream, let code):
    #expect(outcome.progress == .open)
    #expect(outcome.errors == [.reset(stream, code.rawValue)])
  case .tolerated:
    #expect(outcome.progress == .open)
    #expect(outcome.errors == [])
  }
}

private let get = Frame.headers(1, getFields)
private let getOpen = Frame.headers(1, getFields, ends: false)
private func raw(_ type: UInt8, _ count: Int, stream: UInt32 = 0, flags: UInt8 = 0) -> Frame {
  Frame(type: type, flags: flags, stream: stream, payload: Array(repeating: 0, count: count))
}
private func getBlock(_ payload: [UInt8]) -> Frame {
  Frame(
    type: 1, flags: Frame.endHeaders | Frame.endStream, stream: 1,
    payload: block(getFields) + payload)
}
private func without(_ name: String, in fields: [(String, String)] = getFields) -> Frame {
  .headers(1, fields.filter { $0.0 != name })
}
private func with(_ name: String, _ value: String) -> Frame {
  .headers(1, getFields + [(name, value)])
}
private func replacing(_ name: String, _ value: String) -> Frame {
  .headers(1, getFields.map { $0.0 == name ? (name, value) : $0 })
}
private let malformed = Verdict.reset(1, .protocolError)

@Suite("HTTP/2 conformance")
struct HTTP2ConformanceTests {
  static let opening9113: [Rule] = [
    Rule(
      "3.4: something else than the preface", bytes: Array("GET / HTTP/1.1\r\n\r\n".utf8 + preface),
      .goAway(.badPreface)),
    Rule(
      "3.4: the first frame is not SETTINGS", bytes: preface + Frame.ping().bytes,
      .goAway(.protocolError)),
    Rule(
      "4.1: a frame of an unknown type", [raw(0xbb, 30, stream: 3, flags: 0xff), get], .tolerated),
    Rule(
      "4.1: unknown flags", [Frame(type: 6, flags: 0xfe, payload: Array(repeating: 0, count: 8))],
      .tolerated),
    Rule(
      "4.2: DATA longer than a frame may be", [getOpen, raw(0, 16_385, stream: 1)],
      .goAway(.frameSize)),
    Rule(
      "4.2: HEADERS longer than a frame may be", [raw(1, 16_385, stream: 1)], .goAway(.frameSize)),
    Rule(
      "4.2: CONTINUATION longer than a frame may be",
      [.headers(1, [], complete: false), raw(9, 16_385, stream: 1)], .goAway(.frameSize)),
    Rule(
      "4.2: an unknown frame longer than a frame may be", [raw(0xbb, 16_385)], .goAway(.frameSize)),
    Rule("4.2: a frame of the greatest length", [raw(0xbb, 16_384)], .tolerated),
  ]

  static let streams: [Rule] = [
    Rule("5.1: DATA on an idle stream", [.data(1, "x")], .goAway(.protocolError)),
    Rule("5.1: RST_STREAM on an idle stream", [.reset(1)], .goAway(.protocolError)),
    Rule("5.1: WINDOW_UPDATE on an idle stream", [.windowUpdate(1, 1)], .goAway(.protocolError)),
    Rule(
      "5.1: CONTINUATION on an idle stream", [.continuation(1, [], complete: true)],
      .goAway(.protocolError)),
    Rule("5.1: PRIORITY on an idle stream", [.priority(3, dependsOn: 0), get], .tolerated),
    Rule("5.1: DATA on a half-closed stream", [get, .data(1, "x")], .goAway(.streamClosed)),
    Rule("5.1: HEADERS on a half-closed stream", [get, get], .goAway(.streamClosed)),
    Rule(
      "5.1: CONTINUATION on a half-closed stream", [get, .continuation(1, [], complete: true)],
      .goAway(.protocolError)),
    Rule(
      "5.1: WINDOW_UPDATE and PRIORITY on a half-closed stream",
      [get, .windowUpdate(1, 1), .priority(1, dependsOn: 0)], .tolerated),
    Rule("5.1: RST_STREAM on a half-closed stream", [get, .reset(1)], .tolerated),
    Rule(
      "5.1: DATA after RST_STREAM", [getOpen, .reset(1), .data(1, "x")], .goAway(.streamClosed)),
    Rule("5.1: HEADERS after RST_STREAM", [getOpen, .reset(1), get], .goAway(.streamClosed)),
    Rule(
      "5.1: CONTINUATION after RST_STREAM",
      [getOpen, .reset(1), .continuation(1, [], complete: true)], .goAway(.protocolError)),
    Rule(
      "5.1: WINDOW_UPDATE and RST_STREAM after RST_STREAM",
      [getOpen, .reset(1), .windowUpdate(1, 1), .reset(1), .priority(1, dependsOn: 0)], .tolerated),
    Rule(
      "5.1: DATA after a trailer section", [getOpen, .headers(1, [("a", "b")]), .data(1, "x")],
      .goAway(.streamClosed)),
    Rule("5.1.1: an even stream identifier", [.headers(2, getFields)], .goAway(.protocolError)),
    Rule("5.1.1: DATA on an even stream", [.data(2, "x")], .goAway(.protocolError)),
    Rule(
      "5.1.1: a smaller identifier that was never opened",
      [.headers(5, getFields), .headers(3, getFields)], .goAway(.streamIdentifier)),
    Rule(
      "5.1.1: a smaller identifier that was ended", [get, .headers(3, getFields), get],
      .goAway(.streamClosed)),
    Rule(
      "5.1.1: DATA on a stream that was passed over", [.headers(5, getFields), .data(3, "x")],
      .goAway(.streamClosed)),
    Rule(
      "5.1.1: identifiers that leave gaps", [.headers(5, getFields), .headers(4_001, getFields)],
      .tolerated),
    Rule(
      "5.5: a malformed frame of an unknown type inside a field block",
      [.headers(1, getFields, complete: false), raw(0xbb, 3)], .goAway(.protocolError)),
  ]

  static let frames: [Rule] = [
    Rule("6.1: DATA on stream 0", [raw(0, 3)], .goAway(.protocolError)),
    Rule(
      "6.1: padding as long as the frame",
      [getOpen, Frame(type: 0, flags: Frame.padded, stream: 1, payload: [3, 1, 2])],
      .goAway(.protocolError)),
    Rule(
      "6.1: a padded frame without pad length",
      [getOpen, Frame(type: 0, flags: Frame.padded, stream: 1)], .goAway(.protocolError)),
    Rule(
      "6.1: a frame of nothing but padding",
      [getOpen, Frame(type: 0, flags: Frame.padded, stream: 1, payload: [2, 0, 0])], .tolerated),
    Rule("6.2: HEADERS on stream 0", [.headers(0, getFields)], .goAway(.protocolError)),
    Rule(
      "6.2: HEADERS with too much padding",
      [Frame(type: 1, flags: Frame.padded | Frame.endHeaders, stream: 1, payload: [9, 0])],
      .goAway(.protocolError)),
    Rule(
      "6.2: HEADERS that depend on themselves",
      [
        Frame(
          type: 1, flags: Frame.priority | Frame.endHeaders | Frame.endStream, stream: 1,
          payload: big(1) + [0] + block(getFields))
      ], .goAway(.protocolError)),
    Rule("6.3: PRIORITY on stream 0", [.priority(0, dependsOn: 1)], .goAway(.protocolError)),
    Rule("6.3: PRIORITY of six bytes", [raw(2, 6, stream: 1)], .goAway(.frameSize)),
    Rule(
      "6.3: PRIORITY that depends on itself", [get, .priority(1, dependsOn: 1)],
      .goAway(.protocolError)),
    Rule("6.4: RST_STREAM on stream 0", [.reset(0)], .goAway(.protocolError)),
    Rule("6.4: RST_STREAM of three bytes", [getOpen, raw(3, 3, stream: 1)], .goAway(.frameSize)),
    Rule("6.5: SETTINGS on a stream", [raw(4, 0, stream: 1)], .goAway(.protocolError)),
    Rule("6.5: SETTINGS of five bytes", [raw(4, 5)], .goAway(.frameSize)),
    Rule(
      "6.5: an acknowledgement with a payload", [raw(4, 6, flags: Frame.ack)], .goAway(.frameSize)),
    Rule(
      "6.5: an acknowledgement of nothing", [.settingsAck, .settingsAck], .goAway(.protocolError)),
    Rule("6.5.2: ENABLE_PUSH of 2", [.settings([(2, 2)])], .goAway(.protocolError)),
    Rule("6.5.2: a window of 2^31", [.settings([(4, 1 << 31)])], .goAway(.flowControl)),
    Rule(
      "6.5.2: MAX_FRAME_SIZE below its first value", [.settings([(5, 16_383)])],
      .goAway(.protocolError)),
    Rule("6.5.2: MAX_FRAME_SIZE of 2^24", [.settings([(5, 1 << 24)])], .goAway(.protocolError)),
    Rule("6.5.2: an unknown setting", [.settings([(0xabcd, 1)])], .tolerated),
    Rule(
      "6.6: PUSH_PROMISE from a client",
      [
        getOpen,
        Frame(type: 5, flags: Frame.endHeaders, stream: 1, payload: big(2) + block(getFields)),
      ], .goAway(.protocolError)),
    Rule("6.7: PING on a stream", [raw(6, 8, stream: 1)], .goAway(.protocolError)),
    Rule("6.7: PING of seven bytes", [raw(6, 7)], .goAway(.frameSize)),
    Rule("6.8: GOAWAY on a stream", [raw(7, 8, stream: 1)], .goAway(.protocolError)),
    Rule("6.8: GOAWAY of seven bytes", [raw(7, 7)], .goAway(.frameSize)),
    Rule("6.9: WINDOW_UPDATE of three bytes", [raw(8, 3)], .goAway(.frameSize)),
    Rule(
      "6.9: a connection window raised by nothing", [.windowUpdate(0, 0)], .goAway(.protocolError)),
    Rule(
      "6.9: a stream window raised by nothing", [getOpen, .windowUpdate(1, 0)],
      .goAway(.protocolError)),
    Rule(
      "6.9: the window of a stream that is gone raised by nothing",
      [getOpen, .reset(1), .windowUpdate(1, 0)], .goAway(.protocolError)),
    Rule(
      "6.9.1: a connection window beyond 2^31-1", [.windowUpdate(0, 0x7fff_ffff)],
      .goAway(.flowControl)),
    Rule(
      "6.9.1: a stream window beyond 2^31-1", [getOpen, .windowUpdate(1, 0x7fff_ffff)],
      .reset(1, .flowControlError)),
    Rule(
      "6.9.2: a setting that lifts a stream window beyond 2^31-1",
      [getOpen, .windowUpdate(1, 0x7000_0000), .settings([(4, 0x7fff_ffff)])],
      .reset(1, .flowControlError)),
    Rule(
      "6.10: DATA inside the field block that ends its stream",
      [.headers(1, getFields, complete: false), .data(1, "x")], .goAway(.protocolError)),
    Rule(
      "6.10: HEADERS inside the field block that ends their stream",
      [.headers(1, getFields, complete: false), .headers(1, [])], .goAway(.protocolError)),
    Rule(
      "6.10: CONTINUATION without HEADERS", [.continuation(1, block(getFields), complete: true)],
      .goAway(.protocolError)),
    Rule(
      "6.10: CONTINUATION on stream 0",
      [.headers(1, getFields, complete: false), .continuation(0, [], complete: true)],
      .goAway(.protocolError)),
    Rule(
      "6.10: CONTINUATION of another stream",
      [.headers(1, getFields, complete: false), .continuation(3, [], complete: true)],
      .goAway(.protocolError)),
    Rule(
      "6.10: another frame inside a field block",
      [.headers(1, getFields, complete: false), .ping()], .goAway(.protocolError)),
    Rule(
      "6.10: CONTINUATION behind a complete block",
      [getOpen, .continuation(1, [], complete: true)], .goAway(.protocolError)),
    Rule(
      "6.10: a block in three frames",
      [
        .headers(1, Array(getFields.prefix(1)), complete: false),
        .continuation(1, block(Array(getFields[1...2])), complete: false),
        .continuation(1, block(Array(getFields[3...])), complete: true),
      ], .tolerated),
  ]

  static let messages: [Rule] = [
    Rule(
      "8.1: trailers without END_STREAM", [getOpen, .headers(1, [("a", "b")], ends: false)],
      malformed),
    Rule("8.1: trailers", [getOpen, .headers(1, [("a", "b")])], .tolerated),
    Rule("8.1: a pseudo-field in trailers", [getOpen, .headers(1, [(":path", "/")])], malformed),
    Rule(
      "8.1.1: less DATA than Content-Length",
      [
        .headers(1, getFields + [("content-length", "5")], ends: false),
        .data(1, "four", ends: true),
      ], malformed),
    Rule(
      "8.1.1: more DATA than Content-Length",
      [.headers(1, getFields + [("content-length", "3")], ends: false), .data(1, "four")], malformed
    ),
    Rule(
      "8.1.1: Content-Length and END_STREAM on HEADERS", [with("content-length", "5")], malformed),
    Rule(
      "8.1.1: Content-Length and END_STREAM on trailers",
      [
        .headers(1, getFields + [("content-length", "5")], ends: false), .data(1, "four"),
        .headers(1, [("a", "b")]),
      ], malformed),
    Rule(
      "8.1.1: two Content-Length fields",
      [.headers(1, getFields + [("content-length", "1"), ("content-length", "1")], ends: false)],
      malformed),
    Rule(
      "8.1.1: a Content-Length that is no number",
      [.headers(1, getFields + [("content-length", "+1")], ends: false)], malformed),
    Rule("8.2.1: an upper-case name", [with("X-A", "b")], malformed),
    Rule("8.2.1: an empty name", [with("", "b")], malformed),
    Rule("8.2.1: a colon inside a name", [with("a:b", "c")], malformed),
    Rule("8.2.1: a space in a name", [with("a b", "c")], malformed),
    Rule("8.2.1: CR in a value", [with("a", "b\rc")], malformed),
    Rule("8.2.1: LF in a value", [with("a", "b\nc")], malformed),
    Rule("8.2.1: NUL in a value", [with("a", "b\0c")], malformed),
    Rule("8.2.1: a value that starts with a space", [with("a", " b")], malformed),
    Rule("8.2.1: a value that ends with a tab", [with("a", "b\t")], malformed),
    Rule("8.2.2: connection", [with("connection", "close")], malformed),
    Rule("8.2.2: keep-alive", [with("keep-alive", "1")], malformed),
    Rule("8.2.2: proxy-connection", [with("proxy-connection", "close")], malformed),
    Rule("8.2.2: transfer-encoding", [with("transfer-encoding", "chunked")], malformed),
    Rule("8.2.2: upgrade", [with("upgrade", "h2c")], malformed),
    Rule("8.2.2: te of gzip", [with("te", "gzip")], malformed),
    Rule("8.2.2: te of trailers", [with("te", "trailers")], .tolerated),
    Rule("8.3: an unknown pseudo-field", [with(":a", "b")], malformed),
    Rule(
      "8.3: a pseudo-field of responses", [.headers(1, [(":status", "200")] + getFields)], malformed
    ),
    Rule("8.3: a pseudo-field behind a field", [.headers(1, [("a", "b")] + getFields)], malformed),
    Rule("8.3.1: no method", [without(":method")], malformed),
    Rule("8.3.1: no scheme", [without(":scheme")], malformed),
    Rule("8.3.1: no path", [without(":path")], malformed),
    Rule("8.3.1: no authority and no host", [without(":authority")], malformed),
    Rule("8.3.1: two methods", [.headers(1, [(":method", "GET")] + getFields)], malformed),
    Rule("8.3.1: two schemes", [.headers(1, [(":scheme", "https")] + getFields)], malformed),
    Rule("8.3.1: two paths", [.headers(1, [(":path", "/")] + getFields)], malformed),
    Rule("8.3.1: two authorities", [.headers(1, [(":authority", "a")] + getFields)], malformed),
    Rule("8.3.1: an empty path", [replacing(":path", "")], malformed),
    Rule("8.3.1: a path that is no path", [replacing(":path", "chat")], malformed),
    Rule("8.5: a CONNECT with scheme and path", [replacing(":method", "CONNECT")], malformed),
    Rule(
      "8.5: trailers on a CONNECT",
      [.headers(1, connectFields, ends: false), .headers(1, [("a", "b")])],
      .reset(1, .protocolError)),
    Rule(
      "RFC 8441, 4: `:protocol` without CONNECT",
      [.headers(1, [(":protocol", "websocket")] + getFields)], malformed),
    Rule("RFC 8441, 4: no scheme", [without(":scheme", in: connectFields)], malformed),
    Rule("RFC 8441, 4: no path", [without(":path", in: connectFields)], malformed),
    Rule("RFC 8441, 4: no authority", [without(":authority", in: connectFields)], malformed),
  ]

  static let compression: [Rule] = [
    Rule("RFC 7541, 2.3.3: index 0", [getBlock([0x80])], .goAway(.compression)),
    Rule(
      "RFC 7541, 2.3.3: an index beyond the table", [getBlock([0xff, 0x20])], .goAway(.compression)),
    Rule(
      "RFC 7541, 5.1: an integer without end",
      [getBlock([0xff] + Array(repeating: 0xff, count: 12))], .goAway(.compression)),
    Rule(
      "RFC 7541, 5.2: a string longer than the block", [getBlock([0, 5, 0x61])],
      .goAway(.compression)),
    Rule(
      "RFC 7541, 5.2: Huffman padding of more than seven bits",
      [getBlock([0, 1, 0x61, 0x82, 0x1f, 0xff])], .goAway(.compression)),
    Rule(
      "RFC 7541, 5.2: Huffman padding of zeros", [getBlock([0, 1, 0x61, 0x81, 0x18])],
      .goAway(.compression)),
    Rule(
      "RFC 7541, 5.2: a Huffman string with EOS in it",
      [getBlock([0, 1, 0x61, 0x84, 0xff, 0xff, 0xff, 0xff])], .goAway(.compression)),
    Rule(
      "RFC 7541, 4.2: a table size update behind a field", [getBlock([0x20])], .goAway(.compression)
    ),
    Rule(
      "RFC 7541, 6.3: a table larger than announced",
      [
        Frame(
          type: 1, flags: Frame.endHeaders | Frame.endStream, stream: 1,
          payload: [0x3f, 0xe2, 0x1f] + block(getFields))
      ], .goAway(.compression)),
    Rule(
      "RFC 7541, 6.3: a table as large as announced",
      [
        Frame(
          type: 1, flags: Frame.endHeaders | Frame.endStream, stream: 1,
          payload: [0x3f, 0xe1, 0x1f] + block(getFields))
      ], .tolerated),
  ]

  @Test("openings and frames", arguments: opening9113) func opening(_ rule: Rule) { check(rule) }
  @Test("streams and their states", arguments: streams) func streamStates(_ rule: Rule) {
    check(rule)
  }
  @Test("each type of frame", arguments: frames) func frameTypes(_ rule: Rule) { check(rule) }
  @Test("messages", arguments: messages) func message(_ rule: Rule) { check(rule) }
  @Test("field compression", arguments: compression) func fieldCompression(_ rule: Rule) {
    check(rule)
  }
}
