// The ordinary life of an HTTP/2 connection: settings, requests, responses, DATA in both directions,
// flow control, resets, PING and GOAWAY.

import Bytes
import Foundation
import Testing

@testable import Wire

@Suite("HTTP/2 session")
struct HTTP2SessionTests {
  @Test("the settings come first and say what we take")
  func settings() {
    let it = Conversation()
    let frames = it.collect()
    let expected: [(UInt16, UInt32)] = [(3, 100), (4, 65_536), (6, 32_768), (8, 1), (9, 1)]
    #expect(frames.first == .settings(expected))
    #expect(frames.dropFirst().first == .windowUpdate(0, (1 << 20) - 65_535))
    #expect(frames.count == 2)
  }

  @Test("it says when it waits for the rest of a preface or of a head, and not of DATA")
  func awaiting() {
    let it = Conversation()
    var waits: [Bool] = []
    let head = Frame.headers(1, getFields, ends: false).bytes
    for piece in [
      preface[..<10], preface[10...], Frame.settings([(4, 1)]).bytes[..<10],
      Frame.settings([(4, 1)]).bytes[10...], head[..<12], head[12...],
      Frame.headers(3, [], complete: false).bytes[...],
      Frame.continuation(3, block(getFields), complete: true).bytes[...],
      Frame.data(1, "hello").bytes[..<11],
    ] {
      it.feed(piece)
      waits.append(it.session.isAwaitingBytes)
    }
    #expect(waits == [true, true, true, false, true, false, true, false, false])
  }

