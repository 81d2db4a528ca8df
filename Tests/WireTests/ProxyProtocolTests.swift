import Bytes
import Support
import Testing

@testable import Wire

private enum Outcome: Equatable {
  case needMore
  case done(SocketAddress?, length: Int)
  case violation(ProxyViolation)
}

/// Feeds the pieces as a connection does: all that has come so far, until there is a verdict.
private func read(_ pieces: [ArraySlice<UInt8>]) -> Outcome {
  var bytes: [UInt8] = []
  for piece in pieces {
    bytes += piece
    do throws(ProxyViolation) {
      let progress = try ProxyProtocol.parse(bytes.span)
      if case .done(let source, let length) = progress { return .done(source, length: length) }
    } catch {
      return .violation(error)
    }
  }
  return .needMore
}

private func read(_ bytes: [UInt8]) -> Outcome {
  let (outcome, disagreement) = DecoderVerifier.verify(bytes, decode: read)
  #expect(disagreement == nil)
  return outcome
}

private func read(_ text: String) -> Outcome { read(Array(text.utf8)) }

private func address(_ text: String, _ port: UInt16) -> SocketAddress? {
  IPAddress(parsing: text).map { .ip($0, port: port) }
}

private let signature: [UInt8] = Array("\r\n\r\n\0\r\nQUIT\n".utf8)

private func block(
  _ command: UInt8, _ family: UInt8, _ payload: [UInt8], count: Int? = nil
) -> [UInt8] {
  let count = count ?? payload.count
  return signature + [command, family, UInt8(count >> 8), UInt8(count & 255)] + payload
}

private let four: [UInt8] = [192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x34, 0x01, 0xbb]
private let six: [UInt8] =
  [0x20, 1, 0xd, 0xb8] + Array(repeating: 0, count: 11) + [1] + Array(repeating: 9, count: 16)
  + [0x12, 0x34, 0x01, 0xbb]

@Suite("The PROXY protocol")
struct ProxyProtocolTests {
  @Test(
    "a line names the client, and what follows is not looked at",
    arguments: ["", "GET / HTTP/1.1\r\n", "\u{16}\u{3}", "PROXY UNKNOWN\r\n"])
  func lines(_ rest: String) {
    let line = "PROXY TCP4 192.0.2.7 198.51.100.1 4660 443\r\n"
    #expect(read(line + rest) == .done(address("192.0.2.7", 4660), length: line.utf8.count))
    let other = "PROXY TCP6 2001:db8::1 ::1 65535 0\r\n"
    #expect(read(other + rest) == .done(address("2001:db8::1", 65_535), length: other.utf8.count))
    let mapped = "PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n"
    #expect(read(mapped + rest) == .done(address("192.0.2.7", 1), length: mapped.utf8.count))
  }

  @Test(
    "an unknown client is the proxy itself, whatever is said beside that",
    arguments: ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN ffff::1 x  y\r\n", "PROXY UNKNOWN \r\n"])
  func unknown(_ line: String) {
    #expect(read(line) == .done(nil, length: line.utf8.count))
  }

  @Test(
    "a line that is not exact is refused",
    arguments: [
      "PROXY \r\n", "PROXY TCP4\r\n", "PROXY TCP4 192.0.2.7 198.51.100.1 1\r\n",
      "PROXY TCP4 192.0.2.7 198.51.100.1 1 2 3\r\n", "PROXY TCP4  192.0.2.7 198.51.100.1 1 2\r\n",
      "PROXY TCP4 192.0.2.7 198.51.100.1 1 2 \r\n", "PROXY TCP4 192.0.2.7 198.51.100.1 1 2\n",
      "PROXY TCP4 192.0.2.07 198.51.100.1 1 2\r\n", "PROXY TCP4 192.0.2.7 198.51.100.1 01 2\r\n",
      "PROXY TCP4 192.0.2.7 198.51.100.1 1 65536\r\n", "PROXY TCP4 192.0.2.7 198.51.100.1 -1 2\r\n",
      "PROXY TCP4 ::1 ::1 1 2\r\n", "PROXY TCP6 192.0.2.7 198.51.100.1 1 2\r\n",
      "PROXY TCP6 [::1] ::1 1 2\r\n", "PROXY TCP6 ::1%lo ::1 1 2\r\n",
      "PROXY TCP4 192.0.2.7\t198.51.100.1 1 2\r\n", "PROXY tcp4 192.0.2.7 198.51.100.1 1 2\r\n",
      "PROXY UDP4 192.0.2.7 198.51.100.1 1 2\r\n", "PROXY UNKNOWNX\r\n", "PROXY UNKNOWN\n",
      "PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r\r\n", "PROXY TCP4 localhost 198.51.100.1 1 2\r\n",
    ])
  func malformed(_ line: String) {
    #expect(read(line) == .violation(.malformedLine))
  }

  @Test("a line has at most 107 bytes with its end")
  func lineLength() {
    let longest = "PROXY UNKNOWN " + String(repeating: "x", count: 91) + "\r\n"
    #expect(longest.utf8.count == 107)
    #expect(read(longest) == .done(nil, length: 107))
    #expect(
      read("PROXY UNKNOWN " + String(repeating: "x", count: 92) + "\r\n") == .violation(.tooLong))
    #expect(read("PROXY UNKNOWN " + String(repeating: "x", count: 92)) == .needMore)
  }

  @Test(
    "anything else is no header, as soon as it can be told",
    arguments: [
      "GET / HTTP/1.1\r\n", "G", "PROXX", "proxy TCP4", " PROXY", "\r\n\r\n\r", "\r\r", "\u{16}",
      "PROXY\r\n", "PRI * HTTP/2.0\r\n",
    ])
  func noHeader(_ text: String) {
    #expect(read(text) == .violation(.noHeader))
  }

