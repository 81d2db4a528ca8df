import Bytes
import Configuration
import Testing
import Wire

@testable import Gateway

/// A small generator, so that a failing seed can be run again.
private struct Random: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var word = state
    word = (word ^ word >> 30) &* 0xbf58_476d_1ce4_e5b9
    word = (word ^ word >> 27) &* 0x94d0_49bb_1331_11eb
    return word ^ word >> 31
  }
}

private let names = [
  "Connection", "Upgrade", "Keep-Alive", "TE", "Trailer", "Proxy-Connection", "Proxy", "Expect",
  "Sec-WebSocket-Key", "Sec-WebSocket-Version", "Sec-WebSocket-Accept", "Sec-WebSocket-Protocol",
  "Sec-WebSocket-Extensions", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host",
  "X-Forwarded-Port", "X-Real-IP", "X-Request-Id", "Via", "Forwarded", "X-Forwarded-Ssl", "Cookie",
  "Origin", "X-Tenant", "X-Own", "Accept", "Content-Length",
]
private let values = [
  "", "1", "a, b", "close", "websocket", "192.0.2.1", "10.0.0.9", "[::1]:80", "https", "évil",
  "Host, X-Forwarded-For", "Upgrade, Via, X-Own", ",,,", "\"quoted, value\"", "x\ty",
]

/// Fields each written exactly once, by us.
private let ours = [
  "Host", "Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version", "X-Forwarded-For",
  "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "X-Real-IP", "X-Request-Id", "Via",
  "X-Tenant",
]
private let never = [
  "Keep-Alive", "TE", "Trailer", "Proxy-Connection", "Proxy", "Expect", "Content-Length",
  "Transfer-Encoding", "Sec-WebSocket-Accept", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions",
]

@Suite("Hostile request heads")
struct HostileHeadTests {
  private func name(_ random: inout Random) -> String {
    let name = names.randomElement(using: &random) ?? ""
    switch Int.random(in: 0..<6, using: &random) {
    case 0: return name.lowercased()
    case 1: return name.uppercased()
    case 2: return String(name.map { $0 == "-" ? "_" : $0 })
    case 3: return String(name.map { $0 == "-" ? "." : $0 })
    default: return name
    }
  }

  private func fields(_ random: inout Random) -> [String] {
    var fields: [String] = []
    var hasLength = false
    for _ in 0..<Int.random(in: 0...12, using: &random) {
      let name = name(&random)
      if name.lowercased() == "content-length" {
        if !hasLength { fields.append("\(name): 0") }
        hasLength = true
        continue
      }
      var value = values.randomElement(using: &random) ?? ""
      if Bool.random(using: &random) {
        value = names.shuffled(using: &random)[0..<3].joined(separator: ",")
      }
      fields.append("\(name): \(value)")
    }
    return fields
  }

  @Test("whatever a client sends, the backend gets one of each of ours and none of the others")
  func property() throws {
    for seed in 0..<1000 {
      var random = Random(state: UInt64(seed))
      let sent = fields(&random)
      let isTrusted = Bool.random(using: &random)
      let head = request(sent)
      let bytes = try #require(
        UpstreamRequest.upgrade(
          head, from: identity(head, peer: isTrusted ? "10.0.0.1" : "192.0.2.7"),
          key: Array("AAAAAAAAAAAAAAAAAAAAAA==".utf8),
          offer: HandshakeOffer(key: []), edits: edits(set: [("X-Tenant", "chat")])))
      let written = WrittenHead(bytes)
      let note: Comment = "seed \(seed): \(sent)"
      #expect(!written.fields.contains("BROKEN"), note)
      for name in ours { #expect(written.values(name).count == 1, "\(name), \(note)") }
      for name in never { #expect(written.values(name) == [], "\(name), \(note)") }
      #expect(written.values("X-Tenant") == ["chat"], note)
      #expect(written.values("Connection") == ["Upgrade"], note)
      #expect(written.values("X-Forwarded-For")[0].hasSuffix(isTrusted ? "10.0.0.1" : "192.0.2.7"))
      #expect(written.values("Via")[0].hasSuffix("1.1 bascule"), note)
      if !isTrusted { #expect(written.values("Forwarded") == [], note) }
      for field in written.fields {
        let name = field.prefix { $0 != ":" }
        #expect(!name.contains("_"), "\(field), \(note)")
      }
      // Our own strict parser and handshake accept what we wrote.
      var parser = RequestParser(
        limits: HeadLimits(headBytesMax: 65_536, fieldsMax: 200, lineBytesMax: 32_768))
      guard case .done(let again, let consumed) = try parser.parse(bytes.span) else {
        Issue.record("incomplete, \(note)")
        continue
      }
      #expect(consumed == bytes.count, note)
      guard case .webSocket = Handshake.classify(again) else {
        Issue.record("no handshake, \(note)")
        continue
      }
    }
  }
}
