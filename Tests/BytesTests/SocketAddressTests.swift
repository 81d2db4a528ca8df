import Bytes
import Testing

@Suite("An IP address")
struct IPAddressTests {
  static let canonical: [(String, String)] = [
    ("0.0.0.0", "0.0.0.0"), ("255.255.255.255", "255.255.255.255"), ("10.1.2.3", "10.1.2.3"),
    ("::", "::"), ("::1", "::1"), ("1::", "1::"), ("2001:DB8::A", "2001:db8::a"),
    ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"), ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"),
    ("::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"), ("2001:0db8:0:0:0:0:0:0001", "2001:db8::1"),
    // RFC 5952 section 4.2: the longest run, the first of two equal ones, never a single group.
    ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"), ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
    ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"), ("0:0:1::", "0:0:1::"),
    ("fe80::1:0:0:0", "fe80::1:0:0:0"), ("1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"),
    ("::1.2.3.4", "::102:304"), ("64:ff9b::192.0.2.33", "64:ff9b::c000:221"),
    // IPv4-mapped addresses are IPv4 addresses.
    ("::ffff:1.2.3.4", "1.2.3.4"), ("::FFFF:102:304", "1.2.3.4"), ("0:0:0:0:0:ffff:0:1", "0.0.0.1"),
  ]

  @Test("is read from every form of literal and printed canonically", arguments: canonical)
  func vectors(_ text: String, _ printed: String) throws {
    let address = try #require(IPAddress(parsing: text))
    #expect(address.description == printed)
    #expect(IPAddress(parsing: printed) == address)
  }

  @Test(
    "is not read from anything else",
    arguments: [
      "", "1", "1.2", "1.2.3", "1.2.3.", "1.2.3.4.", "1.2.3.4.5", ".1.2.3.4", "1..3.4", "256.1.1.1",
      "01.2.3.4", "1.2.3.04", "00.0.0.0", "1.2.3.4 ", " 1.2.3.4", "+1.2.3.4", "1.2.3.-4",
      "0x1.2.3.4",
      "1.2.3.4/8", "1.2.3.4294967300", ":", ":::", "1:", ":1", "1:::2", "1::2::3", "1:2:3:4:5:6:7",
      "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "::1:2:3:4:5:6:7:8", "1:2:3:4::5:6:7:8", "12345::",
      "g::", "::1%eth0", "[::1]", "::ffff:1.2.3", "::ffff:1.2.3.256", "::1.2.3.4:5", "1.2.3.4::",
      "1:2:3:4:5:6:7:1.2.3.4", "::ffff:01.2.3.4", "::1 ", "::\0", "1.2.3.4\0",
    ])
  func refused(_ text: String) {
    #expect(IPAddress(parsing: text) == nil)
  }

  @Test("every octet is written in decimal, in each of its places")
  func octets() {
    for octet in UInt32(0)..<256 {
      for place in 0..<4 {
        var octets: [UInt32] = [1, 99, 10, 100]
        octets[place] = octet
        let address = IPAddress.v4(octets.reduce(0) { $0 << 8 | $1 })
        #expect(address.description == octets.map { "\($0)" }.joined(separator: "."))
      }
    }
  }

  @Test("keeps its 128 bits through printing and reading, for many patterns of zero groups")
  func roundTrip() {
    for pattern in 0..<256 {
      var bits: UInt128 = 0
      for group in 0..<8 where pattern >> group & 1 == 1 {
        bits |= UInt128(0x1000 + group) << UInt128(16 * group)
      }
      let address = IPAddress(bits: bits)
      #expect(IPAddress(parsing: address.description) == address)
    }
  }
}

@Suite("An address block")
struct AddressBlockTests {
  static let inside: [(String, String, Bool)] = [
    ("10.0.0.0/8", "10.255.0.1", true), ("10.0.0.0/8", "11.0.0.0", false),
    ("10.9.9.9/8", "10.0.0.1", true), ("10.1.2.3", "10.1.2.3", true),
    ("10.1.2.3", "10.1.2.2", false), ("0.0.0.0/0", "203.0.113.9", true),
    ("0.0.0.0/0", "::1", false), ("::/0", "2001:db8::1", true), ("::/0", "10.0.0.1", false),
    ("192.0.2.128/25", "192.0.2.127", false), ("192.0.2.128/25", "192.0.2.128", true),
    ("2001:db8::/33", "2001:db8:7fff::1", true), ("2001:db8::/33", "2001:db8:8000::", false),
    ("2001:db8::/64", "2001:db8::1:0:0:0:1", false), ("::1", "::1", true), ("::1", "::2", false),
    ("2001:db8::1/128", "2001:db8::", false), ("10.0.0.0/8", "::ffff:10.1.1.1", true),
    ("::ffff:10.0.0.0/104", "10.1.1.1", true), ("::ffff:10.0.0.0/104", "11.1.1.1", false),
    ("::ffff:10.0.0.1", "10.0.0.1", true), ("::ffff:0:0/96", "8.8.8.8", true),
  ]

