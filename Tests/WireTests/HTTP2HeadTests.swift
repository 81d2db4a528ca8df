// From pseudo-fields to a request head that nobody has to doubt, and the fields of our own heads.

import Bytes
import Testing

@testable import Wire

private func verdict(_ fields: [(String, String)], ends: Bool = true) -> Conversation {
  let it = Conversation.open()
  it.feed(.headers(1, fields, ends: ends))
  return it
}

private func replacing(_ name: String, _ value: String) -> [(String, String)] {
  getFields.map { $0.0 == name ? (name, value) : $0 }
}

/// A head that is answered instead of being served.
struct Refusal: Sendable {
  let fields: [(String, String)]
  let violation: HTTPViolation
  init(_ fields: [(String, String)], _ violation: HTTPViolation) {
    (self.fields, self.violation) = (fields, violation)
  }
}

@Suite("HTTP/2 request heads")
struct HTTP2HeadTests {
  @Test("a head says the same as its HTTP/1.1 counterpart")
  func head() throws {
    let it = verdict(
      getFields + [
        ("origin", "https://example.com"), ("cookie", "a=1"),
        ("x-a", ""), ("cookie", "b=2"),
      ])
    let head = try #require(it.heads[1])
    #expect(head.version == .http2)
    #expect(head.isGET)
    #expect(head.string(head.target) == "/chat?x=1")
    #expect(head.string(head.path) == "/chat")
    #expect(head.query.map(head.string) == "x=1")
    #expect(head.host == Authority(host: "example.com", port: nil))
    #expect(head.protocolName == nil)
    #expect(head.onlyValue(of: .host).map(head.string) == "example.com")
    #expect(head.onlyValue(of: .cookie).map(head.string) == "a=1; b=2")
    #expect(head.onlyValue(of: .origin).map(head.string) == "https://example.com")
    #expect(head.fields.count == 4)
    #expect(!head.hasBody)
  }

  @Test("the body ends with the stream, or is as long as Content-Length says")
  func bodies() throws {
    #expect(verdict(getFields).heads[1]?.bodyFraming == BodyFraming.Length.none)
    #expect(verdict(getFields, ends: false).heads[1]?.bodyFraming == .untilClose)
    let counted = verdict(getFields + [("content-length", "7")], ends: false)
    #expect(counted.heads[1]?.bodyFraming == .length(7))
  }

  @Test("a `host` that says what :authority says is dropped, and alone it takes its place")
  func host() throws {
    let both = verdict(getFields + [("host", "EXAMPLE.com:443")])
    let head = try #require(both.heads[1])
    #expect(head.values(of: .host).map(head.string) == ["example.com"])
    let alone = verdict(getFields.filter { $0.0 != ":authority" } + [("host", "a.b:81")])
    #expect(alone.heads[1]?.host == Authority(host: "a.b", port: 81))
  }

  static let refusals: [Refusal] = [
    Refusal(getFields + [("host", "evil.example")], .targetHostMismatch),
    Refusal(getFields + [("host", "example.com:80")], .targetHostMismatch),
    Refusal(replacing(":authority", "user@example.com"), .malformedHost),
    Refusal(replacing(":authority", "example.com."), .malformedHost),
    Refusal(replacing(":authority", "[::1"), .malformedHost),
    Refusal(replacing(":path", "/a/../b"), .ambiguousPath),
    Refusal(replacing(":path", "/a/%2e%2e/b"), .ambiguousPath),
    Refusal(replacing(":path", "/a#b"), .malformedTarget),
    Refusal(replacing(":path", "/%zz"), .malformedTarget),
    Refusal(replacing(":path", "/a\u{e9}"), .forbiddenByte),
    Refusal(replacing(":path", "/" + String(repeating: "a", count: 8_192)), .lineTooLong),
    Refusal(replacing(":scheme", "ftp"), .malformedTarget),
    Refusal(replacing(":method", "get"), .malformedMethod),
    Refusal(replacing(":method", "TRACE"), .methodNotAllowed),
    Refusal(getFields + [("a", String(repeating: "b", count: 8_190))], .lineTooLong),
    Refusal(getFields + Array(repeating: ("a", "b"), count: 101), .tooManyFields),
    Refusal(
      getFields + Array(repeating: ("a", String(repeating: "b", count: 327)), count: 95),
      .headTooLarge),
    Refusal(
      getFields + Array(repeating: ("cookie", String(repeating: "b", count: 5_000)), count: 2),
      .lineTooLong),
  ]

