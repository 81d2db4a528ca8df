import Configuration
import Support
import Testing

@testable import Configuration

@Suite struct YAMLLimitTests {
  func first(_ text: String) -> String { mistakes(text).first ?? "" }

  @Test("nesting is bounded, in brackets and by indentation")
  func depth() {
    let deep = String(repeating: "[", count: 100_000)
    #expect(first("workers: " + deep).contains("nested deeper than 32 levels"))
    let blocks = (0..<200).map { String(repeating: "  ", count: $0) + "a:\n" }.joined()
    #expect(first(blocks).contains("nested deeper than 32 levels"))
    let allowed = String(repeating: "[", count: 30) + String(repeating: "]", count: 30)
    #expect(!mistakes("workers: " + allowed).contains { $0.contains("nested") })
  }

  @Test("aliases are taken a hundred times and then no more")
  func aliases() {
    func list(_ count: Int) -> String {
      "x: &x 1\ny: [" + String(repeating: "*x, ", count: count) + "]\n"
    }
    #expect(!mistakes(list(100)).contains { $0.contains("aliases") })
    #expect(mistakes(list(101)).contains { $0.contains("more than 100 aliases") })
  }

  @Test("aliases of aliases are refused before they fill the memory")
  func bomb() {
    var text = "l0: &l0 [x, x, x, x, x, x, x, x, x, x]\n"
    for level in 1...9 {
      text += "l\(level): &l\(level) ["
      text += Array(repeating: "*l\(level - 1)", count: 10).joined(separator: ", ") + "]\n"
    }
    #expect(first(text).contains("too many values"))
  }

  @Test("an alias cannot nest deeper than the file may")
  func deepAlias() {
    let open = String(repeating: "[", count: 20)
    let close = String(repeating: "]", count: 20)
    #expect(first("a: &a \(open)\(close)\nb: \(open)*a\(close)\n").contains("nested deeper"))
  }

  @Test("too many values are refused")
  func values() {
    let text = "x: [" + String(repeating: "1,", count: 300_000) + "]"
    #expect(first(text).contains("too many values"))
  }

  @Test("every mistake of a large file is reported, in its order")
  func many() {
    let text = (0..<5000).map { "key\($0): 1\n" }.joined()
    let found = mistakes(text)
    #expect(found.count == 5003)
    #expect(found.prefix(4).map { $0.prefix(4) } == ["1:1:", "1:1:", "1:1:", "1:1:"])
    #expect(found.last?.hasPrefix("5000:1: unknown key \"key4999\"") == true)
  }

  @Test("a byte-order mark at the start is skipped, UTF-16 is refused")
  func byteOrderMark() {
    #expect(mistakes("\u{FEFF}" + SnapshotTests.config()) == [])
    var world = World()
    world.files["main.yaml"] = [0xFF, 0xFE, 0x61, 0x00]
    #expect(world.outcome().contains("main.yaml:1:1: error: this is not UTF-8 text"))
  }

  @Test("columns count characters, not bytes")
  func columns() {
    #expect(first("\"ééé\": {a: 1}\n").hasPrefix("1:1:"))
    #expect(mistakes("{\"ééé\": 1, b: 2}").contains { $0.hasPrefix("1:12: unknown key \"b\"") })
  }

  @Test("a message is one line without control characters, whatever is in the file")
  func escaped() {
    let text = "\"a\\nb\\e[31m\\u202e\\0\\\"\": 1\nworkers: \"\\x1b[2J\\r\\n\"\n"
    for mistake in mistakes(text) {
      #expect(!mistake.unicodeScalars.contains { $0.value < 0x20 || $0.value == 0x202E })
    }
    #expect(
      first(text).contains(#"unknown key "a\u{a}b\u{1b}[31m\u{202e}\u{0}\"""#)
        || mistakes(text).contains { $0.contains(#"a\u{a}b\u{1b}[31m\u{202e}\u{0}\""#) })
  }
}

@Suite struct NearestNameTests {
  @Test(
    "a slip of the finger finds its key",
    arguments: [
      ("listener", "listeners"), ("Routes", "routes"), ("rotues", "routes"),
      ("upsteams", "upstreams"),
      ("trusted-proxies", "trusted_proxies"), ("trustedProxies", "trusted_proxies"),
      ("timeout", "timeouts"), ("limit", "limits"), ("xyz", nil), ("", nil), ("l", nil),
      ("routesroutesroutes", nil), ("2", nil),
    ] as [(String, String?)])
  func nearest(word: String, name: String?) {
    #expect(NearestName.of(word, among: RootSettings.keys.map(\.name)) == name)
  }
}