  @Test("a header that has not come whole is waited for")
  func waits() {
    for whole in [
      Array("PROXY TCP4 192.0.2.7 198.51.100.1 4660 443\r\n".utf8), block(0x21, 0x11, four),
      block(0x21, 0x21, six + [4, 0, 1, 9]), block(0x20, 0, []),
    ] {
      for count in 0..<whole.count { #expect(read(Array(whole[..<count])) == .needMore) }
      #expect(read(whole) != .needMore)
    }
  }

  @Test("a block names the client; its TLVs are skipped")
  func blocks() {
    for tlv: [UInt8] in [[], [4, 0, 1, 9], Array(repeating: 0xff, count: 400)] {
      #expect(
        read(block(0x21, 0x11, four + tlv) + [1, 2, 3])
          == .done(address("192.0.2.7", 0x1234), length: 28 + tlv.count))
      #expect(
        read(block(0x21, 0x21, six + tlv))
          == .done(address("2001:db8::1", 0x1234), length: 52 + tlv.count))
    }
  }

  @Test("LOCAL, no family and unix sockets name nobody, and their bytes are skipped")
  func nobody() {
    #expect(read(block(0x20, 0x00, [])) == .done(nil, length: 16))
    #expect(read(block(0x20, 0x11, four)) == .done(nil, length: 28))
    #expect(read(block(0x20, 0x11, [1])) == .done(nil, length: 17))
    #expect(read(block(0x21, 0x00, [1, 2, 3])) == .done(nil, length: 19))
    let paths = Array(repeating: UInt8(0x2f), count: 216)
    #expect(read(block(0x21, 0x31, paths)) == .done(nil, length: 232))
  }

  @Test("a block of undefined kind, of the wrong size, or too long is refused")
  func refusedBlocks() {
    for command: UInt8 in [0x00, 0x11, 0x22, 0x2f, 0x31, 0xff] {
      #expect(read(block(command, 0x11, four)) == .violation(.unknownCommand))
    }
    for family: UInt8 in [0x01, 0x10, 0x12, 0x22, 0x32, 0x41, 0xff] {
      #expect(read(block(0x21, family, four)) == .violation(.unknownCommand))
    }
    #expect(read(block(0x21, 0x11, Array(four.dropLast()))) == .violation(.truncated))
    #expect(read(block(0x21, 0x21, Array(six.dropLast()))) == .violation(.truncated))
    #expect(read(block(0x21, 0x31, four)) == .violation(.truncated))
    #expect(read(block(0x21, 0x00, [], count: 521)) == .violation(.tooLong))
    #expect(read(block(0x21, 0x00, [], count: 65_535)) == .violation(.tooLong))
    #expect(
      read(block(0x21, 0x00, Array(repeating: 0, count: 520))) == .done(nil, length: 536))
  }

  @Test("random damage is refused, waited for or read, and never traps")
  func damage() {
    var random = SeededRandom(seed: 11)
    let seeds = [
      Array("PROXY TCP6 2001:db8::1 ::1 65535 0\r\n".utf8), block(0x21, 0x11, four),
      block(0x21, 0x21, six + [4, 0, 1, 9]),
    ]
    for _ in 0..<20_000 {
      var bytes = seeds[Int(random.next() % 3)]
      for _ in 0..<(1 + random.next() % 3) {
        bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next())
      }
      if case .done(_, let length) = read([bytes[...]]) { #expect(length <= bytes.count) }
    }
  }

  @Test(
    "what is written is read again",
    arguments: [
      ("192.0.2.7", "198.51.100.1"), ("2001:db8::1", "::1"), ("192.0.2.7", "::1"),
      ("2001:db8::1", "198.51.100.1"), ("255.255.255.255", "0.0.0.0"),
      ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "1111:2222:3333:4444:5555:6666:7777:8888"),
    ])
  func written(_ from: String, _ to: String) {
    for version in [ProxyProtocol.Version.v1, .v2] {
      for port: UInt16 in [0, 80, 65_535] {
        let bytes = ProxyProtocol.header(
          version, source: address(from, port), destination: address(to, 443))
        #expect(read(bytes) == .done(address(from, port), length: bytes.count))
      }
    }
  }

  @Test("exact bytes, and nobody where there is no client")
  func exact() {
    let v1 = ProxyProtocol.header(
      .v1, source: address("192.0.2.7", 0x1234), destination: address("198.51.100.1", 443))
    #expect(String(decoding: v1, as: UTF8.self) == "PROXY TCP4 192.0.2.7 198.51.100.1 4660 443\r\n")
    let mixed = ProxyProtocol.header(
      .v1, source: address("192.0.2.7", 1), destination: address("::1", 2))
    #expect(String(decoding: mixed, as: UTF8.self) == "PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n")
    let v2 = ProxyProtocol.header(
      .v2, source: address("192.0.2.7", 0x1234), destination: address("198.51.100.1", 443))
    #expect(v2 == block(0x21, 0x11, four))
    let nowhere = ProxyProtocol.header(.v1, source: address("::1", 1), destination: .unix("/a"))
    #expect(String(decoding: nowhere, as: UTF8.self) == "PROXY TCP6 ::1 :: 1 0\r\n")
    #expect(
      ProxyProtocol.header(.v1, source: nil, destination: nil) == Array("PROXY UNKNOWN\r\n".utf8))
    #expect(
      ProxyProtocol.header(.v2, source: .unix(""), destination: nil) == block(0x21, 0x00, []))
  }
}
