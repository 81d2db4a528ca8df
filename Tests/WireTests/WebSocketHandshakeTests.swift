import Bytes
import Testing
import Wire

@Suite("The opening handshake, from clients")
struct WebSocketHandshakeTests {
  static let key = "dGhlIHNhbXBsZSBub25jZQ=="

  /// A request with the given lines; those of a good handshake unless they are replaced.
  static func request(
    line: String = "GET /ws HTTP/1.1", upgrade: [String] = ["websocket"],
    connection: [String] = ["Upgrade"], version: [String] = ["13"], keys: [String] = [key],
    more: [String] = []
  ) throws -> RequestHead {
    let lines =
      [line, "Host: a.example"] + upgrade.map { "Upgrade: \($0)" }
      + connection.map { "Connection: \($0)" } + version.map { "Sec-WebSocket-Version: \($0)" }
      + keys.map { "Sec-WebSocket-Key: \($0)" } + more
    let bytes = Array((lines + ["", ""]).joined(separator: "\r\n").utf8)
    var parser = RequestParser(
      limits: HeadLimits(headBytesMax: 1 << 20, fieldsMax: 200, lineBytesMax: 1 << 20))
    guard case .done(let head, _) = try parser.parse(bytes.span) else { throw Incomplete() }
    return head
  }
  struct Incomplete: Error {}

  static func offer(_ more: [String]) throws -> HandshakeOffer {
    guard case .webSocket(let offer) = Handshake.classify(try request(more: more)) else {
      throw Incomplete()
    }
    return offer
  }

  @Test("takes a handshake of RFC 6455, in any case and among other tokens")
  func accepted() throws {
    let heads = [
      try Self.request(),
      try Self.request(upgrade: ["WebSocket"], connection: ["keep-alive, UPGRADE"]),
      try Self.request(connection: ["keep-alive", "upgrade"]),
      try Self.request(more: ["Content-Length: 0"]),
    ]
    for head in heads {
      #expect(Handshake.classify(head) == .webSocket(HandshakeOffer(key: Array(Self.key.utf8))))
    }
  }

  @Test("takes what is no upgrade to WebSocket for a plain request")
  func plain() throws {
    let heads = [
      try Self.request(upgrade: []), try Self.request(connection: []),
      try Self.request(connection: ["keep-alive"]), try Self.request(connection: ["upgrades"]),
      try Self.request(line: "GET /ws HTTP/1.0"), try Self.request(upgrade: ["h2c"]),
      try Self.request(upgrade: ["websocket/13"]), try Self.request(upgrade: ["websocket, h2c"]),
      try Self.request(upgrade: ["websocket", "websocket"]), try Self.request(upgrade: [""]),
      // Not even a fault that would be refused in a handshake.
      try Self.request(
        line: "POST / HTTP/1.1", connection: ["close"], version: ["8"],
        more: ["Content-Length: 3"]),
    ]
    for head in heads { #expect(Handshake.classify(head) == .plain) }
  }

  @Test("refuses another version than 13 with 426")
  func version() throws {
    for version in [[], ["8"], ["7"], ["0"], ["13, 8"], ["8, 13"], ["13", "13"], ["013"], [""]] {
      let head = try Self.request(version: version, keys: [])
      #expect(Handshake.classify(head) == .refused(.wrongVersion), "\(version)")
    }
    #expect(HandshakeViolation.wrongVersion.status == 426)
  }

  @Test("refuses a method other than GET and a body with 400")
  func methodAndBody() throws {
    for method in ["POST", "HEAD", "PUT", "OPTIONS"] {
      let head = try Self.request(line: "\(method) /ws HTTP/1.1")
      #expect(Handshake.classify(head) == .refused(.wrongMethod))
    }
    for field in ["Content-Length: 1", "Transfer-Encoding: chunked"] {
      let head = try Self.request(version: ["8"], more: [field])
      #expect(Handshake.classify(head) == .refused(.hasBody))
    }
    #expect(HandshakeViolation.wrongMethod.status == 400)
    #expect(HandshakeViolation.hasBody.status == 400)
  }

  @Test("refuses a key that is not one field of 16 octets in base64 with 400")
  func keys() throws {
    let bad: [[String]] = [
      [], [""], ["abc"], [Self.key, Self.key], ["dGhlIHNhbXBsZSBub25jZQ="],
      ["dGhlIHNhbXBsZSBub25jZQ"], ["dGhlIHNhbXBsZSBub25jZQ==="], ["dGhlIHNhbXBsZSBub25jZWE="],
      ["dGhlIHNhbXBsZSBub25jZWFh"], ["dGhlIHNhbXBs*SBub25jZQ=="], ["dGhlIHNhbXBs=SBub25jZQ=="],
      ["dGhlIHNhbXBs SBub25jZQ=="], ["dGhlIHNhbXBs-SBub25jZQ=="], [Self.key + ", " + Self.key],
    ]
    for keys in bad {
      let head = try Self.request(keys: keys)
      #expect(Handshake.classify(head) == .refused(.malformedKey), "\(keys)")
    }
    #expect(HandshakeViolation.malformedKey.status == 400)
    // 22 digits need not end in zero bits.
    for key in ["AAAAAAAAAAAAAAAAAAAAAA==", "++//zz09AZaz++//zz09/z=="] {
      let head = try Self.request(keys: [key])
      #expect(Handshake.classify(head) == .webSocket(HandshakeOffer(key: Array(key.utf8))))
    }
  }

  @Test("reads subprotocols from all fields, in order, without what is no token")
  func subprotocols() throws {
    let offer = try Self.offer([
      "Sec-WebSocket-Protocol: chat, superchat", "Sec-WebSocket-Protocol: ,, v10.stomp ,",
      "Sec-WebSocket-Protocol: a b, \"q\", Chat",
    ])
    #expect(
      offer.subprotocols == ["chat", "superchat", "v10.stomp", "Chat"].map { Array($0.utf8) })
  }

