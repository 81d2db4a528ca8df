// The pages people read say what is true: configurations load, keys and files exist.

import Configuration
import Testing

@Suite("Pages")
struct PageTests {
  @Test("every configuration in README.md loads")
  func configurations() {
    let blocks = codeBlocks("README.md", language: "yaml")
    #expect(!blocks.isEmpty)
    for block in blocks {
      let result = Loader.load(
        file: "README.md", environment: { _ in nil },
        readFile: { _ in .success(Array(block.utf8)) }, listFiles: { _ in .success([]) })
      if case .failure(let problems, _) = result {
        Issue.record("\(problems.map(\.description))\n\(block)")
      }
    }
  }

  @Test("every key in the tables of README.md exists, with the default it says")
  func keys() {
    let defaults = referenceKeys()
    #expect(defaults["timeouts.connect"] == "5s", "the reader finds no keys any more")
    var seen = 0
    for line in Tree.lines("README.md") where line.hasPrefix("| `") {
      let cells = line.split(separator: "|").map { $0.drop { $0 == " " } }
      let name = cells[0].split(separator: "`").first.map(String.init) ?? ""
      let value = cells[1].split(separator: " ").first.map { $0.filter { $0 != "`" } }
      // Other tables have other first words.
      let isKey = name.contains(".") && name.allSatisfy { $0.isLetter || "._".contains($0) }
      guard isKey, let value else { continue }
      seen += 1
      #expect(defaults[name] == value, "README.md says \(name) is \(value)")
    }
    #expect(seen >= 20)
  }

  /// "timeouts.connect": "5s", for every key of the reference that has one value.
  private func referenceKeys() -> [String: String] {
    var keys: [String: String] = [:]
    var path: [(indent: Int, name: Substring)] = []
    for line in Reference.text().split(separator: "\n") {
      let text = line.drop { $0 == " " || $0 == "-" }
      guard !text.hasPrefix("#"), let colon = text.firstRange(of: ":") else { continue }
      let indent = line.count - text.count
      path.removeAll { $0.indent >= indent }
      path.append((indent, text[..<colon.lowerBound]))
      let value = text[colon.upperBound...].drop { $0 == " " }
      keys[path.map(\.name).joined(separator: ".")] = String(value)
    }
    return keys
  }

  @Test(
    "every source file that a page names exists",
    arguments: ["README.md", "Sources/README.md", "Tests/README.md", "docker/README.md"])
  func files(page: String) throws {
    let text = try #require(Tree.text(page))
    let known = Set(Tree.files().map { String($0.split(separator: "/").last ?? "") })
    for word in quoted(text) where Self.isFileName(word) {
      let name = String(word.split(separator: "/").last ?? "")
      #expect(known.contains(name), "\(page) names \(word)")
    }
  }

  @Test("every function that Sources/README.md names exists")
  func functions() throws {
    let text = try #require(Tree.text("Sources/README.md"))
    var declared: Set<String> = []
    for path in Tree.files("Sources", endingIn: ".swift") {
      for line in Tree.code(path) {
        guard let range = line.firstRange(of: "func ") else { continue }
        declared.insert(String(line[range.upperBound...].prefix { $0.isLetter || $0.isNumber }))
      }
    }
    let named = quoted(text).filter { $0.hasSuffix("()") && !$0.contains(" ") }
    #expect(named.count > 10)
    for word in named {
      let name = word.dropLast(2).split(separator: ".").last ?? ""
      #expect(declared.contains(String(name)), "Sources/README.md names \(word)")
    }
  }

  private static func isFileName(_ word: String) -> Bool {
    !word.contains(" ") && !word.contains("*")
      && [".swift", ".py", ".sh", ".h"].contains(where: word.hasSuffix)
  }

  /// What stands between backticks on one line.
  private func quoted(_ text: String) -> [String] {
    text.split(separator: "\n").flatMap { line in
      line.split(separator: "`", omittingEmptySubsequences: false).enumerated()
        .filter { $0.offset % 2 == 1 }.map { String($0.element) }
    }
  }

  private func codeBlocks(_ path: String, language: String) -> [String] {
    var blocks: [String] = []
    var current: [Substring]?
    for line in Tree.lines(path) {
      if line == "```\(language)" {
        current = []
      } else if line == "```", let lines = current {
        blocks.append(lines.joined(separator: "\n") + "\n")
        current = nil
      } else {
        current?.append(line)
      }
    }
    return blocks
  }
}
