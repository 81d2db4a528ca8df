import Bytes
import Support
import Testing

private func origin(_ text: String) -> Origin? { Origin(parsing: Array(text.utf8).span) }

private func policy(
  _ patterns: String..., any: Bool = false, sameOrigin: Bool = false, missing: Bool = false
) -> OriginPolicy {
  OriginPolicy(
    patterns: patterns.compactMap(OriginPattern.init(parsing:)), allowsAny: any,
    allowsSameOrigin: sameOrigin, allowsMissing: missing)
}

private func check(
  _ policy: OriginPolicy, _ origins: String..., https: Bool = true, host: String? = "app.example"
) -> OriginPolicy.Verdict {
  policy.check(
    origins.map { Array($0.utf8)[...] }, requestIsHTTPS: https,
    authority: host.flatMap { Authority(parsing: Array($0.utf8).span) })
}

/// Values of an Origin field that are not one origin.
private let malformed = [
  "", " ", "https", "https:", "https:/", "https://", "https:app.example", "https:/app.example",
  "https:///app.example", "app.example", "//app.example", "://app.example", "Null", "NULL", "null ",
  "nullx", "null, null", "*", "https://*", "https://*.example", "https://app.example https://evil",
  "https://app.example,https://evil", "https://app.example/", "https://app.example/path",
  "https://app.example?x", "https://app.example#x", "https://evil.com#app.example",
  "https://app.example@evil.com", "https://app.example:443@evil", "https://u:p@app.example",
  "https://app.example.", "https://app.example.:443", "https://.app.example",
  "https://app..example", "https://app.example%00.evil", "https://app%2eexample",
  "https://аpp.example", "https://app.éxample", "https://app.example\u{0}", "https://app.example\t",
  " https://app.example", "https://app.example ", "https://app.example:", "https://app.example:0",
  "https://app.example:0443", "https://app.example:00443", "https://app.example:65536",
  "https://app.example:+443", "https://app.example:443x", "https://app.example:https",
  "https://app.example:443:443", "https://app.example:443/", "https://[::ffff:1.2.3.4]",
  "https://[::ffff:102:304]", "https://[::1.2.3.4]", "https://::1", "https://[::1", "https://[]",
  "https://[::1]x", "https://[fe80::1%25eth0]", "https://[1.2.3.4]", "https://app.example\\.evil",
  "https:\\\\app.example", "https://app.example`", "https://app$.example", "https://app_.example",
  "https://_.example", "https://app.example!", "https://app.example'", "https://(app.example)",
  "https://app.example;x", "https://app.example=", "https://app.example~", "https://app.example|x",
  "https://app.example\"", "https://<app.example>", "https://{app}.example", "https://app.example^",
  "1https://app.example", "-https://app.example", "ht tps://app.example", "http_s://app.example",
  "http%73://app.example", "https;//app.example", "javascript:alert(1)", "data:text/html,x",
  "blob:https://app.example", "file:", "file:/", "file:///", "about:blank", "file://:80",
]

@Suite("An Origin value")
struct OriginTests {
  @Test(
    "of origin form has one meaning in any spelling",
    arguments: [
      ("https://app.example", "https://app.example"),
      ("HTTPS://App.Example", "https://app.example"),
      ("https://app.example:443", "https://app.example"),
      ("https://app.example:8443", "https://app.example:8443"),
      ("http://app.example:80", "http://app.example"),
      ("http://app.example:443", "http://app.example:443"),
      ("https://app.example:80", "https://app.example:80"),
      ("wss://app.example:443", "wss://app.example"), ("ws://app.example:80", "ws://app.example"),
      ("http://localhost:3000", "http://localhost:3000"), ("http://127.0.0.1", "http://127.0.0.1"),
      ("https://[2001:DB8::1]", "https://[2001:db8::1]"),
      ("https://[0:0:0:0:0:0:0:1]:443", "https://[::1]"),
      ("capacitor://localhost", "capacitor://localhost"),
      ("chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop"),
      ("app+x.y-z://a:1", "app+x.y-z://a:1"), ("file://", "file://"), ("null", "null"),
      ("https://xn--80ak6aa92e.example", "https://xn--80ak6aa92e.example"),
    ])
  func accepted(_ text: String, _ expected: String) {
    #expect(origin(text)?.description == expected)
  }