  @Test("heads that are answered with a status", arguments: refusals)
  func refused(_ refusal: Refusal) {
    let it = Conversation.open()
    // The largest of them need two frames.
    let bytes = block(refusal.fields)
    let cut = min(bytes.count, 16_000)
    it.feed(
      Frame(type: 1, flags: Frame.endStream, stream: 1, payload: Array(bytes[..<cut])),
      .continuation(1, Array(bytes[cut...]), complete: true))
    #expect(it.seen == [.refused(1, refusal.violation)])
    let status = UInt16(refusal.violation.status)
    let answered = it.session.respond(1, status: status, fields: FieldBlock(), ends: true)
    #expect(answered)
    #expect(it.collect().map(\.type) == [1])
    #expect(it.seen.last == .closed(1, owner: nil, code: 0, byPeer: false))
  }

  static let libraryRules: [Refusal] = [
    Refusal(getFields + [("host", "example.com"), ("host", "example.com")], .duplicateHost),
    Refusal(getFields + [("content-length", "x")], .malformedContentLength),
    Refusal(
      getFields + [("content-length", "1"), ("content-length", "1")], .duplicateContentLength),
    Refusal(getFields + [("transfer-encoding", "chunked")], .malformedFieldName),
    Refusal(getFields + [("connection", "x")], .malformedFieldName),
    Refusal(getFields + [("X", "y")], .malformedFieldName),
    Refusal(getFields + [("a:b", "c")], .malformedFieldName),
    Refusal(getFields + [("", "c")], .malformedFieldName),
    Refusal([(":path", "/")] + getFields, .malformedFieldName),
    Refusal([("a", "b")] + getFields, .malformedFieldName),
    Refusal(getFields + [(":status", "200")], .malformedFieldName),
    Refusal(getFields + [("a", "b\r\nc: d")], .forbiddenByte),
    Refusal(replacing(":path", "/a b"), .forbiddenByte),
    Refusal(replacing(":path", "http://example.com/"), .malformedTarget),
    Refusal(replacing(":path", ""), .malformedTarget),
    Refusal(replacing(":path", "*"), .malformedTarget),
    Refusal(replacing(":method", ""), .malformedMethod),
    Refusal(getFields.filter { $0.0 != ":method" }, .malformedRequestLine),
    Refusal(getFields.filter { $0.0 != ":path" }, .malformedTarget),
    Refusal(getFields.filter { $0.0 != ":authority" }, .missingHost),
  ]

  @Test("what the library refuses would be refused here as well", arguments: libraryRules)
  func secondCheck(_ refusal: Refusal) {
    var fields = RequestFields(limits: HTTP2Limits())
    for (name, value) in refusal.fields {
      let (name, value) = (Array(name.utf8), Array(value.utf8))
      fields.add(name.span, value.span)
    }
    #expect(throws: refusal.violation) { _ = try fields.finish(ends: true) }
  }

  @Test(
    "crumbs are one cookie, at the place of the first one that is not empty",
    arguments: [
      (["a=1"], "a=1"), (["a=1", "b=2", "c=3"], "a=1; b=2; c=3"), (["", "a=1"], "a=1"),
      (["", ""], nil), (["a=1", "", "b=2"], "a=1; ; b=2"),
    ] as [([String], String?)])
  func crumbs(_ crumbs: [String], _ cookie: String?) throws {
    let fields = crumbs.flatMap { [("cookie", $0), ("x-a", "b")] }
    let head = try #require(verdict(getFields + fields).heads[1])
    #expect(head.onlyValue(of: .cookie).map(head.string) == cookie)
    let names = head.fields.map { head.string($0.name) }
    #expect(names.count { $0 == "cookie" } == (cookie == nil ? 0 : 1))
    #expect(names.count { $0 == "x-a" } == crumbs.count)
    if let first = crumbs.firstIndex(where: { !$0.isEmpty }) {
      // Behind `host`, and an `x-a` of each empty crumb before it.
      #expect(names.firstIndex(of: "cookie") == 1 + first)
    }
  }

  @Test("at a limit everything that was decoded is given back, and nothing more is kept")
  func dropped() {
    var fields = RequestFields(limits: HTTP2Limits())
    let (name, value) = (Array("cookie".utf8), Array(repeating: UInt8(ascii: "a"), count: 100))
    for _ in 0..<100 { fields.add(name.span, value.span) }
    #expect(fields.cookie.count > 10_000)
    for _ in 0..<200 {
      fields.add(name.span, value.span)
      #expect(fields.violation == .tooManyFields)
      #expect(fields.bytes.capacity + fields.fields.capacity + fields.cookie.capacity == 0)
    }
  }

  @Test("the limits are inclusive")
  func limits() {
    #expect(verdict(getFields + Array(repeating: ("a", "b"), count: 100)).heads[1] != nil)
    #expect(verdict(getFields + [("a", String(repeating: "b", count: 8_189))]).heads[1] != nil)
  }