  @Test("a request, its response and the end of the stream")
  func request() {
    let it = Conversation.open()
    it.feed(.headers(1, getFields + [("accept", "*/*")]))
    #expect(
      it.seen == [
        .request(
          1, method: "GET", path: "/chat", fields: ["host: example.com", "accept: */*"],
          ends: true)
      ])
    it.session.setOwner(1, 42)
    var fields = FieldBlock()
    fields.append("content-type", "text/plain")
    #expect(it.session.respond(1, status: 200, fields: fields, ends: false))
    it.write(1, Array("hello".utf8).span)
    it.session.finish(1)
    let frames = it.collect()
    #expect(frames.map(\.type) == [1, 0])
    #expect(frames.last == .data(1, "hello", ends: true))
    #expect(
      it.seen.dropFirst().elementsEqual([
        .sent(1, owner: 42, count: 5), .closed(1, owner: 42, code: 0, byPeer: false),
      ]))
    #expect(it.session.openStreams == 0)
  }

  @Test("a WebSocket over HTTP/2: DATA both ways, credit as it is taken")
  func webSocket() throws {
    let it = Conversation.open()
    it.feed(.headers(1, connectFields, ends: false), .data(1, "early"))
    let head = try #require(it.heads[1])
    #expect(head.version == .http2)
    #expect(head.protocolName.map(head.string) == "websocket")
    #expect(Handshake.classify(head) == .webSocket(HandshakeOffer(key: [])))
    #expect(it.seen.last == .data(1, Array("early".utf8)))
    #expect(it.session.respond(1, status: 200, fields: FieldBlock(), ends: false))
    it.write(1, [1, 2, 3].span)
    #expect(it.session.unsent(1) == 3)
    #expect(it.collect().last == .data(1, [1, 2, 3]))
    #expect(it.session.unsent(1) == 0)
    it.session.returnCredit(1, 40_000)
    #expect(it.collect() == [])
    it.feed(
      .data(1, Array(repeating: 9, count: 16_384)), .data(1, Array(repeating: 9, count: 16_384)))
    it.session.returnCredit(1, 32_768)
    #expect(it.collect().contains { $0.type == 8 && $0.stream == 1 })
    it.feed(.data(1, [], ends: true))
    #expect(it.seen.last == .ended(1))
    it.session.finish(1)
    #expect(it.collect().last == .data(1, [], ends: true))
    #expect(it.seen.last == .closed(1, owner: nil, code: 0, byPeer: false))
  }

  /// A connection with extended CONNECTs answered 200 on streams 1, 3, …
  private func bridges(_ count: Int, _ limits: HTTP2Limits = HTTP2Limits()) -> Conversation {
    let it = Conversation.open(limits)
    for index in 0..<count {
      it.feed(.headers(UInt32(index * 2 + 1), connectFields, ends: false))
      it.session.respond(Int32(index * 2 + 1), status: 200, fields: FieldBlock(), ends: false)
    }
    it.collect()
    it.forget()
    return it
  }

  @Test("RST_STREAM from the peer ends the stream and drops what is unsent")
  func resetByPeer() {
    let it = bridges(1)
    it.session.setOwner(1, 7)
    it.write(1, [1, 2, 3].span)
    it.feed(.reset(1, 8))
    #expect(it.seen == [.closed(1, owner: 7, code: 8, byPeer: true)])
    #expect(it.session.owner(of: 1) == nil)
    #expect(it.session.unsent(1) == 0)
    #expect(it.collect() == [])
  }

  @Test("a request that is reset in the same read is known to be gone when it is looked at")
  func resetAtOnce() {
    let it = Conversation.open()
    it.feed(.headers(1, getFields), .reset(1), .headers(3, getFields))
    #expect(it.seen.count == 3)
    #expect(!it.session.isOpen(1))
    #expect(it.session.isOpen(3))
    it.session.setOwner(1, 5)
    #expect(it.session.owner(of: 1) == nil)
  }

  @Test("sessions give all their memory back")
  func memory() throws {
    func resident() throws -> Int {
      let text = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8)
      return try #require(text.split(separator: " ").dropFirst().first.flatMap { Int($0) }) * 4096
    }
    func run(_ sessions: Int) {
      for _ in 0..<sessions {
        let it = bridges(60)
        it.write(1, Array(repeating: 0, count: 60_000).span)
        it.feed(.reset(3), .headers(201, getFields + [("X", "y")]), .data(5, [], ends: true))
      }
    }
    run(20)
    let before = try resident()
    // 80 KB for each of them if they did not; the rest is what runs beside this.
    run(1_000)
    #expect(try resident() - before < 56 << 20)
  }

  @Test("RST_STREAM of ours goes out once, before what is unsent, and ends the stream")
  func resetByUs() {
    let it = bridges(1)
    it.write(1, [1, 2, 3].span)
    it.session.reset(1, .cancel)
    it.session.reset(1, .internalError)
    it.write(1, [4].span)
    #expect(it.session.unsent(1) == 0)
    #expect(it.collect() == [.reset(1, 8)])
    #expect(it.seen == [.closed(1, owner: nil, code: 8, byPeer: false)])
    it.session.reset(1, .cancel)
    #expect(it.collect() == [])
  }

  @Test("frames that cross our RST_STREAM are no error, and their credit comes back")
  func crossing() {
    let it = bridges(1)
    it.session.reset(1, .cancel)
    it.collect()
    it.forget()
    it.feed(.data(1, "late"), .windowUpdate(1, 5), .headers(1, [("a", "b")]))
    #expect(it.progress == .open)
    #expect(it.seen == [])
    #expect(it.collect() == [])
    it.feed(.data(1, "later"))
    #expect(it.progress == .failed(.streamClosed))
  }

  @Test(
    "frames on a stream that both sides have ended are STREAM_CLOSED",
    arguments: [
      Frame.data(1, "x"), .headers(1, getFields), .data(1, [], ends: true),
    ])
  func ended(_ frame: Frame) {
    let it = bridges(1)
    it.feed(.data(1, [], ends: true))
    it.session.finish(1)
    it.collect()
    #expect(it.session.openStreams == 0)
    it.feed(.windowUpdate(1, 1), .priority(1, dependsOn: 0))
    #expect(it.progress == .open)
    it.feed(frame)
    #expect(it.progress == .failed(.streamClosed))
    #expect(it.collect().last == .goAway(1, HTTP2ErrorCode.streamClosed.rawValue))
  }

  @Test("the history of streams: open, ended, passed over, and forgotten after 1,024")
  func history() {
    var history = StreamHistory()
    #expect(history.state(of: 1) == .idle)
    history.open(1)
    history.open(3)
    history.end(3)
    history.open(9)
    #expect(
      [1, 3, 5, 7, 9, 11].map(history.state) == [.open, .ended, .skipped, .skipped, .open, .idle])
    #expect([0, 2, 10].map(history.state) == [.unknown, .unknown, .unknown])
    // 2049 and 2051 take the places of 1 and 3.
    history.open(2047)
    #expect([1, 3].map(history.state) == [.open, .ended])
    history.open(2053)
    #expect([1, 3, 5].map(history.state) == [.unknown, .unknown, .unknown])
    #expect(
      [9, 2047, 2049, 2051, 2053].map(history.state) == [.open, .open, .skipped, .skipped, .open])
    history.open(10_247)
    #expect(history.state(of: 10_245) == .skipped)
    history.open(0x7fff_ffff)
    #expect([2053, 0x7fff_fffd, 0x7fff_ffff].map(history.state) == [.unknown, .skipped, .open])
    history.end(0x7fff_fffd)
    #expect(history.state(of: 0x7fff_fffd) == .skipped)
    var again = StreamHistory()
    again.open(1)
    again.end(1)
    again.open(2049)
    #expect(again.state(of: 2049) == .open)
  }

  @Test("a stream whose peer has ended gets no more credit")
  func creditAfterEnd() {
    let it = bridges(1)
    for _ in 0..<3 { it.feed(.data(1, Array(repeating: 1, count: 16_384))) }
    it.feed(.data(1, [], ends: true))
    it.session.returnCredit(1, 3 * 16_384)
    #expect(it.collect() == [])
  }

  @Test("END_STREAM stands on the last of several DATA frames")
  func lastFrame() {
    let it = bridges(1)
    it.write(1, Array(repeating: 1, count: 40_000).span)
    it.session.finish(1)
    it.write(1, [2].span)
    let frames = it.collect()
    #expect(frames.map(\.flags) == [0, 0, Frame.endStream])
    #expect(frames.reduce(0) { $0 + $1.payload.count } == 40_000)
  }

  @Test("a call on a stream that is gone, or never was, does nothing")
  func noStream() {
    let it = Conversation.open()
    for stream: Int32 in [0, 1, 2, -1, .max] {
      it.session.setOwner(stream, 1)
      it.write(stream, [1].span)
      it.session.finish(stream)
      it.session.finishThenReset(stream)
      it.session.reset(stream, .cancel)
      it.session.returnCredit(stream, 10)
      #expect(it.session.owner(of: stream) == nil)
      #expect(it.session.unsent(stream) == 0)
      let answered = it.session.respond(stream, status: 200, fields: FieldBlock(), ends: true)
      #expect(!answered)
    }
    #expect(it.collect() == [])
  }

  @Test("a stream is answered once, and with a final status")
  func answers() {
    let it = Conversation.open()
    it.feed(.headers(1, getFields))
    for (status, isTaken): (UInt16, Bool) in [
      (100, false), (1_000, false), (204, true), (200, false),
    ] {
      let answered = it.session.respond(1, status: status, fields: FieldBlock(), ends: true)
      #expect(answered == isTaken, "\(status)")
    }
    #expect(it.collect().count == 1)
  }

  @Test(
    "a refused request that still has a body: the response, then RST_STREAM(NO_ERROR)",
    arguments: [true, false])
  func unreadBody(_ endsOnHeaders: Bool) {
    let it = Conversation.open()
    it.feed(.headers(1, getFields, ends: false), .data(1, "body"))
    it.session.respond(1, status: 403, fields: FieldBlock(), ends: endsOnHeaders)
    if !endsOnHeaders { it.write(1, Array("no".utf8).span) }
    it.session.finishThenReset(1)
    let frames = it.collect()
    #expect(frames.map(\.type) == (endsOnHeaders ? [1, 3] : [1, 0, 3]))
    #expect(frames.last == .reset(1, 0))
    #expect(it.seen.last == .closed(1, owner: nil, code: 0, byPeer: false))
    #expect(it.session.openStreams == 0)
  }

  @Test("the same when the response has left before, and not at all when the request is complete")
  func unreadBodyLate() {
    let it = Conversation.open()
    it.feed(.headers(1, getFields, ends: false))
    it.session.respond(1, status: 403, fields: FieldBlock(), ends: true)
    it.collect()
    it.session.finishThenReset(1)
    #expect(it.collect() == [.reset(1, 0)])
    it.feed(.headers(3, getFields))
    it.session.respond(3, status: 403, fields: FieldBlock(), ends: true)
    it.session.finishThenReset(3)
    #expect(it.collect().map(\.type) == [1])
    #expect(it.session.openStreams == 0)
  }

  @Test("PING is answered with its payload, and the answer to ours is reported")
  func ping() {
    let it = Conversation.open()
    it.feed(.ping([1, 2, 3, 4, 5, 6, 7, 8]))
    #expect(it.collect() == [.ping([1, 2, 3, 4, 5, 6, 7, 8], ack: true)])
    it.session.ping(0x0102_0304_0506_0708)
    #expect(it.collect() == [.ping([1, 2, 3, 4, 5, 6, 7, 8])])
    it.feed(.ping([1, 2, 3, 4, 5, 6, 7, 8], ack: true))
    #expect(it.seen == [.pong(0x0102_0304_0506_0708)])
  }

  @Test("GOAWAY goes out twice: the notice, which still lets streams in, and the last one")
  func goAway() {
    let it = bridges(1)
    it.session.goAway(isFinal: false)
    #expect(it.collect() == [.goAway(0x7fff_ffff, 0)])
    it.feed(.headers(3, getFields))
    #expect(it.session.openStreams == 2)
    it.session.goAway(isFinal: true)
    #expect(it.collect() == [.goAway(3, 0)])
    it.forget()
    it.feed(.headers(5, getFields), .data(1, "goes on"))
    #expect(it.seen == [.data(1, Array("goes on".utf8))])
    #expect(it.session.openStreams == 2)
    #expect(it.session.lastStream == 3)
    it.feed(.goAway(0, 0))
    #expect(it.seen.last == .goAway(0))
    #expect(it.progress == .open)
  }

  @Test("an end of our own making: GOAWAY with its code, then silence")
  func fail() {
    let it = bridges(2)
    it.write(1, [1].span)
    it.session.fail(.internalError)
    #expect(it.session.wantsToSend)
    #expect(it.collect() == [.goAway(3, 2)])
    #expect(it.feed(.ping()) == .failed(.ended))
    it.session.fail(.noError)
    #expect(it.collect() == [])
    #expect(!it.session.wantsToSend)
  }

  @Test("a response head of 64 KiB goes out, in several frames")
  func largeHead() {
    let it = Conversation.open()
    it.feed(.headers(1, getFields))
    var fields = FieldBlock()
    for index in 0..<65 {
      let value = Array(repeating: UInt8(ascii: "~"), count: 1_000 + index)
      fields.append("x-a", value.span)
    }
    it.session.respond(1, status: 200, fields: fields, ends: true)
    let frames = it.collect()
    #expect(frames.count > 3)
    #expect(frames.map(\.type).allSatisfy { $0 == 1 || $0 == 9 })
  }

  @Test("DATA stops at the peer's window and goes on with its WINDOW_UPDATE")
  func window() {
    let it = bridges(2)
    it.write(1, Array(repeating: 1, count: 100_000).span)
    #expect(it.collect().reduce(0) { $0 + $1.payload.count } == 65_535)
    #expect(it.session.unsent(1) == 100_000 - 65_535)
    #expect(!it.session.wantsToSend)
    it.feed(.windowUpdate(0, 100_000))
    #expect(it.collect() == [])
    it.write(3, [3].span)
    #expect(it.collect() == [.data(3, [3])])
    it.feed(.windowUpdate(1, 10))
    #expect(it.collect() == [.data(1, Array(repeating: 1, count: 10))])
  }

  @Test("streams take turns: a large transfer does not hold up a small one")
  func turns() {
    let it = bridges(2)
    it.write(1, Array(repeating: 1, count: 60_000).span)
    it.write(3, [3].span)
    #expect(it.collect().map(\.stream).firstIndex(of: 3).map { $0 <= 1 } == true)
  }

  @Test("an output that is full enough gets no more DATA, and what follows is the rest")
  func outputLimit() {
    let it = bridges(1)
    it.write(1, Array(0..<200).span)
    it.write(1, Array(repeating: 5, count: 40_000).span)
    it.outputLimit = 1
    var sent: [UInt8] = []
    var rounds = 0
    while it.session.wantsToSend, rounds < 10 {
      sent += it.collect().flatMap(\.payload)
      rounds += 1
    }
    // Three frames, and one call that finds nothing more.
    #expect(rounds <= 4)
    #expect(sent == Array(0..<200) + Array(repeating: 5, count: 40_000))
  }

  @Test("DATA beyond the stream's window resets the stream; connection credit is not touched by it")
  func overrun() {
    let it = bridges(2)
    for _ in 0..<4 { it.feed(.data(1, Array(repeating: 0, count: 16_384))) }
    it.feed(.data(1, [0]))
    #expect(it.collect().last == .reset(1, HTTP2ErrorCode.flowControlError.rawValue))
    #expect(it.seen.last == .closed(1, owner: nil, code: 3, byPeer: false))
    it.feed(.data(3, "x"))
    #expect(it.progress == .open)
  }

  @Test("connection credit comes back on receipt: stalled streams do not stall the others")
  func connectionCredit() {
    let it = bridges(40)
    // 39 streams fill their windows and nobody takes it: more than twice the connection's window.
    for index in 0..<39 {
      for _ in 0..<4 {
        it.feed(.data(UInt32(index * 2 + 1), Array(repeating: 0, count: 16_384)))
      }
      it.collect()
    }
    #expect(it.progress == .open)
    #expect(it.frames.contains { $0.type == 8 && $0.stream == 0 })
    #expect(!it.frames.contains { $0.type == 8 && $0.stream != 0 })
    it.feed(.data(79, "x"))
    #expect(it.seen.last == .data(79, [0x78]))
  }

  @Test("the library's version is known, and so is which of its defences are missing")
  func library() {
    #expect(HTTP2Session.libraryVersion.hasPrefix("1."))
    #expect(HTTP2Session.missingOptions.count <= 2)
  }
}
