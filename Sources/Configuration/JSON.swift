// JSON as a tree, and as text for people: the schema is written in it. Members keep their order, so
// that the same tree is always the same text.

enum JSON: Sendable {
  /// Written as it is.
  case number(String)
  case bool(Bool)
  case text(String)
  case list([JSON])
  case object([Member])

  typealias Member = (name: String, value: JSON)

  static func texts(_ texts: [String]) -> JSON { .list(texts.map(JSON.text)) }

  /// What a reader of YAML makes of `text` without quotes, as far as defaults go: a truth value, a
  /// whole number or a text.
  init(plain text: String) {
    switch text {
    case "true", "false": self = .bool(text == "true")
    case _ where Self.isWholeNumber(text): self = .number(text)
    default: self = .text(text)
    }
  }

  /// In the one spelling that JSON has for it.
  static func isWholeNumber(_ text: String) -> Bool {
    let isDigits = text.utf8.allSatisfy { (0x30...0x39).contains($0) }
    return isDigits && !text.isEmpty && (text == "0" || !text.hasPrefix("0"))
  }
}

extension JSON {
  /// A line per member, and per entry of a list unless all of its entries are single values.
  func written(indent: String = "") -> String {
    let inner = indent + "  "
    switch self {
    case .number(let text): return text
    case .bool(let value): return value ? "true" : "false"
    case .text(let text): return Self.quoted(text)
    case .list(let entries):
      let texts = entries.map { $0.written(indent: inner) }
      guard entries.contains(where: \.isCompound) else {
        return "[\(texts.joined(separator: ", "))]"
      }
      return Self.lines(texts, "[", "]", indent)
    case .object(let members):
      let texts = members.map { "\(Self.quoted($0.name)): \($0.value.written(indent: inner))" }
      return texts.isEmpty ? "{}" : Self.lines(texts, "{", "}", indent)
    }
  }

  private var isCompound: Bool {
    switch self {
    case .list, .object: true
    case .number, .bool, .text: false
    }
  }

  private static func lines(
    _ texts: [String], _ open: String, _ close: String, _ indent: String
  ) -> String {
    let lines = texts.map { "\(indent)  \($0)" }.joined(separator: ",\n")
    return "\(open)\n\(lines)\n\(indent)\(close)"
  }

  /// RFC 8259 section 7: quotes, backslashes and control characters are escaped, nothing else must be.
  private static func quoted(_ text: String) -> String {
    var quoted = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"", "\\": quoted += "\\\(scalar)"
      case "\n": quoted += "\\n"
      case "\t": quoted += "\\t"
      case _ where scalar.value < 0x20:
        let digits = String(scalar.value, radix: 16)
        quoted += "\\u\(String(repeating: "0", count: 4 - digits.count))\(digits)"
      default: quoted.unicodeScalars.append(scalar)
      }
    }
    return "\"\(quoted)\""
  }
}
