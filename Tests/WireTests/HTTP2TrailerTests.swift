// Trailer sections over HTTP/2 (RFC 9113, section 8.1): which of a request's are told, and that those
// of a response come behind everything else.

import Bytes
import Testing

@testable import Wire

private let post =
  getFields.map { $0.0 == ":method" ? ($0.0, "POST") : $0 }

/// A request whose body is a piece of DATA and then `trailers`.
private func asked(
  _ trailers: [(String, String)], _ fields: [(String, String)] = []
) -> Conversation {
  let it = Conversation.open()
  it.feed(
    .headers(1, post + fields, ends: false), .data(1, "content"), .headers(1, trailers))
  it.collect()
  return it
}

private func section(_ fields: [(String, String)]) -> FieldBlock {
  var block = FieldBlock()
  for (name, value) in fields { block.append(Array(name.utf8).span, Array(value.utf8).span) }
  return block
}

@Suite("HTTP/2 trailers")
struct HTTP2TrailerTests {
  // MARK: Requests

  @Test("those of a request come with its end, written like those of HTTP/1.1")
  func request() {
    let it = asked([("x-sum", "abc"), ("server-timing", "a;dur=1"), ("x-sum", "")])
    #expect(
      it.seen.last == .ended(1, "x-sum: abc\r\nserver-timing: a;dur=1\r\nx-sum: \r\n"))
    #expect(it.progress == .open)
  }

  @Test("they belong to their stream, and the next one starts without")
  func another() {
    let it = asked([("a", "1")])
    it.feed(.headers(3, post, ends: false), .data(3, "x", ends: true))
    #expect(it.seen.last == .ended(3))
    it.feed(.headers(5, post, ends: false), .headers(5, [("b", "2")]))
    #expect(it.seen.last == .ended(5, "b: 2\r\n"))
    #expect(it.heads[5]?.fields.count == 1)
  }

  @Test("a block in several frames, and in any pieces, is the same")
  func pieces() {
    let trailers = block([("x-sum", "abc"), ("host", "evil"), ("x-end", "1")])
    let bytes =
      Frame.headers(1, post, ends: false).bytes + Frame.data(1, "content").bytes
      + Frame(type: 1, flags: Frame.endStream, stream: 1, payload: Array(trailers[..<9])).bytes
      + Frame.continuation(1, Array(trailers[9...]), complete: true).bytes
    for split in 0...bytes.count {
      let it = Conversation.open()
      it.feed(bytes[..<split])
      it.feed(bytes[split...])
      #expect(it.seen.last == .ended(1, "x-sum: abc\r\nx-end: 1\r\n"), "split at \(split)")
    }
  }

  @Test("those that frame, route or authenticate are dropped, by the rules of HTTP/1.1")
  func dropped() {
    let fields = [
      ("host", "evil"), ("authorization", "Basic x"), ("cookie", "a=b"), ("cookie", "c=d"),
      ("content-encoding", "gzip"), ("content-length", "7"), ("x-forwarded-for", "1.2.3.4"),
      ("te", "trailers"), ("trailer", "x"), ("content_length", "5"), ("if-match", "*"),
      ("proxy-user", "root"), ("x-sum", "abc"),
    ]
    #expect(asked(fields).seen.last == .ended(1, "x-sum: abc\r\n"))
    #expect(asked(fields.dropLast()).seen.last == .ended(1))
  }

  @Test(
    "what is malformed resets the stream",
    arguments: [
      (":path", "/"), (":status", "200"), ("transfer-encoding", "chunked"), ("connection", "x"),
      ("keep-alive", "1"), ("te", "gzip"), ("X-Sum", "1"), ("x sum", "1"), ("", "1"),
      ("x", "a\r\nhost: evil"), ("x", "a\0"), ("x", " a"), ("content-length", "6"),
      ("content-length", "-1"),
    ])
  func malformed(name: String, value: String) {
    let it = asked([(name, value), ("x-sum", "abc")])
    #expect(it.frames == [.reset(1, HTTP2ErrorCode.protocolError.rawValue)])
    let closed = Seen.closed(
      1, owner: nil, code: HTTP2ErrorCode.protocolError.rawValue, byPeer: false)
    #expect(it.seen.last == closed)
    #expect(!it.seen.contains { if case .ended = $0 { true } else { false } })
    #expect(it.progress == .open)
  }

  @Test("a body that is not as long as Content-Length says is none, whatever ends it")
  func length() {
    for (length, isRight) in [("7", true), ("6", false), ("8", false), ("0", false)] {
      let it = asked([("a", "1")], [("content-length", length)])
      let isEnded = it.seen.contains { if case .ended = $0 { true } else { false } }
      #expect(isEnded == isRight, "\(length): \(it.seen)")
      #expect(it.frames.contains { $0.isReset } != isRight, "\(length)")
    }
  }

  @Test(
    "fields and bytes count as in a head, the dropped ones too, and beyond is ENHANCE_YOUR_CALM")
  func limits() {
    func isTaken(_ fields: [(String, String)]) -> Bool {
      let it = asked(fields)
      let reset = Frame.reset(1, HTTP2ErrorCode.enhanceYourCalm.rawValue)
      let isReset = it.frames == [reset]
      #expect(isReset || it.frames.isEmpty, "\(it.frames)")
      let isEnded = it.seen.contains { if case .ended = $0 { true } else { false } }
      #expect(isEnded != isReset)
      #expect(it.progress == .open)
      return isEnded
    }
    for name in ["a", "cookie"] {
      #expect(isTaken(Array(repeating: (name, "b"), count: 100)))
      #expect(!isTaken(Array(repeating: (name, "b"), count: 101)))
    }
    let line = String(repeating: "v", count: 8 * 1024 - 3)
    #expect(isTaken([("a", line)]))
    #expect(!isTaken([("a", line + "v")]))
  }

  @Test("their list may have 32 KiB with 32 bytes for each field, and not one more")
  func listBytes() {
    func isTaken(_ last: Int) -> Bool {
      let it = Conversation.open()
      it.feed(.headers(1, post, ends: false))
      let fields = (0..<5).map { index in
        ("a", String(repeating: "v", count: index < 4 ? 6_500 : last))
      }
      let bytes = block(fields)
      it.feed(
        Frame(type: 1, flags: Frame.endStream, stream: 1, payload: Array(bytes[..<16_000])),
        .continuation(1, Array(bytes[16_000..<32_000]), complete: false),
        .continuation(1, Array(bytes[32_000...]), complete: true))
      #expect(it.progress == .open)
      return it.seen.contains { if case .ended = $0 { true } else { false } }
    }
    let rest = 32 * 1024 - 4 * (6_500 + 33) - 33
    #expect(isTaken(rest))
    #expect(!isTaken(rest + 1))
  }

  @Test("an event tells the trailers even when the stream is gone by the end of the call")
  func goneAtOnce() {
    let it = Conversation.open()
    it.feed(.headers(1, post, ends: false))
    it.session.setOwner(1, 9)
    it.feed(.headers(1, [("a", "1")]), .reset(1))
    #expect(
      it.seen.suffix(2) == [
        .ended(1, "a: 1\r\n"), .closed(1, owner: 9, code: 8, byPeer: true),
      ])
  }

  // MARK: Responses

  private func answering(_ content: Int = 0) -> Conversation {
    let it = Conversation.open()
    it.feed(.headers(1, getFields))
    it.session.respond(1, status: 200, fields: FieldBlock(), ends: false)
    if content > 0 { it.write(1, Array(repeating: 1, count: content).span) }
    return it
  }

  private static let sum = Frame.headers(1, [("x-sum", "abc")])

  @Test("those of a response are HEADERS with END_STREAM behind all of its DATA")
  func response() {
    for content in [0, 1, 16_384, 40_000] {
      let it = answering(content)
      it.session.finish(1, trailers: section([("X-Sum", "abc"), ("x-end", "")]))
      let frames = it.collect()
      let data = frames.filter { $0.type == 0 }
      #expect(data.reduce(0) { $0 + $1.payload.count } == content)
      #expect(data.allSatisfy { $0.flags == 0 })
      #expect(frames.map(\.type) == [1] + data.map(\.type) + [1])
      #expect(frames.last?.flags == Frame.endStream | Frame.endHeaders)
      #expect(it.seen.last == .closed(1, owner: nil, code: 0, byPeer: false))
      #expect(it.session.openStreams == 0)
      #expect(!it.session.wantsToSend)
    }
  }

  @Test("also when the content has gone before")
  func later() {
    let it = answering(10)
    #expect(it.collect().map(\.type) == [1, 0])
    #expect(!it.session.owesEnd(1))
    it.session.finish(1, trailers: section([("x-sum", "abc")]))
    #expect(it.session.owesEnd(1))
    #expect(it.collect().map(\.type) == [1])
    #expect(it.session.openStreams == 0)
  }

  @Test("no trailers are no more than END_STREAM")
  func none() {
    let it = answering(3)
    it.session.finish(1, trailers: FieldBlock())
    #expect(it.collect().last == .data(1, [1, 1, 1], ends: true))
  }

  @Test("the end stays as it was first asked for, and nothing is written behind it")
  func once() {
    let it = answering(3)
    it.session.finish(1, trailers: section([("a", "1")]))
    it.session.finish(1)
    it.session.finish(1, trailers: section([("b", "2"), ("c", "3")]))
    it.write(1, [9].span)
    let frames = it.collect()
    #expect(frames.map(\.type) == [1, 0, 1])
    let again = answering(3)
    again.session.finish(1)
    again.session.finish(1, trailers: section([("a", "1")]))
    #expect(again.collect().map(\.type) == [1, 0])
  }

  @Test("they wait for the windows with what is in front of them, and others pass them")
  func window() {
    let it = answering(65_535 + 100)
    it.session.finish(1, trailers: section([("x-sum", "abc")]))
    #expect(it.collect().filter { $0.type == 1 }.count == 1)
    it.feed(.windowUpdate(0, 1 << 20))
    #expect(it.collect() == [])
    it.feed(.headers(3, getFields))
    it.session.respond(3, status: 200, fields: FieldBlock(), ends: false)
    it.write(3, [3].span)
    it.session.finish(3)
    #expect(it.collect().last == .data(3, [3], ends: true))
    it.feed(.windowUpdate(1, 60))
    #expect(it.collect().map(\.payload.count) == [60])
    it.feed(.windowUpdate(1, 41))
    let frames = it.collect()
    #expect(frames.map(\.type) == [0, 1])
    #expect(frames.first?.payload.count == 40)
    #expect(it.session.openStreams == 0)
  }

  @Test(
    "behind content that fills the window to the last byte the end waits, and it is known to be owed",
    arguments: [true, false])
  func fullWindow(hasTrailers: Bool) {
    let it = answering(65_535)
    it.session.setOwner(1, 4)
    it.collect()
    it.session.finish(1, trailers: section(hasTrailers ? [("x-sum", "abc")] : []))
    #expect(it.collect() == [])
    #expect(it.session.owesEnd(1))
    it.feed(.windowUpdate(0, 1 << 20), .windowUpdate(1, 1))
    it.forget()
    #expect(it.collect().map(\.type) == [hasTrailers ? 1 : 0])
    #expect(
      it.seen == [
        .sent(1, owner: 4, count: 0), .closed(1, owner: 4, code: 0, byPeer: false),
      ])
    #expect(!it.session.owesEnd(1))
  }

  @Test("an output that is full enough holds them back with the DATA in front of them")
  func outputLimit() {
    let it = answering(40_000)
    it.session.finish(1, trailers: section([("x-sum", "abc")]))
    it.outputLimit = 1
    var types: [UInt8] = []
    var rounds = 0
    while it.session.wantsToSend, rounds < 10 {
      types += it.collect().map(\.type)
      rounds += 1
    }
    #expect(types == [1, 0, 0, 0, 1])
  }

  @Test("RST_STREAM of ours drops them with what is unsent")
  func reset() {
    let it = answering(70_000)
    it.collect()
    it.session.finish(1, trailers: section([("x-sum", "abc")]))
    it.session.reset(1, .cancel)
    #expect(it.collect() == [.reset(1, 8)])
    it.feed(.windowUpdate(0, 1 << 20))
    #expect(it.collect() == [])
  }

  @Test("behind them comes RST_STREAM(NO_ERROR) when the request is not read to its end")
  func unreadBody() {
    let it = Conversation.open()
    it.feed(.headers(1, post, ends: false), .data(1, "body"))
    it.session.respond(1, status: 200, fields: FieldBlock(), ends: false)
    it.write(1, [1].span)
    it.session.finish(1, trailers: section([("x-sum", "abc")]))
    it.session.finishThenReset(1)
    let frames = it.collect()
    #expect(frames.map(\.type) == [1, 0, 1, 3])
    #expect(frames.last == .reset(1, 0))
    #expect(it.session.openStreams == 0)
  }

  @Test("trailers that are too large to be sent reset the stream instead of leaving it open")
  func tooLarge() {
    let it = answering(1)
    let value = String(repeating: "~", count: 8_000)
    it.session.finish(1, trailers: section(Array(repeating: ("a", value), count: 40)))
    #expect(it.collect().last == .reset(1, HTTP2ErrorCode.internalError.rawValue))
    #expect(it.session.openStreams == 0)
    #expect(it.progress == .open)
  }

  @Test("lines of HTTP/1.1 become fields, whatever they hold")
  func lines() {
    func fields(_ lines: String) -> [String] {
      let block = FieldBlock(trailers: Array(lines.utf8).span)
      return block.entries.map { entry in
        [(entry.name, entry.nameCount), (entry.value, entry.valueCount)]
          .map { String(decoding: block.bytes[Int($0.0)..<Int($0.0 + $0.1)], as: UTF8.self) }
          .joined(separator: "=")
      }
    }
    #expect(fields("") == [])
    #expect(fields("X-Sum: abc\r\nB: \r\nC: d:e\r\n") == ["x-sum=abc", "b=", "c=d:e"])
    // Nothing of the kind is ever given, and nothing of it may get through.
    #expect(fields("Connection: x\r\nA: 1\r\n") == ["a=1"])
    for broken in [":", "a", "a:", "a\r\n", "a: b", "\r\n\r\n", ": x\r\n"] {
      #expect(fields(broken) == [], "\(broken)")
    }
  }
}
