import Bytes
import Configuration
import Testing
@testable import Wire

@testable import Gateway

private let key = Array("AAAAAAAAAAAAAAAAAAAAAA==".utf8)
/// A client that offers neither subprotocol nor extension.
private let bare = HandshakeOffer(key: Array("dGhlIHNhbXBsZSBub25jZQ==".utf8))
private let handshake = [
  "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
  "Sec-WebSocket-Version: 13",
]

private func upgrade(
  _ fields: [String], peer: String? = "192.0.2.7", isTLS: Bool = false,
  edits: HeaderEdits = HeaderEdits(), target: String = "/ws?x=1", host: String = "a.test"
) -> WrittenHead {
  let head = request(fields, target: target, host: host)
  return WrittenHead(
    UpstreamRequest.upgrade(
      head, from: identity(head, peer: peer, isTLS: isTLS), key: key, offer: bare, edits: edits))
}

@Suite("The upgrade request to a backend")
struct UpstreamRequestTests {
  @Test("is a GET with canonical names, our key and the forwarding fields")
  func whole() {
    let head = request(
      handshake + ["Origin: https://a.test", "Cookie: a=b", "sec-websocket-protocol: chat"])
    var deflate = DeflateParameters()
    deflate.clientMaxWindowBits = .unspecified
    let offer = HandshakeOffer(
      key: Array("dGhlIHNhbXBsZSBub25jZQ==".utf8),
      subprotocols: [Array("chat".utf8), Array("superchat".utf8)], deflate: [deflate])
    let bytes = UpstreamRequest.upgrade(
      head, from: identity(head, isTLS: true), key: key, offer: offer, edits: HeaderEdits())
    let lines = [
      "GET /ws?x=1 HTTP/1.1", "Host: a.test", "Upgrade: websocket", "Connection: Upgrade",
      "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Version: 13",
      "Sec-WebSocket-Protocol: chat, superchat",
      "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
      "Origin: https://a.test", "Cookie: a=b", "X-Forwarded-For: 192.0.2.7",
      "X-Forwarded-Proto: https", "X-Forwarded-Host: a.test", "X-Forwarded-Port: 8080",
      "X-Real-IP: 192.0.2.7", "X-Request-Id: 0123456789abcdeffedcba9876543210",
      "Via: 1.1 bascule", "", "",
    ]
    #expect(String(decoding: bytes ?? [], as: UTF8.self) == lines.joined(separator: "\r\n"))
  }