  @Test("OPTIONS * has the path *")
  func asterisk() {
    let fields = [
      (":method", "OPTIONS"), (":scheme", "https"), (":path", "*"), (":authority", "a"),
    ]
    #expect(
      verdict(fields).seen == [
        .request(1, method: "OPTIONS", path: "*", fields: ["host: a"], ends: true)
      ])
  }

  @Test("what an extended CONNECT asks for")
  func classification() throws {
    func classify(_ fields: [(String, String)]) throws -> Handshake.Classification {
      Handshake.classify(try #require(verdict(fields, ends: false).heads[1]))
    }
    let plainConnect = [(":method", "CONNECT"), (":authority", "example.com:443")]
    #expect(try classify(plainConnect) == .refused(.plainConnect))
    #expect(HandshakeViolation.plainConnect.status == 405)
    #expect(try classify(getFields) == .plain)
    #expect(try classify(getFields + [("sec-websocket-version", "8")]) == .plain)
    let other = connectFields.map { $0.0 == ":protocol" ? ($0.0, "connect-udp") : $0 }
    #expect(try classify(other) == .refused(.unknownProtocol))
    #expect(HandshakeViolation.unknownProtocol.status == 501)
    let unversioned = connectFields.filter { $0.0 != "sec-websocket-version" }
    #expect(try classify(unversioned) == .webSocket(HandshakeOffer(key: [])))
    #expect(
      try classify(unversioned + [("sec-websocket-version", "12")]) == .refused(.wrongVersion))
    #expect(
      try classify(connectFields + [("sec-websocket-version", "13")]) == .refused(.wrongVersion))
    let offer = try classify(connectFields + [("sec-websocket-protocol", "a, b")])
    #expect(offer == .webSocket(HandshakeOffer(key: [], subprotocols: [[0x61], [0x62]])))
  }

  @Test("fields of ours: lower case, trimmed, and nothing that belongs to a connection")
  func fieldBlock() {
    var fields = FieldBlock()
    let name = Array("X-Name".utf8)
    let value = Array(" value\t".utf8)
    let isTaken = fields.append(name.span, value.span)
    #expect(isTaken)
    fields.append("te", "trailers")
    let refused = [
      ("connection", "close"), ("Keep-Alive", "1"), ("proxy-connection", "x"),
      ("Transfer-Encoding", "chunked"), ("upgrade", "websocket"), ("te", "gzip"), ("", "x"),
      (":status", "200"), ("a b", "c"), ("a", "b\r\nc: d"), ("a", "b\0"), ("a\u{e9}", "b"),
    ]
    for (name, value) in refused {
      let (name, value) = (Array(name.utf8), Array(value.utf8))
      let isTaken = fields.append(name.span, value.span)
      #expect(!isTaken, "\(name)")
    }
    #expect(fields.count == 2)
    let it = verdict(getFields)
    it.session.respond(1, status: 404, fields: fields, ends: true)
    // `:status 404` is entry 13 of the static table.
    #expect(it.collect().first?.payload.first == 0x8d)
  }

  @Test("fields passed on from a head are in lower case on the wire, beside ours")
  func fieldsOfHead() throws {
    let text = "HTTP/1.1 200 OK\r\nX-Name:  Some Value \r\nConnection: close\r\nDATE: x\r\n\r\n"
    var parser = ResponseParser(
      limits: HeadLimits(headBytesMax: 1_000, fieldsMax: 10, lineBytesMax: 1_000))
    guard case .done(let head, _) = try parser.parse(Array(text.utf8).span) else {
      Issue.record("no head")
      return
    }
    // What was there before is gone, the memory it had is not.
    var room = FieldBlock()
    room.append("x-old", "value")
    room.clear()
    #expect(room.isEmpty)
    var passed = FieldBlock(of: head.bytes, in: &room)
    var ours = FieldBlock()
    for field in head.fields { passed.append(field, of: head.bytes.span) }
    for (name, value) in [("x-name", "Some Value"), ("date", "x")] {
      ours.append(Array(name.utf8).span, Array(value.utf8).span)
    }
    for decimal in [0, 9, 10, 18_446_744_073_709_551_615] as [UInt64] {
      passed.append("Content-Length", decimal: decimal)
      ours.append("content-length", Array(String(decimal).utf8).span)
    }
    #expect(passed.count == 6)
    let payloads = [passed, ours].map { fields in
      let it = verdict(getFields)
      it.session.respond(1, status: 200, fields: fields, ends: true)
      return it.collect().first?.payload
    }
    #expect(payloads[0] != nil && payloads[0] == payloads[1])
    let interim = [passed, ours].map { fields in
      let it = verdict(getFields)
      it.session.inform(1, status: 103, fields: fields)
      return it.collect().first?.payload
    }
    #expect(interim[0] != nil && interim[0] == interim[1])
    // Whoever has the memory next has none of it.
    passed.clear()
    var next = FieldBlock(of: [], in: &passed)
    #expect(next.isEmpty)
    next.append("x-own", "1")
    #expect(next.count == 1 && next.entries.allSatisfy { !$0.isOfHead })
  }
}
