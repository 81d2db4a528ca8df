// The rules of the code that no compiler checks: sizes, words, headers.

import Testing

@Suite("Style")
struct StyleTests {
  static let linesMax = 500
  static let functionLinesMax = 70

  /// What may not be used in what ships, and what to use instead.
  static let bannedInSources = [
    ("import Foundation", "what ships links no Foundation"),
    ("import Dispatch", "a worker is a thread with an epoll"),
    ("print(", "write through the logs, or StandardStreams in the executable"),
    ("try!", "handle it; nothing a peer or a file does may trap"),
    ("as!", "use an enum"),
    ("fatalError(", "use invariant or unreachable"),
    ("precondition(", "use invariant"),
    ("Thread.sleep", "use a timer"),
    ("unowned", "hold a SlotID"),
    ("weak var", "hold a SlotID"),
    ("@_silgen_name", "import the C declaration"),
  ]

  @Test("no file is longer than 500 lines")
  func fileLengths() {
    let findings = Tree.files(endingIn: ".swift", ".py", ".sh", ".h").compactMap { path in
      let count = Tree.lines(path).count - 1
      return count > Self.linesMax ? Finding(path, count, "longer than \(Self.linesMax)") : nil
    }
    #expect(findings.isEmpty, "\(findings)")
  }

  @Test("no function is longer than 70 lines")
  func functionLengths() {
    var seen = 0
    var findings: [Finding] = []
    for path in Tree.files(endingIn: ".swift") {
      for function in Source.functions(Tree.code(path)) {
        seen += 1
        if function.count > Self.functionLinesMax {
          findings.append(Finding(path, function.line, "a function of \(function.count) lines"))
        }
      }
    }
    #expect(findings.isEmpty, "\(findings)")
    #expect(seen > 500, "the reader finds no functions any more: \(seen)")
  }

  @Test("every source file begins with what it is")
  func headers() {
    let findings = Tree.files("Sources", endingIn: ".swift").compactMap { path in
      let line = Tree.lines(path).first ?? ""
      return line.hasPrefix("// ") ? nil : Finding(path, 1, "begins with no comment")
    }
    #expect(findings.isEmpty, "\(findings)")
  }

  @Test("words that what ships may not use")
  func bannedWords() {
    var findings: [Finding] = []
    for path in Tree.files("Sources", endingIn: ".swift") {
      for (index, line) in Tree.code(path).enumerated() {
        for (word, instead) in Self.bannedInSources where holds(line, word) {
          if word == "fatalError(", path == "Sources/Bytes/Invariant.swift" { continue }
          findings.append(Finding(path, index + 1, "\(word): \(instead)"))
        }
      }
    }
    #expect(findings.isEmpty, "\(findings)")
  }

  /// `word` stands alone: `fingerprint(` holds no `print(`.
  private func holds(_ line: String, _ word: String) -> Bool {
    var rest = line[...]
    while let range = rest.firstRange(of: word) {
      let before = line[..<range.lowerBound].last ?? " "
      if !before.isLetter, !before.isNumber, before != "_" { return true }
      rest = rest[range.upperBound...]
    }
    return false
  }

  @Test("no unfinished business and no path of somebody's machine")
  func leftovers() {
    let marks = ["TO" + "DO", "FIX" + "ME"]
    let homes = ["home", "root", "work", "Users"].map { "/\($0)/" }
    var findings: [Finding] = []
    for path in Tree.files() where Tree.text(path) != nil {
      for (index, line) in Tree.lines(path).enumerated() {
        for word in marks + homes where line.contains(word) {
          findings.append(Finding(path, index + 1, word))
        }
      }
    }
    #expect(findings.isEmpty, "\(findings)")
  }
}
