import Bytes
import Testing
import Wire

@Suite("The opening handshake, from backends")
struct WebSocketAnswerTests {
  static let accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

  static func response(
    _ statusLine: String = "HTTP/1.1 101 Switching Protocols", upgrade: [String] = ["websocket"],
    connection: [String] = ["Upgrade"], accepts: [String] = [accept], more: [String] = []
  ) throws -> ResponseHead {
    let lines =
      [statusLine] + upgrade.map { "Upgrade: \($0)" } + connection.map { "Connection: \($0)" }
      + accepts.map { "Sec-WebSocket-Accept: \($0)" } + more
    let bytes = Array((lines + ["", ""]).joined(separator: "\r\n").utf8)
    var parser = ResponseParser(
      limits: HeadLimits(headBytesMax: 1 << 16, fieldsMax: 200, lineBytesMax: 1 << 16))
    guard case .done(let head, _) = try parser.parse(bytes.span) else {
      throw WebSocketHandshakeTests.Incomplete()
    }
    return head
  }

  static func validate(
    _ head: ResponseHead, subprotocols: [String] = [], extensions: String = ""
  ) throws -> HandshakeAgreement {
    var offer = try WebSocketHandshakeTests.offer(
      extensions.isEmpty ? [] : ["Sec-WebSocket-Extensions: \(extensions)"])
    offer.subprotocols = subprotocols.map { Array($0.utf8) }
    let expected = Array(accept.utf8)
    return try Handshake.validateAnswer(head, expectedAccept: expected.span, offer: offer)
  }

  @Test("makes the accept value from the key and the GUID of RFC 6455, section 1.3")
  func acceptValue() {
    let key = Array(WebSocketHandshakeTests.key.utf8)
    var hashed: [UInt8] = []
    let accept = Handshake.accept(
      key: key.span,
      sha1: { text in
        hashed = text.indices.map { text[$0] }
        return [1, 2, 3]
      },
      base64: { digest in digest.indices.map { digest[$0] + 0x40 } })
    #expect(
      String(decoding: hashed, as: UTF8.self)
        == "dGhlIHNhbXBsZSBub25jZQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
    #expect(accept == [0x41, 0x42, 0x43])
  }

  @Test("takes a right answer, in any case and among other tokens")
  func right() throws {
    let heads = [
      try Self.response(),
      try Self.response("HTTP/1.1 101 Web Socket Protocol Handshake", upgrade: ["WebSocket"]),
      try Self.response(connection: ["keep-alive, upgrade"]),
    ]
    for head in heads { #expect(try Self.validate(head) == HandshakeAgreement()) }
  }

  @Test("refuses a 101 that is not an answer to our key")
  func wrong() throws {
    let cases: [(ResponseHead, AnswerViolation)] = [
      (try Self.response("HTTP/1.1 200 OK"), .notSwitching),
      (try Self.response("HTTP/1.1 426 Upgrade Required"), .notSwitching),
      (try Self.response(upgrade: []), .notUpgraded),
      (try Self.response(upgrade: ["h2c"]), .notUpgraded),
      (try Self.response(upgrade: ["websocket, h2c"]), .notUpgraded),
      (try Self.response(connection: []), .notUpgraded),
      (try Self.response(connection: ["close"]), .notUpgraded),
      (try Self.response(accepts: []), .wrongAccept),
      (try Self.response(accepts: [""]), .wrongAccept),
      (try Self.response(accepts: [Self.accept, Self.accept]), .wrongAccept),
      (try Self.response(accepts: [Self.accept.lowercased()]), .wrongAccept),
      (try Self.response(accepts: [WebSocketHandshakeTests.key]), .wrongAccept),
      (try Self.response(accepts: [String(Self.accept.dropLast())]), .wrongAccept),
    ]
    for (head, violation) in cases {
      #expect(throws: violation) { try Self.validate(head) }
    }
  }

  @Test("takes one of the subprotocols offered, and no other")
  func subprotocols() throws {
    let chat = try Self.response(more: ["Sec-WebSocket-Protocol: chat"])
    #expect(try Self.validate(chat, subprotocols: ["a", "chat"]).subprotocol == Array("chat".utf8))
    #expect(try Self.validate(try Self.response(), subprotocols: ["a"]).subprotocol == nil)
    #expect(throws: AnswerViolation.subprotocolNotOffered) { try Self.validate(chat) }
    let bad = [
      ["Sec-WebSocket-Protocol: Chat"], ["Sec-WebSocket-Protocol: a, chat"],
      ["Sec-WebSocket-Protocol:"], ["Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: chat"],
      ["Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Protocol: chat"],
    ]
    for lines in bad {
      let head = try Self.response(more: lines)
      #expect(throws: AnswerViolation.subprotocolNotOffered) {
        try Self.validate(head, subprotocols: ["a", "chat"])
      }
    }
  }

