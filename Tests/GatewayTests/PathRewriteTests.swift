import Bytes
import Configuration
import Support
import Testing

@testable import Gateway

private func rewritten(_ path: String, strip: String = "", add: String = "") -> String? {
  let rewrite = PathRewrite(RewriteSettings(stripPrefix: strip, addPrefix: add))
  let bytes = Array(path.utf8)
  return rewrite.apply(bytes.span).map { String(decoding: $0, as: UTF8.self) }
}

@Suite("The path a backend sees")
struct PathRewriteTests {
  @Test("without a rewrite it is the one that came, whatever it looks like")
  func verbatim() {
    for path in ["/", "/a", "/a/", "//a//b", "/%C3%A9;x=1", "*"] {
      #expect(rewritten(path) == path)
    }
  }

  @Test(
    "whole segments are taken off and put in front",
    arguments: [
      ("/chat", "/chat", "", "/"), ("/chat/", "/chat", "", "/"), ("/chat/a/b", "/chat", "", "/a/b"),
      ("/chat", "/chat", "/v2", "/v2"), ("/chat/", "/chat", "/v2", "/v2/"),
      ("/chat/a", "/chat", "/v2", "/v2/a"), ("/", "", "/v2", "/v2/"), ("/a", "", "/v2", "/v2/a"),
      ("/chat/a//b/", "/chat", "", "/a//b/"), ("/chat/%C3%A9;p", "/chat", "", "/%C3%A9;p"),
      ("/a/b/c", "/a/b", "/x/y", "/x/y/c"), ("/chat/chat/x", "/chat", "", "/chat/x"),
    ])
  func segments(_ path: String, _ strip: String, _ add: String, _ expected: String) {
    #expect(rewritten(path, strip: strip, add: add) == expected)
  }

  @Test(
    "a rest that could be taken for another path is refused",
    arguments: [
      ("/chat//admin", "/chat", ""), ("/chat//", "/chat", "/v2"), ("//evil.test", "", "/v2"),
      ("/chatter", "/chat", ""), ("/cha", "/chat", ""), ("/other/x", "/chat", ""),
      ("", "/chat", ""),
      ("*", "", "/v2"), ("/chat;x/y", "/chat", ""),
    ])
  func refused(_ path: String, _ strip: String, _ add: String) {
    #expect(rewritten(path, strip: strip, add: add) == nil)
  }

  @Test("of any path that is routed, the result begins with one slash and ends as it came")
  func property() {
    var random = SeededRandom(seed: 7)
    let alphabet = Array("/ab.%;".utf8)
    for _ in 0..<20_000 {
      var path = Array("/a".utf8)
      let count = Int(random.next() % 8)
      for _ in 0..<count { path.append(alphabet[Int(random.next() % 6)]) }
      let isRouted = path.count == 2 || path[2] == UInt8(ascii: "/")
      for add in ["", "/b"] {
        let rewrite = PathRewrite(RewriteSettings(stripPrefix: "/a", addPrefix: add))
        guard let result = rewrite.apply(path.span) else {
          #expect(!isRouted || path.starts(with: Array("/a//".utf8)))
          continue
        }
        #expect(isRouted)
        #expect(result.first == UInt8(ascii: "/"))
        #expect(result.count < 2 || result[1] != UInt8(ascii: "/"))
        let rest = path.dropFirst(2)
        #expect(rest.isEmpty || result.suffix(rest.count).elementsEqual(rest))
      }
    }
  }
}
