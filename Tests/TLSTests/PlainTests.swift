import Bytes
import Foundation
import Testing

@testable import TLS

@Suite("Digests and lists")
struct PlainTests {
  @Test("SHA-1 and base64 make the accept value of RFC 6455 section 1.3")
  func acceptValue() {
    let text = Array("dGhlIHNhbXBsZSBub25jZQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B11".utf8)
    let digest = Digest.sha1(text.span)
    #expect(digest.count == 20)
    #expect(Digest.base64(digest.span) == Array("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".utf8))
    let none: [UInt8] = []
    #expect(Digest.sha1(none.span).prefix(4) == [0xda, 0x39, 0xa3, 0xee])
  }

  @Test("SHA-256 makes the digests of FIPS 180-4's examples")
  func sha256() {
    let text = Array("abc".utf8)
    #expect(
      Digest.sha256(text.span).map { String(format: "%02x", $0) }.joined()
        == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    let none: [UInt8] = []
    #expect(Digest.sha256(none.span).prefix(4) == [0xe3, 0xb0, 0xc4, 0x42])
  }

  @Test("HMAC-SHA-256 makes the codes of RFC 4231")
  func hmac() {
    func code(_ key: [UInt8], _ text: String) -> String {
      let bytes = Array(text.utf8)
      return Digest.hmacSHA256(key: key.span, bytes.span)
        .map { String(format: "%02x", $0) }.joined()
    }
    #expect(
      code(Array("Jefe".utf8), "what do ya want for nothing?")
        == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
    #expect(
      code(
        Array(repeating: 0xaa, count: 131), "Test Using Larger Than Block-Size Key - Hash Key First"
      )
        == "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54")
    #expect(
      code([], "") == "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad")
  }

  @Test("bytes are equal when all of them are")
  func equal() {
    let bytes = pattern(40)
    let isSame = Digest.equals(bytes.span, bytes.span)
    #expect(isSame)
    for index in bytes.indices {
      var other = bytes
      other[index] ^= 0x80
      let shorter = Array(bytes[..<index])
      let isEqual = [
        Digest.equals(bytes.span, other.span), Digest.equals(bytes.span, shorter.span),
      ]
      #expect(isEqual == [false, false], "\(index)")
    }
  }

  @Test("base64 for cookies has - and _ and no padding")
  func base64URL() {
    for (bytes, text) in [([0xfb, 0xff], "-_8"), ([0xff], "_w"), ([], ""), ([0, 0, 0], "AAAA")]
      as [([UInt8], String)]
    {
      #expect(Digest.base64URL(bytes.span) == Array(text.utf8))
    }
  }

  @Test("base64 of any length comes back as it was")
  func base64RoundTrip() {
    for count in 0...70 {
      let bytes = pattern(count)
      let text = Digest.base64(bytes.span)
      #expect(text.count == (count + 2) / 3 * 4)
      #expect(Digest.base64Decode(text.span) == bytes)
    }
  }

  @Test(
    "base64 that is not spelt exactly is refused",
    arguments: [
      "AAA", "AA=A", "A===", "====", "=AAA", "AAAA=", "AB==", "AAB=", " AAAA", "AAA ", "AAA\n",
      "AAAA\r\n\r\n", "AA-_", "AAAA====", "AA\0=",
    ])
  func base64Refused(text: String) {
    let bytes = Array(text.utf8)
    #expect(Digest.base64Decode(bytes.span) == nil)
  }

  @Test("the run-time version is OpenSSL's own words")
  func version() { #expect(OpenSSLVersion.runtime.hasPrefix("OpenSSL 3.")) }

  @Test("a protocol list that lies about its lengths gives nothing, and is read within bounds")
  func protocolList() {
    let list = ProtocolList(["h2", "", "http/1.1"])
    #expect(list.wire == [2] + "h2".utf8 + [8] + "http/1.1".utf8)
    let offered = list.wire
    #expect(list.choose(from: offered.span) == 1..<3)
    for count in 0..<offered.count {
      let cut = Array(offered[..<count].reversed()) + [255]
      #expect(list.choose(from: cut.span) == nil)
    }
  }

  @Test("a server_name extension is taken whole or not at all")
  func serverNameExtension() {
    let name = Array("a.example".utf8)
    let body: [UInt8] = [0, 12, 0, 0, 9] + name
    #expect(ServerNames.hostName(inExtension: body.span) == "a.example")
    for count in 0..<body.count {
      let cut = Array(body[..<count])
      #expect(ServerNames.hostName(inExtension: cut.span) == nil)
    }
    for offset in 0..<5 {
      var wrong = body
      wrong[offset] ^= 1
      #expect(ServerNames.hostName(inExtension: wrong.span) == nil)
    }
    var zero = body
    zero[7] = 0
    #expect(ServerNames.hostName(inExtension: zero.span) == nil)
  }

  @Test("an idle server session costs little memory")
  func idleMemory() throws {
    let setting = try Setting()
    let buffers = (SharedBuffer(capacity: 65_536), SharedBuffer(capacity: 65_536))
    var sessions: [Idle] = []
    for _ in 0..<100 { sessions.append(try Idle(setting, buffers)) }
    let before = try residentBytes()
    for _ in 0..<1_000 { sessions.append(try Idle(setting, buffers)) }
    let bytes = (try residentBytes() - before) / 1_000
    // For reading, not for judging: other tests run meanwhile.
    print(
      "TLS: \(bytes) bytes per idle session, of which \(MemoryLayout<TLSSession>.size) in the slot")
    #expect(sessions.allSatisfy { $0.isEstablished })
  }

  /// A server's session after its handshake, without buffers of its own.
  private final class Idle {
    private var session: TLSSession
    init(_ setting: Setting, _ buffers: (plaintext: SharedBuffer, output: SharedBuffer)) throws {
      guard let made = TLSSession(server: setting.server) else { throw End.Unmade() }
      session = made
      let client = try End(client: setting.client, name: "a.example")
      for _ in 0..<3 {
        let bytes = client.takeOutput()
        _ = session.receive(
          bytes.span, now: MonotonicTime(nanoseconds: 0), plaintext: buffers.plaintext,
          output: buffers.output)
        client.receive(End.take(buffers.output))
      }
      // A message each way: buffers that data needed must be gone as well.
      client.send(pattern(1_000))
      let request = client.takeOutput()
      _ = session.receive(
        request.span, now: MonotonicTime(nanoseconds: 0), plaintext: buffers.plaintext,
        output: buffers.output)
      _ = session.send(request.span, output: buffers.output)
      buffers.plaintext.reset()
      buffers.output.reset()
    }
    var isEstablished: Bool { session.isEstablished }
  }

  private func residentBytes() throws -> Int {
    let text = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8)
    let pages = text.split(separator: " ").dropFirst().first.flatMap { Int($0) }
    return try #require(pages) * 4096
  }
}