  @Test("reads the first 16 subprotocols and extensions, whatever is sent")
  func manyOffers() throws {
    let names = (0..<5000).map { "p\($0)" }
    let offer = try Self.offer([
      "Sec-WebSocket-Protocol: " + names.joined(separator: ","),
      "Sec-WebSocket-Extensions: "
        + Array(repeating: "permessage-deflate", count: 5000).joined(separator: ", "),
    ])
    #expect(offer.subprotocols == names.prefix(16).map { Array($0.utf8) })
    #expect(offer.deflate.count == 16)
    let late = try Self.offer([
      "Sec-WebSocket-Extensions: " + String(repeating: "x,", count: 16) + "permessage-deflate"
    ])
    #expect(late.deflate.isEmpty)
  }

  @Test(
    "passes well-formed permessage-deflate offers on, and nothing else",
    arguments: [
      ("permessage-deflate", "permessage-deflate"),
      ("permessage-deflate; client_max_window_bits", nil),
      (
        "permessage-deflate;client_max_window_bits=8",
        "permessage-deflate; client_max_window_bits=8"
      ),
      (
        "permessage-deflate ; server_max_window_bits = \"12\" ; client_max_window_bits",
        "permessage-deflate; server_max_window_bits=12; client_max_window_bits"
      ),
      (
        "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
      ),
      ("x-webkit-deflate-frame, permessage-deflate", "permessage-deflate"),
      ("foo; a=\"x, permessage-deflate\"; b, bar", ""),
      ("foo; a=\"x\\\", permessage-deflate\", permessage-deflate", "permessage-deflate"),
      ("permessage-deflate; x=\"a b, permessage-deflate, d\"", ""),
      (
        "permessage-deflate; server_max_window_bits=10, permessage-deflate",
        "permessage-deflate; server_max_window_bits=10, permessage-deflate"
      ),
      // Window bits that are none.
      ("permessage-deflate; server_max_window_bits", ""),
      ("permessage-deflate; server_max_window_bits=7", ""),
      ("permessage-deflate; server_max_window_bits=16", ""),
      ("permessage-deflate; server_max_window_bits=08", ""),
      ("permessage-deflate; server_max_window_bits=+9", ""),
      ("permessage-deflate; server_max_window_bits=9.0", ""),
      ("permessage-deflate; client_max_window_bits=0", ""),
      ("permessage-deflate; client_max_window_bits=", ""),
      ("permessage-deflate; client_max_window_bits=99999999999999999999999", ""),
      // Parameters that are unknown, repeated or dressed up.
      ("permessage-deflate; mux", ""),
      ("permessage-deflate; server_no_context_takeover=1", ""),
      ("permessage-deflate; client_no_context_takeover; client_no_context_takeover", ""),
      ("permessage-deflate; client_max_window_bits; client_max_window_bits=9", ""),
      ("permessage-deflate; server_max_window_bits=9; server_max_window_bits=9", ""),
      // No grammar.
      ("permessage-deflate;", ""), ("permessage-deflate; ;", ""), ("permessage-deflate foo", ""),
      ("permessage-deflate=1", ""), ("permessage-deflate; =9", ""), (";permessage-deflate", ""),
      ("permessage-deflate; server_max_window_bits=\"9", ""), ("\"permessage-deflate\"", ""),
      ("Permessage-Deflate", ""), ("", ""), (",,,", ""), ("perframe-deflate", ""),
      ("permessage-deflate; server_max_window_bits=\"9\"x", ""),
      (",, permessage-deflate ,,", "permessage-deflate"),
      ("permessage-deflate; bad, permessage-deflate", "permessage-deflate"),
    ] as [(String, String?)])
  func deflateOffers(_ value: String, _ expected: String?) throws {
    let offer = try Self.offer(["Sec-WebSocket-Extensions: \(value)"])
    let text = offer.deflate.map { String(decoding: $0.text, as: UTF8.self) }
    #expect(text.joined(separator: ", ") == expected ?? value)
  }