  @Test("of any other form is refused", arguments: malformed)
  func refused(_ text: String) {
    #expect(origin(text) == nil)
    #expect(check(policy("https://app.example"), text) == .refused(.malformed))
    // The configuration uses the same parser; only the wildcard is more.
    if !text.contains("://*.") { #expect(OriginPattern(parsing: text) == nil) }
  }

  @Test("with bytes that are no UTF-8 is refused")
  func bytes() {
    for byte in UInt8(0x80)...0xff {
      let text = Array("https://app.example".utf8) + [byte]
      let parsed = Origin(parsing: text.span)
      #expect(parsed == nil)
    }
  }

  @Test("or an authority that is taken is printed in one form, which reads back as the same")
  func idempotence() {
    var random = SeededRandom(seed: 5)
    let parts = [
      "https", "HTTP", "ws", "app", "file", "://", ":", "//", "/", "a", "B", "x-y", "_", ".", "..",
      "[::1]", "[", "]", "::", "ffff:", "1.2.3.4", "0", "80", "443", "65535", "@", "%2e", "*",
      "null",
    ]
    var taken = 0
    for _ in 0..<20_000 {
      let count = Int.random(in: 1...6, using: &random)
      let text = (0..<count).map { _ in parts.randomElement(using: &random)! }.joined()
      for candidate in [text, "https://" + text] {
        guard let first = origin(candidate) else { continue }
        taken += 1
        #expect(origin(first.description) == first)
      }
      let bytes = Array(text.utf8)
      if let first = Authority(parsing: bytes.span) {
        taken += 1
        let printed = Array(first.description.utf8)
        let again = Authority(parsing: printed.span)
        #expect(again == first)
      }
    }
    #expect(taken > 1000)
  }

  @Test("may have a scheme of 64 letters and a host as long as a DNS name, and no longer")
  func lengths() {
    func letters(_ count: Int) -> String { String(repeating: "a", count: count) }
    #expect(origin(letters(64) + "://b") != nil)
    #expect(origin(letters(65) + "://b") == nil)
    #expect(origin("https://" + letters(253)) != nil)
    #expect(origin("https://" + letters(254)) == nil)
  }

  @Test("without a default port has none unless it is written")
  func ports() {
    #expect(origin("capacitor://a") == .tuple(scheme: "capacitor", host: "a", port: nil))
    #expect(origin("capacitor://a:80") == .tuple(scheme: "capacitor", host: "a", port: 80))
    #expect(origin("https://a") == .tuple(scheme: "https", host: "a", port: 443))
  }
}

@Suite("An origin policy")
struct OriginPolicyTests {
  @Test(
    "that lists https://app.example takes it in every spelling",
    arguments: ["https://app.example", "HTTPS://App.Example", "https://app.example:443"])
  func listed(_ text: String) {
    #expect(check(policy("https://app.example"), text) == .allowed)
    #expect(check(policy("HTTPS://APP.example:443"), text) == .allowed)
  }

  @Test(
    "that lists https://app.example takes no other origin",
    arguments: [
      "null", "https://app.example:8443", "https://app.example.evil.com", "https://evilapp.example",
      "https://evil.com", "https://example", "https://xapp.example", "https://app-example",
      "https://www.app.example", "https://1.2.3.4", "https://[::1]", "https://[2001:db8::1]",
      "wss://app.example", "ws://app.example", "file://", "chrome-extension://abc",
      "capacitor://app.example", "ftp://app.example",
      "https://app.example:80", "http://evil.example",
    ])
  func notListed(_ text: String) {
    #expect(check(policy("https://app.example"), text) == .refused(.notListed))
  }

  @Test("tells when only http and https differ, on the default port and on others")
  func schemes() {
    let listed = policy("https://app.example", "https://b.example:8443", "http://c.example")
    #expect(check(listed, "http://app.example") == .refused(.schemeDiffers))
    #expect(check(listed, "http://b.example:8443") == .refused(.schemeDiffers))
    #expect(check(listed, "http://app.example:443") == .refused(.schemeDiffers))
    #expect(check(listed, "https://c.example") == .refused(.schemeDiffers))
    #expect(check(listed, "http://b.example") == .refused(.notListed))
    let same = policy(sameOrigin: true)
    #expect(check(same, "https://app.example", https: false) == .refused(.schemeDiffers))
    #expect(
      check(same, "https://app.example:8443", https: false, host: "app.example:8443")
        == .refused(.schemeDiffers))
  }

  @Test("refuses two Origin fields, even of the same value")
  func duplicates() {
    let listed = policy("https://app.example", missing: true)
    #expect(check(listed, "https://app.example", "https://app.example") == .refused(.duplicate))
    #expect(check(listed, "https://app.example", "https://evil") == .refused(.duplicate))
  }