  @Test(
    "takes an extension that answers an offer",
    arguments: [
      ("permessage-deflate", "permessage-deflate"),
      // What a server may add unasked.
      ("permessage-deflate", "permessage-deflate; server_no_context_takeover"),
      ("permessage-deflate", "permessage-deflate; client_no_context_takeover"),
      ("permessage-deflate", "permessage-deflate; server_max_window_bits=10"),
      // What the client asked for.
      (
        "permessage-deflate; client_max_window_bits", "permessage-deflate; client_max_window_bits=9"
      ),
      ("permessage-deflate; client_max_window_bits", "permessage-deflate"),
      (
        "permessage-deflate; client_max_window_bits=10",
        "permessage-deflate; client_max_window_bits=15"
      ),
      (
        "permessage-deflate; server_max_window_bits=10",
        "permessage-deflate; server_max_window_bits=10"
      ),
      (
        "permessage-deflate; server_max_window_bits=10",
        "permessage-deflate; server_max_window_bits=\"8\""
      ),
      ("permessage-deflate; client_no_context_takeover", "permessage-deflate"),
      // The second offer.
      ("permessage-deflate; server_max_window_bits=10, permessage-deflate", "permessage-deflate"),
    ])
  func extensions(_ offered: String, _ answered: String) throws {
    let head = try Self.response(more: ["Sec-WebSocket-Extensions: \(answered)"])
    let deflate = try Self.validate(head, extensions: offered).deflate
    let text = deflate.map { String(decoding: $0.text, as: UTF8.self) }
    #expect(text == answered.replacing("\"", with: ""))
  }

  @Test(
    "refuses an extension that answers no offer",
    arguments: [
      ("", ["permessage-deflate"]), ("permessage-deflate", ["x-webkit-deflate-frame"]),
      ("permessage-deflate", ["permessage-deflate, foo"]), ("permessage-deflate", [""]),
      ("permessage-deflate", ["permessage-deflate", "permessage-deflate"]),
      ("permessage-deflate", ["permessage-deflate, permessage-deflate"]),
      ("permessage-deflate", ["permessage-deflate; client_max_window_bits=10"]),
      (
        "permessage-deflate; client_max_window_bits", ["permessage-deflate; client_max_window_bits"]
      ),
      ("permessage-deflate; server_max_window_bits=10", ["permessage-deflate"]),
      (
        "permessage-deflate; server_max_window_bits=10",
        ["permessage-deflate; server_max_window_bits=11"]
      ),
      ("permessage-deflate; server_no_context_takeover", ["permessage-deflate"]),
      ("permessage-deflate", ["permessage-deflate; server_max_window_bits=16"]),
      ("permessage-deflate", ["permessage-deflate; server_max_window_bits"]),
      ("permessage-deflate", ["permessage-deflate; mux"]),
      ("permessage-deflate", ["permessage-deflate;"]),
      ("permessage-deflate", ["\"permessage-deflate\""]),
    ] as [(String, [String])])
  func refusedExtensions(_ offered: String, _ answered: [String]) throws {
    let head = try Self.response(more: answered.map { "Sec-WebSocket-Extensions: \($0)" })
    #expect(throws: AnswerViolation.extensionNotOffered) {
      try Self.validate(head, extensions: offered)
    }
  }

  @Test("a client of ours and a server of ours come to an agreement")
  func bothSides() throws {
    var offer = try WebSocketHandshakeTests.offer([
      "Sec-WebSocket-Protocol: a, b",
      "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
    ])
    var request = HeadWriter()
    let target = Array("/ws".utf8)
    let isWritten = request.requestLine(Array("GET".utf8).span, path: target.span, query: nil)
    #expect(isWritten)
    request.field("Host", "a.example")
    Handshake.appendRequestFields(key: offer.key.span, offer: offer, to: &request)
    request.end()
    let limits = HeadLimits(headBytesMax: 4096, fieldsMax: 20, lineBytesMax: 1024)
    var requests = RequestParser(limits: limits)
    guard case .done(let asked, _) = try requests.parse(request.bytes.span) else {
      throw WebSocketHandshakeTests.Incomplete()
    }
    #expect(Handshake.classify(asked) == .webSocket(offer))

    let agreement = HandshakeAgreement(
      subprotocol: offer.subprotocols[1], deflate: DeflateParameters())
    let accept = Array(Self.accept.utf8)
    var answer = HeadWriter()
    answer.statusLine(101, "Switching Protocols")
    Handshake.appendAnswerFields(accept: accept.span, agreement: agreement, to: &answer)
    answer.end()
    var responses = ResponseParser(limits: limits)
    guard case .done(let answered, _) = try responses.parse(answer.bytes.span) else {
      throw WebSocketHandshakeTests.Incomplete()
    }
    let agreed = try Handshake.validateAnswer(answered, expectedAccept: accept.span, offer: offer)
    #expect(agreed == agreement)
    offer.deflate = []
    #expect(throws: AnswerViolation.extensionNotOffered) {
      try Handshake.validateAnswer(answered, expectedAccept: accept.span, offer: offer)
    }
  }

  @Test("answers a client with its accept value and what was agreed on")
  func answerFields() throws {
    let head = try Self.response(more: [
      "Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Extensions: permessage-deflate",
    ])
    let agreement = try Self.validate(
      head, subprotocols: ["chat"], extensions: "permessage-deflate")
    let accept = Array("xyz=".utf8)
    var writer = HeadWriter()
    Handshake.appendAnswerFields(accept: accept.span, agreement: agreement, to: &writer)
    let common = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: xyz=\r\n"
    #expect(
      String(decoding: writer.bytes, as: UTF8.self) == common
        + "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: permessage-deflate\r\n")
    writer = HeadWriter()
    Handshake.appendAnswerFields(accept: accept.span, agreement: HandshakeAgreement(), to: &writer)
    #expect(String(decoding: writer.bytes, as: UTF8.self) == common)
  }
}