  @Test(
    "combines several Sec-WebSocket-Extensions fields, and leaves out offers with nine parameters")
  func fields() throws {
    let nine = "permessage-deflate" + String(repeating: "; server_no_context_takeover", count: 9)
    let offer = try Self.offer([
      "Sec-WebSocket-Extensions: \(nine)", "Sec-WebSocket-Extensions: permessage-deflate",
      "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
    ])
    #expect(offer.deflate.count == 2)
    #expect(offer.deflate[1].clientMaxWindowBits == .unspecified)
  }

  @Test("never traps on random extension lists, and what it passes on it reads back unchanged")
  func randomExtensions() throws {
    var random = SeededGenerator(seed: 6455)
    let parts = [
      "permessage-deflate", ";", ",", "=", "\"", "\\", " ", "\t", "server_max_window_bits",
      "client_max_window_bits", "client_no_context_takeover", "8", "15", "16", "0", "x",
    ]
    var passedOn = 0
    for round in 0..<3000 {
      let value = (0..<Int.random(in: 0...12, using: &random)).map { _ in
        parts.randomElement(using: &random)!
      }
      let start = round % 2 == 0 ? "permessage-deflate;" : ""
      let offer = try Self.offer(["Sec-WebSocket-Extensions: \(start)\(value.joined())"])
      passedOn += offer.deflate.count
      var head = HeadWriter()
      Handshake.appendRequestFields(key: Array(Self.key.utf8).span, offer: offer, to: &head)
      let line = String(decoding: head.bytes, as: UTF8.self).split(separator: "\r\n").last!
      let again = offer.deflate.isEmpty ? offer : try Self.offer([String(line)])
      #expect(again == offer)
    }
    #expect(passedOn > 30)
  }

  @Test("asks a backend in the spelling that old servers compare")
  func requestFields() throws {
    var offer = try Self.offer([
      "Sec-WebSocket-Protocol: b,a",
      "Sec-WebSocket-Extensions: foo, permessage-deflate;client_max_window_bits",
    ])
    var head = HeadWriter()
    let fresh = Array("AAAAAAAAAAAAAAAAAAAAAA==".utf8)
    Handshake.appendRequestFields(key: fresh.span, offer: offer, to: &head)
    let common =
      "Upgrade: websocket\r\nConnection: Upgrade\r\n"
      + "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    #expect(
      String(decoding: head.bytes, as: UTF8.self) == common + "Sec-WebSocket-Protocol: b, a\r\n"
        + "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n")
    offer.deflate = []
    offer.subprotocols = []
    head = HeadWriter()
    Handshake.appendRequestFields(key: fresh.span, offer: offer, to: &head)
    #expect(String(decoding: head.bytes, as: UTF8.self) == common)
  }
}