  @Test("fields that pass keep their order and spelling, whatever is taken out between them")
  func order() {
    let fields = [
      "X-A: 1", "x-b:2", "X-C:   3  ", "Connection: X-Gone", "X-D: ", "X-Gone: 1", "X-E:",
      "x-F: a\tb",
      "Proxy: http://evil.test", "X-G: last",
    ]
    let head = request(fields)
    let written = WrittenHead(
      UpstreamRequest.plain(head, from: identity(head), edits: HeaderEdits()))
    #expect(
      written.fields.prefix(8) == [
        "Host: a.test", "X-A: 1", "x-b: 2", "X-C: 3", "X-D: ", "X-E: ", "x-F: a\tb", "X-G: last",
      ])
  }

  @Test("fields of the connection to the client stay there, nominated ones too")
  func hopByHop() {
    let written = upgrade([
      "Connection: keep-alive, Upgrade, X-Secret", "Upgrade: websocket", "Keep-Alive: timeout=5",
      "Proxy-Connection: keep-alive", "Proxy-Authorization: Basic eA==", "Proxy: http://evil",
      "TE: trailers", "Trailer: X-T", "HTTP2-Settings: AAMAAABk", "Content-Length: 0",
      "Expect: 100-continue", "X-SECRET: 1", "x-secret: 2", "X-Kept: 3", "Proxyish: 4",
    ])
    #expect(written.values("Connection") == ["Upgrade"])
    #expect(written.values("Upgrade") == ["websocket"])
    let gone = [
      "Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "Proxy", "TE", "Trailer",
      "HTTP2-Settings", "Content-Length", "Expect", "X-Secret",
    ]
    for name in gone { #expect(written.values(name) == [], "\(name)") }
    #expect(written.values("X-Kept") == ["3"])
    #expect(written.values("Proxyish") == ["4"])
  }

  @Test(
    "what Connection nominates cannot remove what is ours",
    arguments: [
      "close, Host, X-Forwarded-For", "Sec-WebSocket-Key, Sec-WebSocket-Version, Upgrade",
      "X-Forwarded-Proto, X-Forwarded-Host, X-Forwarded-Port, X-Real-IP, X-Request-Id, Via",
      "host,upgrade,connection,x-forwarded-for,via", ",,Host,,", "Connection",
    ])
  func nominated(_ options: String) {
    let honest = upgrade(handshake)
    #expect(upgrade(handshake + ["Connection: \(options)"]) == honest)
  }

  @Test("more Connection options than anybody needs are refused")
  func tooMany() {
    let some = (0..<32).map { "x\($0)" }.joined(separator: ",")
    #expect(!upgrade(["Connection: \(some)"]).fields.isEmpty)
    let head = request(["Connection: \(some),y"])
    let bytes = UpstreamRequest.upgrade(
      head, from: identity(head), key: key, offer: bare, edits: HeaderEdits())
    #expect(bytes == nil)
  }

  @Test("what an untrusted client says about itself is dropped")
  func untrusted() {
    let lies = [
      "X-Forwarded-For: 1.2.3.4", "x-forwarded-proto: https", "X-FORWARDED-HOST: evil.test",
      "X-Forwarded-Port: 1", "X-Real-IP: 1.2.3.4", "X-Request-Id: chosen",
      "Forwarded: for=1.2.3.4", "X-Forwarded-Ssl: on", "X-Forwarded-User: root",
      "X-Forwarded-Prefix: /x",
    ]
    #expect(upgrade(handshake + lies) == upgrade(handshake))
  }

  @Test("a trusted proxy's list is continued, and its other words are kept")
  func trusted() {
    let said = [
      "X-Forwarded-For: 1.2.3.4", "X-Forwarded-For: 10.3.3.3", "X-Forwarded-Proto: wss",
      "X-Forwarded-Host: b.test", "X-Real-IP: 9.9.9.9", "X-Request-Id: chosen",
      "Forwarded: for=1.2.3.4", "X-Forwarded-Ssl: on",
    ]
    let written = upgrade(handshake + said, peer: "10.0.0.1")
    #expect(written.values("X-Forwarded-For") == ["1.2.3.4, 10.3.3.3, 10.0.0.1"])
    #expect(written.values("X-Forwarded-Proto") == ["https"])
    #expect(written.values("X-Forwarded-Host") == ["b.test"])
    #expect(written.values("X-Forwarded-Port") == ["443"])
    #expect(written.values("X-Real-IP") == ["1.2.3.4"])
    #expect(written.values("X-Request-Id") == ["chosen"])
    #expect(written.values("Forwarded") == ["for=1.2.3.4"])
    #expect(written.values("X-Forwarded-Ssl") == ["on"])
    #expect(written.values("Host") == ["a.test"])
  }

  @Test("a client without address is unknown")
  func unix() {
    let written = upgrade(handshake, peer: nil)
    #expect(written.values("X-Forwarded-For") == ["unknown"])
    #expect(written.values("X-Real-IP") == [])
  }

  @Test(
    "names that a backend could take for one of ours are dropped",
    arguments: [
      "X_Forwarded_For", "x_forwarded-for", "X.Forwarded.For", "X.Real.IP", "Sec_WebSocket_Key",
      "Sec.WebSocket.Key", "Content_Length", "Content.Length", "Transfer.Encoding", "X_Tenant",
      "X.Tenant", "X.Forwarded-Ssl", "any_name", "_",
    ])
  func aliases(_ name: String) {
    let set = edits(set: [("X-Tenant", "chat")])
    let honest = upgrade(handshake, edits: set)
    #expect(upgrade(handshake + ["\(name): 1.2.3.4"], edits: set) == honest)
    #expect(
      upgrade(handshake + ["\(name): 1"], peer: "10.0.0.1", edits: set)
        == upgrade(handshake, peer: "10.0.0.1", edits: set))
  }

  @Test("a dot that imitates nothing is left alone")
  func dots() {
    #expect(upgrade(handshake + ["X.Own.Name: 1"]).values("X.Own.Name") == ["1"])
  }

  @Test("Via is continued, and Host stands once and as it was written")
  func viaAndHost() {
    let written = upgrade(
      handshake + ["Via: 1.0 old", "Via: 1.1 new (x, y)"], host: "A.Test:8080")
    #expect(written.values("Via") == ["1.0 old, 1.1 new (x, y), 1.1 bascule"])
    #expect(written.values("Host") == ["A.Test:8080"])
    #expect(written.values("X-Forwarded-Host") == ["a.test:8080"])
  }

  @Test("the handshake's fields are ours alone, however many the client sent")
  func handshakeFields() {
    let written = upgrade(
      handshake + [
        "Sec-WebSocket-Key: AQEBAQEBAQEBAQEBAQEBAQ==", "Sec-WebSocket-Version: 8",
        "Sec-WebSocket-Accept: x", "Sec-WebSocket-Extensions: x-webkit-deflate-frame",
        "Sec-WebSocket-Protocol: chat", "Upgrade: h2c",
      ])
    #expect(written.values("Sec-WebSocket-Key") == ["AAAAAAAAAAAAAAAAAAAAAA=="])
    #expect(written.values("Sec-WebSocket-Version") == ["13"])
    for name in ["Accept", "Extensions", "Protocol"] {
      #expect(written.values("Sec-WebSocket-\(name)") == [])
    }
    #expect(written.values("Upgrade") == ["websocket"])
  }

  @Test("the route's edits remove and replace, ours included")
  func routeEdits() {
    let written = upgrade(
      handshake + ["Cookie2: x", "x-tenant: liar", "X-Tenant: liar"],
      edits: edits(
        set: [("X-Tenant", "chat"), ("Via", "secret")], remove: ["cookie2", "x-real-ip"]))
    #expect(written.values("Cookie2") == [])
    #expect(written.values("X-Real-IP") == [])
    #expect(written.values("X-Tenant") == ["chat"])
    #expect(written.values("Via") == ["secret"])
  }

  @Test("no value can end a line, wherever it comes from")
  func splitting() {
    let written = upgrade(
      handshake,
      edits: edits(set: [("X-A", "1\r\nX-Evil: 2"), ("X-B\r\nX-Evil", "3"), ("X-C", "4")]))
    #expect(!written.fields.contains("BROKEN"))
    #expect(written.values("X-Evil") == [])
    #expect(written.values("X-C") == ["4"])
    let head = request(handshake)
    let offer = HandshakeOffer(key: key, subprotocols: [Array("a\r\nX-Evil: 1".utf8)])
    let bytes = UpstreamRequest.upgrade(
      head, from: identity(head), key: key, offer: offer, edits: HeaderEdits())
    #expect(WrittenHead(bytes) == upgrade(handshake))
  }

  @Test(
    "the target goes on as it came, absolute form as its path",
    arguments: [
      ("/ws", "/ws"), ("/ws?", "/ws?"), ("/a//b/%7E?x=?&y=%20", "/a//b/%7E?x=?&y=%20"),
      ("http://a.test/ws?q", "/ws?q"), ("http://a.test", "/"),
    ])
  func target(_ target: String, _ expected: String) {
    #expect(upgrade(handshake, target: target).startLine == "GET \(expected) HTTP/1.1")
  }
}

