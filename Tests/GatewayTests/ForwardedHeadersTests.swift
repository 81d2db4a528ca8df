import Bytes
import Testing

@testable import Gateway

private let made = "0123456789abcdeffedcba9876543210"
private let trusted = "10.0.0.1"

private func id(_ identity: ClientIdentity) -> String {
  String(decoding: identity.requestID.text, as: UTF8.self)
}

@Suite("Who the client is")
struct ClientIdentityTests {
  @Test("an untrusted peer is the client, whatever it says")
  func untrusted() {
    let head = request([
      "X-Forwarded-For: 198.51.100.1", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil.test",
      "X-Forwarded-Port: 443", "X-Real-IP: 198.51.100.1", "X-Request-Id: chosen",
    ])
    let client = identity(head)
    #expect(!client.isTrusted)
    #expect(client.text == "192.0.2.7")
    #expect(!client.isHTTPS)
    #expect(client.authority?.description == "a.test")
    #expect(client.port == 8080)
    #expect(id(client) == made)
  }

  @Test(
    "behind trusted proxies the client is the last address that is no proxy's",
    arguments: [
      (["X-Forwarded-For: 198.51.100.1"], "198.51.100.1"),
      (["X-Forwarded-For: 203.0.113.9, 198.51.100.1"], "198.51.100.1"),
      (["X-Forwarded-For: 198.51.100.1, 10.2.3.4, 10.9.9.9"], "198.51.100.1"),
      (["X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 198.51.100.1"], "198.51.100.1"),
      (["X-Forwarded-For: 198.51.100.1", "X-Forwarded-For: 10.1.1.1"], "198.51.100.1"),
      (["X-Forwarded-For: 10.2.3.4, 10.9.9.9"], "10.2.3.4"),
      (["X-Forwarded-For: 2001:db8::1"], "2001:db8::1"),
      (["X-Forwarded-For: [2001:db8::1]:4711"], "2001:db8::1"),
      (["X-Forwarded-For: [2001:db8::1]"], "2001:db8::1"),
      (["X-Forwarded-For: 198.51.100.1:4711"], "198.51.100.1"),
      (["X-Forwarded-For: 198.51.100.1, fd00::7"], "198.51.100.1"),
      (["X-Forwarded-For: 198.51.100.1, unknown"], "10.0.0.1"),
      (["X-Forwarded-For: 198.51.100.1, 010.0.0.2"], "10.0.0.1"),
      (["X-Forwarded-For: unknown, 10.5.5.5"], "10.5.5.5"),
      (["X-Forwarded-For: evil, 198.51.100.1"], "198.51.100.1"),
      (["X-Forwarded-For: ::ffff:198.51.100.1"], "198.51.100.1"),
      (["X-Forwarded-For: 2001:db8::1:"], "10.0.0.1"),
      (["X-Forwarded-For: 1:2:3:4:5:6:7:8:80"], "10.0.0.1"),
      (["X-Forwarded-For: :80"], "10.0.0.1"),
      (["X-Forwarded-For: []:80"], "10.0.0.1"),
      (["X-Forwarded-For: ["], "10.0.0.1"),
      (["X-Forwarded-For: 80"], "10.0.0.1"),
      (["X-Forwarded-For:"], "10.0.0.1"),
      (["X-Forwarded-For: ,,"], "10.0.0.1"),
      ([], "10.0.0.1"),
    ] as [([String], String)])
  func address(_ fields: [String], _ expected: String) {
    #expect(identity(request(fields), peer: trusted).text == expected)
  }

  @Test("a list without end is not walked to its end")
  func bounded() {
    let list = "198.51.100.1" + String(repeating: ", 10.1.1.1", count: 200)
    #expect(identity(request(["X-Forwarded-For: \(list)"]), peer: trusted).text == "10.1.1.1")
  }

  @Test(
    "a trusted proxy tells the scheme; wss counts as https",
    arguments: [
      ("https", true), ("HTTPS", true), ("wss", true), ("http", false), ("ws", false),
      ("http, https", true), ("https, http", false), ("ftp", true), ("", true), ("https ftp", true),
    ])
  func scheme(_ value: String, _ isHTTPS: Bool) {
    let head = request(["X-Forwarded-Proto: \(value)"])
    // Where the value says nothing the transport does, which is TLS here.
    #expect(identity(head, peer: trusted, isTLS: true).isHTTPS == isHTTPS)
  }

  @Test(
    "a trusted proxy tells host and port; otherwise they follow from what is known",
    arguments: [
      ([], "a.test", 8080),
      (["X-Forwarded-Host: b.test"], "b.test", 80),
      (["X-Forwarded-Host: b.test:81"], "b.test:81", 81),
      (["X-Forwarded-Host: b.test", "X-Forwarded-Proto: https"], "b.test", 443),
      (["X-Forwarded-Host: b.test:81", "X-Forwarded-Port: 82"], "b.test:81", 82),
      (["X-Forwarded-Proto: https"], "a.test", 443),
      (["X-Forwarded-Host: b.test@evil"], "a.test", 8080),
      (["X-Forwarded-Host: evil, b.test"], "b.test", 80),
      (["X-Forwarded-Port: 0"], "a.test", 8080),
      (["X-Forwarded-Port: 70000"], "a.test", 8080),
    ] as [([String], String, UInt16)])
  func authority(_ fields: [String], _ host: String, _ port: UInt16) {
    let client = identity(request(fields), peer: trusted)
    #expect(client.authority?.description == host)
    #expect(client.port == port)
  }

  @Test("a request id is kept from a trusted proxy if it is one visible word")
  func requestID() {
    #expect(id(identity(request(["X-Request-Id: abc-1"]), peer: trusted)) == "abc-1")
    let bad = [
      ["X-Request-Id:"], ["X-Request-Id: a b"], ["X-Request-Id: ä"],
      ["X-Request-Id: a", "X-Request-Id: b"],
      ["X-Request-Id: " + String(repeating: "a", count: 129)],
    ]
    for fields in bad { #expect(id(identity(request(fields), peer: trusted)) == made) }
  }

  @Test("a unix socket's peer has no address and is not trusted")
  func unix() {
    let client = identity(request(["X-Forwarded-For: 1.2.3.4"]), peer: nil, localPort: nil)
    #expect(client.text == "unix")
    #expect(client.address == nil && !client.isTrusted)
    #expect(client.port == 80)
  }
}
