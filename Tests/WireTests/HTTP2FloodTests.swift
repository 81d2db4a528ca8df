// What a peer may cost: each budget is spent to its last unit without harm, one more ends the
// connection with ENHANCE_YOUR_CALM, and time refills what refills.

import Bytes
import Testing

@testable import Wire

/// Feeds `frame(0)`, `frame(1)`, … and takes the output in between, until the connection fails.
private func count(
  _ it: Conversation, atMost: Int = 20_000, collecting: Bool = true,
  frame: (Int) -> [Frame]
) -> Int {
  for index in 0..<atMost {
    if it.feed(frame(index).flatMap(\.bytes)) != .open { return index }
    if collecting { it.collect() }
    it.forget()
  }
  return atMost
}

private func expectFailure(_ it: Conversation, _ violation: HTTP2Violation) {
  #expect(it.progress == .failed(violation))
  #expect(violation.code == .enhanceYourCalm)
  #expect(it.collect().last?.code == .enhanceYourCalm)
  #expect(it.feed(Frame.ping()) == .failed(violation))
  #expect(it.collect() == [])
  #expect(!it.session.wantsToSend)
}

private let get = getFields
private func id(_ index: Int) -> UInt32 { UInt32(index * 2 + 1) }

@Suite("HTTP/2 floods")
struct HTTP2FloodTests {
  @Test("Rapid Reset: 200 at once, then 20 in each second")
  func clientResets() {
    let it = Conversation.open()
    let flood: (Int) -> [Frame] = { [.headers(id($0), get), .reset(id($0))] }
    for index in 0..<200 { #expect(it.feed(flood(index).flatMap(\.bytes)) == .open) }
    #expect(it.session.openStreams == 0)
    it.now = it.now + .seconds(1)
    #expect(count(it) { flood(200 + $0) } == 20)
    expectFailure(it, .resetFlood)
  }

  @Test("resets we are made to send: malformed requests, 100 at once, then 10 in each second")
  func madeResets() {
    let it = Conversation.open()
    let flood: (Int) -> [Frame] = { [.headers(id($0), get + [("X", "y")])] }
    for index in 0..<100 { #expect(it.feed(flood(index).flatMap(\.bytes)) == .open) }
    it.now = it.now + .seconds(2)
    #expect(count(it) { flood(100 + $0) } == 20)
    expectFailure(it, .madeResetFlood)
  }

  @Test("resets we are made to send: windows that overflow")
  func overflowingWindows() {
    let it = Conversation.open()
    let flood = { (index: Int) in
      [.headers(id(index), get, ends: false), .windowUpdate(id(index), 0x7fff_ffff)] as [Frame]
    }
    #expect(count(it, frame: flood) == 100)
    expectFailure(it, .madeResetFlood)
  }

  @Test("resets we are made to send: more DATA than Content-Length")
  func wrongLengths() {
    let it = Conversation.open()
    let fields = get + [("content-length", "1")]
    let flood = { (index: Int) in
      [.headers(id(index), fields, ends: false), .data(id(index), "ab")] as [Frame]
    }
    #expect(count(it, frame: flood) == 100)
    expectFailure(it, .madeResetFlood)
  }

  @Test("streams beyond the limit are refused one by one, and too many of them are a flood")
  func tooManyStreams() {
    let it = Conversation.open()
    for index in 0..<100 { it.feed(.headers(id(index), get, ends: false)) }
    #expect(it.session.openStreams == 100)
    it.collect()
    it.forget()
    it.feed(.headers(201, get, ends: false))
    #expect(it.seen == [])
    #expect(it.collect() == [.reset(201, HTTP2ErrorCode.refusedStream.rawValue)])
    #expect(it.progress == .open)
    it.feed(.data(201, "x"), .reset(1))
    it.feed(.headers(203, get, ends: false))
    #expect(it.session.openStreams == 100)
    #expect(count(it) { [.headers(205 + UInt32($0) * 2, get, ends: false)] } == 99)
    expectFailure(it, .madeResetFlood)
  }

  @Test("resets of our own choice are on nobody's account")
  func ownResets() {
    let it = Conversation.open()
    for index in 0..<1_000 {
      it.feed(.headers(id(index), get, ends: false))
      it.session.reset(Int32(id(index)), .cancel)
      it.collect()
    }
    #expect(it.progress == .open)
    #expect(it.frames.count { $0.code == .cancel } == 1_000)
  }

  @Test("eight CONTINUATION frames are enough for everybody")
  func continuations() {
    let block = block(get)
    func head(_ stream: UInt32, _ pieces: Int) -> [Frame] {
      [.headers(stream, [], complete: false)]
        + (0..<pieces).map {
          .continuation(stream, $0 == 0 ? block : [], complete: $0 == pieces - 1)
        }
    }
    let it = Conversation.open()
    #expect(it.feed(head(1, 8).flatMap(\.bytes)) == .open)
    #expect(it.seen.count == 1)
    it.feed(head(3, 9).flatMap(\.bytes))
    expectFailure(it, .continuationFlood)
  }

  @Test("a field block has at most 32 KiB on the wire")
  func blockBytes() {
    let it = Conversation.open()
    it.feed(Frame(type: 1, stream: 1, payload: Array(repeating: 0, count: 0)))
    #expect(it.session.isAwaitingBytes)
    let piece = block([("a", String(repeating: "b", count: 16_300))])
    it.feed(.continuation(1, piece, complete: false), .continuation(1, piece, complete: false))
    #expect(it.progress == .open)
    it.feed(.continuation(1, piece, complete: false))
    expectFailure(it, .fieldBlockTooLarge)
  }

  @Test("SETTINGS: 32 entries in one frame, 50 frames at once, then 5 in each second")
  func settings() {
    let many = Conversation.open()
    many.feed(.settings(Array(repeating: (0xabcd, 1), count: 32)))
    #expect(many.progress == .open)
    many.feed(.settings(Array(repeating: (0xabcd, 1), count: 33)))
    expectFailure(many, .settingsTooLarge)
    let it = Conversation.open()
    // The opening has two: its own, and the acknowledgement of ours.
    #expect(count(it) { _ in [.settings()] } == 48)
    expectFailure(it, .settingsFlood)
  }

  @Test("PING: 200 at once, then 20 in each second")
  func pings() {
    let it = Conversation.open()
    for _ in 0..<200 { it.feed(.ping()) }
    #expect(it.progress == .open)
    it.now = it.now + .seconds(1)
    #expect(count(it) { _ in [.ping()] } == 20)
    expectFailure(it, .pingFlood)
  }

  @Test("PRIORITY: 500 at once, and none of them makes a stream")
  func priorities() {
    let it = Conversation.open()
    #expect(count(it) { [.priority(id($0), dependsOn: 0)] } == 500)
    #expect(it.session.openStreams == 0)
    expectFailure(it, .priorityFlood)
  }

  @Test("WINDOW_UPDATE: 1,000 at once, and four more for every frame we send")
  func windowUpdates() {
    let it = Conversation.open()
    it.feed(.headers(1, get, ends: false))
    it.session.respond(1, status: 200, fields: FieldBlock(), ends: false)
    for _ in 0..<10 {
      it.write(1, [1].span)
      it.collect()
    }
    let earned = (it.frames.count + 4) * 4  // with the opening's four
    let allowed = count(it) { _ in [.windowUpdate(0, 1)] }
    #expect(allowed >= 1_040 && allowed <= 1_000 + earned)
    expectFailure(it, .windowUpdateFlood)
  }

  @Test("a client that acknowledges each DATA frame twice is no flood, however long it lasts")
  func honestWindowUpdates() {
    let it = Conversation.open()
    it.feed(.headers(1, get, ends: false))
    it.session.respond(1, status: 200, fields: FieldBlock(), ends: false)
    for _ in 0..<20_000 {
      it.write(1, [1, 2, 3].span)
      it.collect()
      it.feed(.windowUpdate(1, 3), .windowUpdate(0, 3))
      it.forget()
    }
    #expect(it.progress == .open)
  }

  @Test("DATA without content: 100 at once, padded or not", arguments: [[UInt8](), [2, 0, 0]])
  func emptyData(_ payload: [UInt8]) {
    let it = Conversation.open()
    it.feed(.headers(1, get, ends: false))
    let flags = payload.isEmpty ? 0 : Frame.padded
    #expect(count(it) { _ in [Frame(type: 0, flags: flags, stream: 1, payload: payload)] } == 100)
    expectFailure(it, .emptyFrameFlood)
  }

  @Test("frames of unknown types: 500 at once")
  func unknownFrames() {
    let it = Conversation.open()
    #expect(count(it) { _ in [Frame(type: 0x42, payload: [1, 2, 3])] } == 500)
    expectFailure(it, .unknownFrameFlood)
  }

  @Test("one-byte DATA frames in bulk are no flood: an echo test survives")
  func tinyData() {
    let it = Conversation.open()
    it.feed(.headers(1, connectFields, ends: false))
    let frames = Array(repeating: Frame.data(1, "x").bytes, count: 1_000).flatMap { $0 }
    for _ in 0..<100 {
      it.feed(frames)
      it.session.returnCredit(1, 1_000)
      it.collect()
      it.forget()
    }
    #expect(it.progress == .open)
  }

  @Test("frame headers and padding out of proportion to the payload are a flood")
  func overhead() {
    var limits = HTTP2Limits()
    limits.overheadBytes = 1_000
    let it = Conversation.open(limits)
    it.feed(.headers(1, connectFields, ends: false))
    let padded = Frame(
      type: 0, flags: Frame.padded, stream: 1, payload: [250, 1] + Array(repeating: 0, count: 250))
    let sent = count(it) { _ in
      it.session.returnCredit(1, 1)
      return [padded]
    }
    // 261 bytes of which one is payload: over by 31 with each frame.
    #expect(sent > 25 && sent < 45)
    expectFailure(it, .overheadFlood)
  }

  @Test("control frames that nobody fetches: 1,000, and the queue is dropped")
  func queuedControl() {
    var limits = HTTP2Limits()
    limits.pings = HTTP2Rate(burst: 100_000, perSecond: 1)
    let it = Conversation.open(limits)
    #expect(count(it, collecting: false) { _ in [.ping()] } == 1_000)
    #expect(it.progress == .failed(.queuedControlFlood))
    let frames = it.collect()
    #expect(frames.map(\.type) == [7])
    #expect(frames.first?.code == .enhanceYourCalm)
  }

  @Test("an indexed field repeated without end is dropped at the limit and answered 431")
  func compressionBomb() {
    let it = Conversation.open()
    // A 3,000 byte field goes into the table, then each byte refers to it: 4 MB if it were kept.
    let name = block([("a", String(repeating: "b", count: 3_000))])
    let bomb = block(get) + [0x40] + name.dropFirst() + Array(repeating: 0xbe, count: 13_000)
    it.feed(Frame(type: 1, flags: 5, stream: 1, payload: bomb))
    #expect(it.seen == [.refused(1, .headTooLarge)])
    #expect(it.progress == .open)
    it.feed(.headers(3, get))
    #expect(it.seen.count == 2)
  }

  @Test("every cookie crumb counts as a field")
  func cookieCrumbs() {
    let it = Conversation.open()
    let crumbs = Array(repeating: ("cookie", "a=b"), count: 100)
    it.feed(.headers(1, get + crumbs))
    guard case .request(1, _, _, let fields, _)? = it.seen.last else {
      Issue.record("refused: \(it.seen)")
      return
    }
    #expect(fields.count == 2)
    #expect(fields.last?.hasPrefix("cookie: a=b; a=b") == true)
    it.feed(.headers(3, get + crumbs + [("cookie", "")]))
    #expect(it.seen.last == .refused(3, .tooManyFields))
  }

  @Test("trailers are bounded like a head")
  func trailers() {
    let it = Conversation.open()
    it.feed(.headers(1, get, ends: false))
    it.feed(.headers(1, Array(repeating: ("a", "b"), count: 101)))
    #expect(it.collect().contains(.reset(1, HTTP2ErrorCode.enhanceYourCalm.rawValue)))
    #expect(it.progress == .open)
  }

  @Test("a budget is full again after burst divided by rate, and never fuller")
  func budget() {
    var budget = HTTP2Budget(HTTP2Rate(burst: 4, perSecond: 2))
    var now = MonotonicTime(nanoseconds: 0)
    func taken() -> Int {
      var count = 0
      while count < 100, budget.take(now) { count += 1 }
      return count
    }
    #expect(taken() == 4)
    now = now + .milliseconds(500)
    #expect(taken() == 1)
    now = now + .seconds(3_600)
    #expect(taken() == 4)
    now = MonotonicTime(nanoseconds: 0)
    #expect(taken() == 0)
  }
}