@Suite("The heads a client gets")
struct ClientResponseTests {
  private let accept = Array("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".utf8)

  private func switching(_ answer: ResponseHead) -> [UInt8]? {
    ClientResponse.accepting(
      answer, accept: accept, agreement: HandshakeAgreement(), edits: HeaderEdits(),
      onStream: false)?.bytes
  }

  private func relayed(_ answer: ResponseHead, edits: HeaderEdits = HeaderEdits()) -> [UInt8]? {
    ClientResponse.relayed(
      answer, edits: edits, framing: framing(of: answer), closes: true)
  }

  private func framing(of answer: ResponseHead) -> ResponseFraming {
    switch answer.bodyFraming {
    case .none: .none
    case .length(let count): .length(count)
    case .chunked: .chunked
    case .untilClose: .untilEnd
    }
  }

  @Test("a 101 has our accept and the backend's end-to-end fields, nothing else")
  func switching() {
    let answer = response([
      "upgrade: WebSocket", "connection: upgrade, X-Inner", "Sec-WebSocket-Accept: theirs",
      "Sec-WebSocket-Protocol: chat", "Set-Cookie: a=1", "Set-Cookie: b=2", "Server: old",
      "Keep-Alive: timeout=5", "Alt-Svc: h2=\":443\"", "Proxy-Status: x", "Proxy-Authenticate: y",
      "X-Inner: 1", "X-Own: 2", "Date: now",
    ])
    let agreement = HandshakeAgreement(
      subprotocol: Array("chat".utf8), deflate: DeflateParameters())
    let edits = edits(set: [("X-Frame", "no")], remove: ["server"])
    let bytes = ClientResponse.accepting(
      answer, accept: accept, agreement: agreement, edits: edits, onStream: false)?.bytes
    let lines = [
      "HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade",
      "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "Sec-WebSocket-Protocol: chat",
      "Sec-WebSocket-Extensions: permessage-deflate", "Set-Cookie: a=1", "Set-Cookie: b=2",
      "X-Own: 2", "Date: now", "X-Frame: no", "", "",
    ]
    #expect(String(decoding: bytes ?? [], as: UTF8.self) == lines.joined(separator: "\r\n"))
    let fields = ClientResponse.accepting(
      answer, accept: [], agreement: agreement, edits: edits, onStream: true)
    #expect(
      fields?.lines == [
        "200", "sec-websocket-protocol: chat", "sec-websocket-extensions: permessage-deflate",
        "set-cookie: a=1", "set-cookie: b=2", "x-own: 2", "date: now", "x-frame: no",
      ])
  }

  @Test("a backend's nomination removes neither accept nor upgrade")
  func nominated() {
    let plain = switching(response())
    let hostile = response(["Connection: Upgrade, Sec-WebSocket-Accept, Connection"])
    #expect(switching(hostile) == plain)
    let flood = response(["Connection: " + String(repeating: "a,", count: 33)])
    #expect(switching(flood) == nil)
    #expect(relayed(flood) == nil)
  }

  @Test(
    "a refusal is relayed with its framing, and the connection closes",
    arguments: [
      (["Content-Length: 12"], "403 No way", ["Content-Length: 12"]),
      (["Transfer-Encoding: Chunked"], "503 Busy", ["Transfer-Encoding: chunked"]),
      ([], "200 OK", []),
      (["Content-Length: 0"], "302 Found", ["Content-Length: 0"]),
      ([], "204 No Content", []),
    ] as [([String], String, [String])])
  func relayed(_ framing: [String], _ status: String, _ expected: [String]) {
    let answer = response(
      framing + [
        "Connection: keep-alive, X-Inner", "Keep-Alive: timeout=5", "Upgrade: h2c",
        "Location: /login", "WWW-Authenticate: Basic", "X-Inner: 1", "Alt-Svc: clear",
      ], status: status)
    let written = WrittenHead(relayed(answer))
    #expect(written.startLine == "HTTP/1.1 \(status)")
    #expect(
      written.fields == ["Location: /login", "WWW-Authenticate: Basic"] + expected
        + ["Via: 1.1 bascule", "Connection: close"])
    // Whatever the answer before has left.
    var room = FieldBlock()
    room.append("x-old", "value")
    room.clear()
    let fields = ClientResponse.relayedFields(
      answer, edits: HeaderEdits(), framing: self.framing(of: answer), in: &room)
    let framed = expected.filter { $0.hasPrefix("Content-Length") }.map { $0.lowercased() }
    #expect(
      fields?.lines == ["location: /login", "www-authenticate: Basic"] + framed
        + ["via: 1.1 bascule"])
  }

  @Test("the route's edits hold for a relayed refusal too")
  func relayedEdits() {
    let answer = response(["Server: old", "Content-Length: 1"], status: "403 No")
    let written = WrittenHead(
      relayed(answer, edits: edits(set: [("server", "b")], remove: ["via"])))
    #expect(written.fields == ["Content-Length: 1", "Connection: close", "server: b"])
  }
}

extension ClientHead {
  fileprivate var bytes: [UInt8]? {
    guard case .bytes(let bytes) = self else { return nil }
    return bytes
  }

  /// The status, then the fields.
  fileprivate var lines: [String]? {
    guard case .fields(let status, let fields, _) = self else { return nil }
    return [String(status)] + fields.lines
  }
}

extension FieldBlock {
  /// With names in lower case, as they leave the library.
  fileprivate var lines: [String] {
    entries.map { entry in
      let source = entry.isOfHead ? head : bytes
      let (name, value) = (Int(entry.name), Int(entry.value))
      let texts = [
        source[name..<name + Int(entry.nameCount)], source[value..<value + Int(entry.valueCount)],
      ].map { String(decoding: $0, as: UTF8.self) }
      return texts[0].lowercased() + ": " + texts[1]
    }
  }
}
