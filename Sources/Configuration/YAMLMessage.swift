// libyaml's messages in the words of somebody who edits a file, with what usually caused them.

enum YAMLMessage {
  /// Where `problem` is in `bytes`, and what to do about it.
  static func diagnostic(_ problem: YAMLProblem, in bytes: [UInt8], file: String) -> Diagnostic {
    var location = SourceLocation(file: file, line: problem.line, column: problem.column)
    if let offset = problem.byteOffset { (location.line, location.column) = place(offset, bytes) }
    // A quote that is missing is made up for by the next one, and what follows that is no YAML.
    if let start = problem.quotedText {
      (location.line, location.column) = start
      return Diagnostic(
        location,
        "not valid YAML: the quoted value that begins here ends on line \(problem.line), where"
          + " another seems to begin; is a quote missing?")
    }
    let character = character(line: location.line, column: location.column, bytes)
    var message = inPlainWords(problem, character)
    if let start = problem.brackets {
      (location.line, location.column) = start
      message += "; noticed on line \(problem.line)"
    }
    return Diagnostic(location, message)
  }

  private static func inPlainWords(_ problem: YAMLProblem, _ character: UInt8?) -> String {
    if problem.context.hasSuffix("alias") {
      return "a value that begins with * must be quoted, such as \"*.example.com\""
    }
    if problem.context.hasSuffix("anchor") {
      return "a value that begins with & must be quoted"
    }
    if problem.message.hasPrefix("found a tab character") { return tab }
    guard let hint = hints.first(where: { problem.message == $0.problem })?.hint else {
      return [problem.message, problem.context].filter { !$0.isEmpty }.joined(separator: " ")
    }
    if character == UInt8(ascii: "\t") { return tab }
    return "not valid YAML: \(hint)"
  }

  /// Line and column of a byte, from 1.
  private static func place(_ offset: Int, _ bytes: [UInt8]) -> (line: Int, column: Int) {
    var place = (line: 1, column: 1)
    for byte in bytes.prefix(max(offset, 0)) { advance(&place, byte) }
    return place
  }

  /// The first byte of the character at a place.
  private static func character(line: Int, column: Int, _ bytes: [UInt8]) -> UInt8? {
    var place = (line: 1, column: 1)
    for byte in bytes where byte & 0xC0 != 0x80 {
      if place == (line, column) { return byte }
      advance(&place, byte)
    }
    return nil
  }

  private static func advance(_ place: inout (line: Int, column: Int), _ byte: UInt8) {
    if byte == UInt8(ascii: "\n") {
      place = (place.line + 1, 1)
    } else if byte & 0xC0 != 0x80 {
      place.column += 1
    }
  }

  private static let tab = "a tab cannot be used to indent YAML: use spaces"

  private static let hints: [(problem: String, hint: String)] = [
    (
      "mapping values are not allowed in this context",
      "a \"key: value\" cannot start here; check the indentation of this line and the one above"
    ),
    (
      "did not find expected key",
      "this does not fit the lines above; check the indentation, and quote values that begin with"
        + " [ or {"
    ),
    (
      "did not find expected '-' indicator",
      "an entry of this list must begin with \"- \", and the keys of one stand under its first key"
    ),
    (
      "did not find expected node content",
      "there is no value here; one that begins with [ must be quoted, such as \"[::1]:8080\""
    ),
    ("could not find expected ':'", "a key without \":\" and a value after it"),
    (
      "did not find expected ',' or ']'",
      "the list that begins with [ does not end; inside [ ], a value with one of [ ] { } , must be"
        + " quoted"
    ),
    (
      "did not find expected ',' or '}'",
      "the mapping that begins with { does not end; inside { }, a value with one of [ ] { } , must"
        + " be quoted"
    ),
    (
      "found character that cannot start any token",
      "a value cannot begin with this character unless it is quoted"
    ),
    ("found unexpected end of stream", "the quoted value that begins here does not end"),
    ("found unexpected document indicator", "the quoted value that begins here does not end"),
    (
      "found unknown escape character",
      "unknown escape after \\ in double quotes; use single quotes to keep \\ as it is"
    ),
    ("control characters are not allowed", "there is a control character here"),
  ]
}
