// The ordinary life of an HTTP/2 connection: settings, requests, responses, DATA in both directions,
// flow control, resets, PING and GOAWAY.

import Bytes
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
    it.session.write(1, Array("hello".utf8).span)
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
    it.session.write(1, [1, 2, 3].span)
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
}