  @Test("holds the addresses that share its prefix, within its family", arguments: inside)
  func contains(_ block: String, _ address: String, _ expected: Bool) throws {
    let block = try #require(AddressBlock(parsing: block))
    let address = try #require(IPAddress(parsing: address))
    #expect(block.contains(address) == expected)
  }

  @Test(
    "is written with its first address",
    arguments: [
      ("10.9.9.9/8", "10.0.0.0/8"), ("10.1.2.3", "10.1.2.3/32"), ("1.2.3.4/0", "0.0.0.0/0"),
      ("2001:db8::1/33", "2001:db8::/33"), ("::1", "::1/128"), ("2001:db8::1/0", "::/0"),
      ("::ffff:10.0.0.1/104", "10.0.0.0/8"), ("::ffff:10.0.0.1/90", "::ffc0:0:0/90"),
    ])
  func description(_ text: String, _ expected: String) throws {
    #expect(try #require(AddressBlock(parsing: text)).description == expected)
  }

  @Test(
    "is not read from malformed text",
    arguments: [
      "", "/8", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0.0/08", "10.0.0.0/-1", "10.0.0.0/8/8",
      "10.0.0/8", "10.0.0.0/ 8", "::1%lo/128", "localhost", "10.0.0.0/255.0.0.0",
    ])
  func refused(_ text: String) {
    #expect(AddressBlock(parsing: text) == nil)
  }
}

@Suite("An endpoint address")
struct EndpointAddressTests {
  static let canonical: [(String, String)] = [
    ("127.0.0.1:80", "127.0.0.1:80"), ("0.0.0.0:0", "0.0.0.0:0"), ("[::1]:65535", "[::1]:65535"),
    ("[2001:DB8:0::1]:1", "[2001:db8::1]:1"), ("[::ffff:1.2.3.4]:80", "1.2.3.4:80"),
    ("Chat.Internal:3000", "chat.internal:3000"), ("my_service:80", "my_service:80"),
    ("chat.svc.cluster.local.:80", "chat.svc.cluster.local.:80"), ("3scale:80", "3scale:80"),
    ("unix:/run/bascule.sock", "unix:/run/bascule.sock"),
    ("unix:/" + String(repeating: "a", count: 106), "unix:/" + String(repeating: "a", count: 106)),
  ]

  @Test("is read and printed canonically", arguments: canonical)
  func vectors(_ text: String, _ printed: String) throws {
    let address = try #require(EndpointAddress(parsing: text))
    #expect(address.description == printed)
  }

  @Test(
    "is not read from malformed text",
    arguments: [
      "", ":", ":80", "localhost", "localhost:", "localhost:65536", "localhost:080", "localhost:+1",
      "localhost:8o", "::1:80", "[::1]", "[::1]80", "[::1:80", "::1]:80", "[]:80", "[1.2.3.4]:80",
      "[::1%lo]:80", "1.2.3:80", "1.2.3.256:80", "010.0.0.1:80", "127.1:80", "0x7f:80",
      "0x7F.0X1:80",
      "-a.example:80", "a-.example:80", "a..b:80", ".a:80", "a b:80", "a/b:80", "user@host:80",
      "http://host:80", "*:80", "ü.example:80", "host:80:80",
      String(repeating: "a", count: 64) + ":1",
      "unix:", "unix:/", "unix:relative", "unix:/a\0b",
      "unix:/" + String(repeating: "a", count: 107), "host:99999999999999999999",
    ])
  func refused(_ text: String) {
    #expect(EndpointAddress(parsing: text) == nil)
  }

  @Test("tells a literal from a name")
  func literals() throws {
    let name = try #require(HostPort(parsing: "chat.internal:3000"))
    #expect(name.literal == nil)
    #expect(name.host == "chat.internal")
    #expect(name.port == 3000)
    let literal = try #require(HostPort(parsing: "[0::1]:80"))
    #expect(literal.literal == .v6(high: 0, low: 1))
    #expect(literal.host == "::1")
  }

  @Test("prints as a socket address does")
  func socketAddresses() {
    #expect(SocketAddress.ip(.v4(0x7f00_0001), port: 80).description == "127.0.0.1:80")
    #expect(SocketAddress.ip(.v6(high: 0, low: 1), port: 80).description == "[::1]:80")
    #expect(SocketAddress.unix("/path").description == "unix:/path")
  }
}