  @Test("takes a missing Origin only where it says so; an empty one is not missing")
  func missing() {
    #expect(check(policy("https://app.example")) == .refused(.missing))
    #expect(check(policy("https://app.example", missing: true)) == .allowed)
    #expect(check(policy("https://app.example", missing: true), "") == .refused(.malformed))
  }

  @Test("without settings allows the same origin and none at all")
  func defaults() {
    #expect(check(OriginPolicy()) == .allowed)
    #expect(check(OriginPolicy(), "https://app.example") == .allowed)
    #expect(check(OriginPolicy(), "https://evil.example") == .refused(.notListed))
  }

  @Test("compares the same origin with scheme, host and port of the request")
  func sameOrigin() {
    let same = policy(sameOrigin: true)
    #expect(check(same, "https://app.example", host: "APP.example:443") == .allowed)
    #expect(
      check(same, "http://app.example:8080", https: false, host: "app.example:8080") == .allowed)
    #expect(check(same, "https://[::1]:8443", host: "[0::1]:8443") == .allowed)
    #expect(check(same, "https://app.example", host: "app.example:8443") == .refused(.notListed))
    #expect(check(same, "https://app.example:8443", host: "app.example") == .refused(.notListed))
    #expect(check(same, "wss://app.example") == .refused(.notListed))
    #expect(check(same, "null") == .refused(.notListed))
    #expect(check(same, "https://app.example", host: nil) == .refused(.notListed))
    #expect(check(policy("https://x.example"), "https://app.example") == .refused(.notListed))
  }

  @Test("lets a wildcard stand for exactly one leftmost label")
  func wildcards() {
    let wild = policy("https://*.app.example", "https://*.port.example:8443", "app://*.x")
    #expect(check(wild, "https://a.app.example") == .allowed)
    #expect(check(wild, "https://A.APP.example:443") == .allowed)
    #expect(check(wild, "https://b.port.example:8443") == .allowed)
    #expect(check(wild, "app://y.x") == .allowed)
    for text in [
      "https://app.example", "https://a.b.app.example", "https://aapp.example",
      "https://a.app.example:8443", "https://b.port.example", "https://a.app.example.evil.com",
      "https://a.appxexample", "null", "file://", "https://example", "https://a.example",
    ] {
      #expect(check(wild, text) == .refused(.notListed))
    }
    #expect(check(wild, "http://a.app.example") == .refused(.schemeDiffers))
    #expect(check(wild, "https://.app.example") == .refused(.malformed))
    #expect(check(wild, "https://*.app.example") == .refused(.malformed))
  }

  @Test(
    "has no pattern for wildcards anywhere else",
    arguments: [
      "https://*", "https://*.", "*", "*.example", "https://a.*.example", "https://a*.example",
      "https://*a.example", "https://**.example", "https://*.*.example", "https://*.1.2.3.4",
      "https://*.127.0.0.1", "https://*.[::1]", "https://*.a.example/", "https://*.a.example.",
      "https://*.a_b", "https://a.example:*", "*://a.example", "https://*.:80", "app://*.",
      "https://u@*.a.example", "same-origin", "any",
    ])
  func patterns(_ text: String) {
    #expect(OriginPattern(parsing: text) == nil)
  }

  @Test("takes null, files and extensions only when they are listed literally")
  func literals() {
    for text in ["null", "file://", "chrome-extension://abcdef", "capacitor://localhost"] {
      #expect(check(policy(text), text) == .allowed)
      #expect(check(policy("https://app.example", sameOrigin: true), text) == .refused(.notListed))
    }
    #expect(check(policy("null"), "https://app.example") == .refused(.notListed))
    #expect(check(policy("file://"), "null") == .refused(.notListed))
  }

  @Test("with the word any refuses nothing")
  func any() {
    #expect(check(policy(any: true)) == .allowed)
    #expect(check(policy(any: true), "null") == .allowed)
    #expect(check(policy(any: true), "https://evil.example") == .allowed)
    #expect(check(policy(any: true), "no origin at all") == .allowed)
    #expect(check(policy(any: true), "https://a", "https://b") == .allowed)
  }

  @Test("prints patterns as a configuration would write them")
  func descriptions() {
    for text in [
      "https://a.example", "https://*.a.example:8443", "null", "file://", "http://[::1]",
    ] {
      #expect(OriginPattern(parsing: text)?.description == text)
    }
    #expect(OriginPattern(parsing: "HTTPS://*.A.example:443")?.description == "https://*.a.example")
  }
}
