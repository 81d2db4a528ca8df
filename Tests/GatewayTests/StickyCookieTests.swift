// The cookie of a sticky upstream: what is in it, and whose cookies are believed.

import Bytes
import Configuration
import Testing

@testable import Gateway

@Suite("The sticky cookie")
struct StickyCookieTests {
  private func cookie(
    _ secret: String = "sixteen bytes at least", upstream: String = "chat", count: Int = 3,
    sameSite: StickySettings.SameSite = .lax
  ) -> StickyCookie {
    StickyCookie(
      name: "BASCULE", sameSite: sameSite, secret: Array(secret.utf8),
      identities: (0..<count).map { Array("\(upstream)\u{0}10.0.0.\($0):80".utf8) })
  }

  private func value(_ cookie: StickyCookie, _ endpoint: Int) -> String {
    let field = cookie.field(for: endpoint, isSecure: false)
    return String(decoding: field.dropFirst(8).prefix { $0 != UInt8(ascii: ";") }, as: UTF8.self)
  }

  @Test("it is opaque, for the whole site, out of reach of scripts, and secure under TLS")
  func attributes() {
    let plain = String(decoding: cookie().field(for: 0, isSecure: false), as: UTF8.self)
    #expect(plain == "BASCULE=\(value(cookie(), 0)); Path=/; HttpOnly; SameSite=Lax")
    let secure = String(decoding: cookie().field(for: 0, isSecure: true), as: UTF8.self)
    #expect(secure == plain + "; Secure")
    let strict = cookie(sameSite: .strict).field(for: 0, isSecure: true)
    #expect(String(decoding: strict, as: UTF8.self).contains("; SameSite=Strict;"))
    let none = cookie(sameSite: .none).field(for: 0, isSecure: true)
    #expect(String(decoding: none, as: UTF8.self).contains("; SameSite=None;"))
    // 128 bits in base64.
    #expect(value(cookie(), 0).utf8.count == 22)
    #expect(!value(cookie(), 0).contains("10.0.0"))
  }

  @Test("it is the same on every gateway with the same secret, in any order of the endpoints")
  func isComputed() {
    #expect((0..<3).map { value(cookie(), $0) } == (0..<3).map { value(cookie(count: 9), $0) })
    #expect(Set((0..<9).map { value(cookie(count: 9), $0) }).count == 9)
    #expect(value(cookie("another secret of that length"), 0) != value(cookie(), 0))
    #expect(value(cookie(upstream: "other"), 0) != value(cookie(), 0))
    // HMAC-SHA-256 of "chat", a zero and the address, by OpenSSL's command line.
    #expect(value(cookie(), 0) == "jISfa1_onL9pUxcDsuA3JQ")
  }

  @Test("a cookie is found among others")
  func isFound() {
    let cookie = cookie()
    let one = value(cookie, 1)
    let found = [
      ["Cookie: BASCULE=\(one)"], ["Cookie: a=b; BASCULE=\(one)"], ["Cookie: BASCULE=\(one); a=b"],
      ["Cookie: a=b;BASCULE=\(one);c"], ["Cookie: a=b", "Cookie: BASCULE=\(one)"],
      ["Cookie: BASCULE=; BASCULE=old; BASCULE=\(one)"], ["Cookie: ; ;;  BASCULE=\(one)  ;"],
    ]
    for fields in found { #expect(cookie.endpoint(of: request(fields)) == 1, "\(fields)") }
  }

  @Test("a cookie that is wrong in any way is none")
  func isWrong() {
    let cookie = cookie()
    let one = value(cookie, 1)
    let other = self.cookie("another secret of that length")
    var wrong = [
      "BASCULE", "BASCULE=", "BASCULE=\(one)x", "BASCULE=\(one.dropLast())", "bascule=\(one)",
      "XBASCULE=\(one)", "BASCULE =\(one)", "BASCULE= \(one)", "BASCULE=\"\(one)\"", one,
      "BASCULE=\(value(other, 1))", "BASCULE=10.0.0.1:80", "a=BASCULE=\(one)",
    ]
    for index in 0..<one.utf8.count {
      var bytes = Array(one.utf8)
      bytes[index] ^= 1
      let text = String(decoding: bytes, as: UTF8.self)
      if !text.contains(where: { ";, \"".contains($0) }) { wrong.append("BASCULE=\(text)") }
    }
    for text in wrong {
      #expect(cookie.endpoint(of: request(["Cookie: \(text)"])) == nil, "\(text)")
    }
    #expect(cookie.endpoint(of: request()) == nil)
  }

  @Test("of very many cookies of that name only the first are looked at")
  func bound() {
    let one = value(cookie(), 1)
    let many = String(repeating: "BASCULE=x; ", count: 8)
    #expect(cookie().endpoint(of: request(["Cookie: \(many)BASCULE=\(one)"])) == nil)
    #expect(cookie().endpoint(of: request(["Cookie: \(many.dropFirst(11))BASCULE=\(one)"])) == 1)
  }
}
