import Bytes
import Testing

private func authority(_ text: String) -> Authority? { Authority(parsing: Array(text.utf8).span) }

@Suite("An authority")
struct AuthorityTests {
  @Test(
    "has one spelling per meaning",
    arguments: [
      ("a.example", "a.example"), ("A.Example:80", "a.example:80"), ("a:65535", "a:65535"),
      ("1.2.3.4", "1.2.3.4"), ("xn--bcher-kva.example", "xn--bcher-kva.example"),
      ("my_service:1", "my_service:1"), ("[::1]", "[::1]"), ("[0:0::0:1]:80", "[::1]:80"),
      ("[2001:DB8::A]", "[2001:db8::a]"), ("[::ffff:7f00:1]", "[::ffff:127.0.0.1]"),
      ("[::FFFF:127.0.0.1]:1", "[::ffff:127.0.0.1]:1"),
    ])
  func accepted(_ text: String, _ expected: String) {
    #expect(authority(text)?.description == expected)
  }

  @Test(
    "is refused where two readers could differ",
    arguments: [
      "", ":", ":80", "a:", "a:0", "a:080", "a:65536", "a:+80", "a:80 ", "a:8a", "a:80:80",
      "a.example.", "a..b", ".a", ".", "u@a", "u:p@a", "a@b", "a,b", "a b", " a", "a ", "a/b",
      "a?b", "a#b", "a\\b", "a%2e", "a\u{0}", "a\t", "é", "аpp.example", "*", "*.a", "$", "a=b",
      "::1", "[::1", "[]", "[:]", "::1]", "[::1]a", "[::1]:", "[::1]80", "[1.2.3.4]", "[a]",
      "[fe80::1%eth0]", "[::1]]", "[[::1]]", "[::1].example",
    ])
  func refused(_ text: String) {
    #expect(authority(text) == nil)
  }

  @Test("may be as long as a DNS name can be")
  func length() {
    #expect(authority(String(repeating: "a", count: 253)) != nil)
    #expect(authority(String(repeating: "a", count: 254)) == nil)
  }

  @Test("has the scheme's port when it names none")
  func ports() {
    #expect(authority("a")?.effectivePort(https: true) == 443)
    #expect(authority("a")?.effectivePort(https: false) == 80)
    #expect(authority("a:443")?.effectivePort(https: false) == 443)
  }
}
