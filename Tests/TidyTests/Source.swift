// A reader of Swift source, just good enough for the checks: it knows comments, texts (raw, of many
// lines, with interpolations) and braces. Regular expression literals are not used in the project.

enum Source {
  /// Line by line, with comments and the contents of texts taken out.
  static func code(_ text: String) -> [String] {
    var reader = CodeReader(Array(text.unicodeScalars))
    reader.readCode(untilParenthesis: false)
    return reader.output.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
  }

  /// Functions, initialisers and the like: the line each begins in, from 1, and how many it has.
  static func functions(_ code: [String]) -> [(line: Int, count: Int)] {
    var found: [(line: Int, count: Int)] = []
    for (index, line) in code.enumerated() where beginsFunction(line) {
      if let end = end(of: index, code) { found.append((index + 1, end - index + 1)) }
    }
    return found
  }

  static func contains(_ line: String, word: String) -> Bool {
    line.split { !($0.isLetter || $0.isNumber || $0 == "_") }.contains { $0 == word }
  }

  /// A call such as `x = Thing.init(` declares nothing; before a declaration stand words only.
  private static func beginsFunction(_ line: String) -> Bool {
    ["func", "init", "deinit", "subscript"].contains { word in
      guard contains(line, word: word), let range = line.firstRange(of: word) else { return false }
      return word == "func" || !line[..<range.lowerBound].contains { "=.:({".contains($0) }
    }
  }

  /// The line with the brace that ends what begins at `start`; nil for a requirement of a protocol.
  private static func end(of start: Int, _ code: [String]) -> Int? {
    var braces = 0
    var parentheses = 0
    for index in start..<code.count {
      for character in code[index] {
        switch character {
        case "(": parentheses += 1
        case ")": parentheses -= 1
        case "{": braces += 1
        case "}":
          braces -= 1
          if braces < 0 { return nil }
          if braces == 0, parentheses == 0 { return index }
        default: break
        }
      }
      if braces == 0, index > start, beginsFunction(code[index]) { return nil }
    }
    return nil
  }
}

private struct CodeReader {
  private let text: [Unicode.Scalar]
  private var position = 0
  private(set) var output = ""

  init(_ text: [Unicode.Scalar]) { self.text = text }

  private func starts(_ word: String, at index: Int) -> Bool {
    let word = Array(word.unicodeScalars)
    return index + word.count <= text.count && text[index..<index + word.count].elementsEqual(word)
  }

  private mutating func keepLine() {
    if text[position] == "\n" { output.unicodeScalars.append("\n") }
    position += 1
  }

  /// To the end of the file, or of an interpolation.
  mutating func readCode(untilParenthesis: Bool) {
    var depth = 0
    while position < text.count {
      if starts("//", at: position) {
        while position < text.count, text[position] != "\n" { position += 1 }
      } else if starts("/*", at: position) {
        skipBlockComment()
      } else if let hashes = hashesBeforeQuote() {
        readText(hashes: hashes)
      } else {
        let scalar = text[position]
        if scalar == "(" { depth += 1 }
        if scalar == ")" { depth -= 1 }
        position += 1
        if untilParenthesis, depth == 0 { return }
        output.unicodeScalars.append(scalar)
      }
    }
  }

  private mutating func skipBlockComment() {
    var depth = 0
    repeat {
      if starts("/*", at: position) {
        depth += 1
        position += 2
      } else if starts("*/", at: position) {
        depth -= 1
        position += 2
      } else {
        keepLine()
      }
    } while depth > 0 && position < text.count
  }

  private func hashesBeforeQuote() -> Int? {
    var hashes = 0
    while position + hashes < text.count, text[position + hashes] == "#" { hashes += 1 }
    guard position + hashes < text.count, text[position + hashes] == "\"" else { return nil }
    return hashes
  }

  private mutating func readText(hashes: Int) {
    let raw = String(repeating: "#", count: hashes)
    position += hashes
    let quote = starts("\"\"\"", at: position) ? "\"\"\"" : "\""
    position += quote.count
    output += "\""
    while position < text.count {
      if starts("\\" + raw + "(", at: position) {
        position += 1 + hashes
        readCode(untilParenthesis: true)
      } else if starts("\\" + raw, at: position) {
        position += 1 + hashes
        if position < text.count { keepLine() }
      } else if starts(quote + raw, at: position) {
        position += quote.count + hashes
        break
      } else {
        keepLine()
      }
    }
    output += "\""
  }
}
