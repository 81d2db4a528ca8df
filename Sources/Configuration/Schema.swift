// What a value may be in the words of JSON Schema (draft-07), so that editors complete and check a
// file while it is written. A schema sees what a reader of YAML makes of the file: `off` is a text to
// some and `false` to others, and a number may stand in quotes. It never refuses what the loader takes;
// what two keys mean together, and most bounds of what is no number, are for `bascule check` to say.

/// The ways one value may be written; any of them will do.
struct Schema: Sendable {
  /// Values that editors offer.
  private var words: [JSON] = []
  /// The keywords of each range.
  private var integers: [[JSON.Member]] = []
  /// A text is one way, be it only `${NAME}`.
  private var takesText = false
  private var takesAnyText = false
  /// Each for the whole of a text.
  private var patterns: [String] = []
  /// What a text without quotes may look like to a reader of YAML.
  private var textTypes = ["string"]
  /// The keywords beside `type`.
  private var list: [JSON.Member]?
  private var mapping: [JSON.Member]?
  /// A list or section without anything in it may be written as nothing.
  private var allowsNothing = false

  private init() {}

  /// At most one of the two is a list, and at most one a mapping.
  func or(_ other: Schema) -> Schema {
    var both = self
    both.words += other.words
    both.integers += other.integers
    both.takesText = takesText || other.takesText
    both.takesAnyText = takesAnyText || other.takesAnyText
    both.patterns += other.patterns
    both.textTypes += other.textTypes.filter { !textTypes.contains($0) }
    both.list = list ?? other.list
    both.mapping = mapping ?? other.mapping
    both.allowsNothing = allowsNothing || other.allowsNothing
    return both
  }

  /// The same where writing nothing is a slip.
  var present: Schema {
    var schema = self
    schema.allowsNothing = false
    return schema
  }
}

// MARK: Single values

extension Schema {
  /// `orNumber`: digits alone are a fine text here, such as a name.
  static func text(_ patterns: String..., orNumber: Bool = false) -> Schema {
    var schema = Schema()
    schema.takesText = true
    schema.patterns = patterns
    if orNumber { schema.textTypes.append("number") }
    return schema
  }

  static let anyText: Schema = {
    var schema = text()
    schema.takesAnyText = true
    schema.textTypes += ["number", "boolean"]
    return schema
  }()

  static func integer<V: FixedWidthInteger>(_ ranges: ClosedRange<V>...) -> Schema {
    var schema = text("[0-9]+")
    schema.integers = ranges.map { range in
      [
        ("type", .text("integer")), ("minimum", .number("\(range.lowerBound)")),
        ("maximum", .number("\(range.upperBound)")),
      ]
    }
    return schema
  }

  /// As they are written without thinking comes first, which is what editors offer; then the same as
  /// some readers of YAML see it, or as it stands in quotes.
  static func words(_ names: [String]) -> Schema {
    var schema = text()
    schema.words = names.map { JSON.isWholeNumber($0) ? .number($0) : .text($0) }
    for name in names {
      if name == "off" {
        schema.words.append(.bool(false))
        schema.patterns += ["no", "false"]
      } else if JSON.isWholeNumber(name) {
        schema.patterns.append(name)
      } else if isFraction(name) {
        schema.words.append(.number(name))
      }
    }
    return schema
  }

  static let boolean: Schema = {
    var schema = text()
    schema.words = [.bool(true), .bool(false)]
    schema.patterns = ["true", "false", "yes", "no", "on", "off"].map(anyCase)
    return schema
  }()

  private static func isFraction(_ name: String) -> Bool {
    let parts = name.split(separator: ".", omittingEmptySubsequences: false)
    return parts.count == 2 && parts.allSatisfy { JSON.isWholeNumber(String($0)) }
  }

  /// Neither Python nor ECMAScript can leave case out of account for a part of a pattern.
  private static func anyCase(_ word: String) -> String {
    word.map { "[\($0.uppercased())\($0)]" }.joined()
  }
}

// MARK: Parts of patterns
// Without what ECMAScript and Python read differently, and right under ECMAScript's `u` flag.

extension Schema {
  /// A name, an IPv4 address, or an IPv6 address in brackets.
  static let host = #"(?:[^\s/:\[\]]+|\[[0-9A-Fa-f:.]+\])"#
  static let address = #"unix:/.+|\#(host):[0-9]{1,5}"#
  static let path = #"/[^?#\s]*"#
  /// RFC 9110 section 5.6.2.
  static let token = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"
  static let line = #"[^\u0000-\u001f\u007f]+"#
  fileprivate static let variable = #"\$\{[A-Za-z_][A-Za-z0-9_]*(?::-[^}]*)?\}"#
}

// MARK: Lists and mappings

extension Schema {
  static func list(of element: Schema, atLeastOne: Bool) -> Schema {
    var schema = Schema()
    schema.list = [("items", .object(element.members))]
    if atLeastOne { schema.list?.append(("minItems", .number("1"))) }
    schema.allowsNothing = !atLeastOne
    return schema
  }

  /// `showsDefaults`: a key that is left out has the default of its table.
  static func section<S: ConfigSection>(_ keys: [ConfigKey<S>], showsDefaults: Bool) -> Schema {
    let defaults = S()
    let properties = keys.map { key in
      let value = showsDefaults ? key.show(defaults) : .absent
      var members: [JSON.Member] = [("description", .text(comment(key, default: value)))]
      if case .scalar(let text) = value, !key.required {
        members.append(("default", JSON(plain: text)))
      }
      return (name: key.name, value: JSON.object(members + key.schema.members))
    }
    let required = keys.filter(\.required).map(\.name)
    var schema = Schema()
    schema.mapping = [("properties", .object(properties))]
    if !required.isEmpty { schema.mapping?.append(("required", .texts(required))) }
    schema.mapping?.append(("additionalProperties", .bool(false)))
    // Nothing written is a section without keys.
    schema.allowsNothing = required.isEmpty
    return schema
  }

  /// A mapping from names that the writer chooses; `names` is their pattern.
  static func named(_ names: String, _ value: Schema) -> Schema {
    var schema = Schema()
    schema.mapping = [
      ("propertyNames", .object([("pattern", .text("^(?:\(names))$"))])),
      ("additionalProperties", .object(value.members)),
    ]
    schema.allowsNothing = true
    return schema
  }
}

// MARK: As JSON

extension Schema {
  /// The keywords of this schema.
  var members: [JSON.Member] {
    let single = [words.isEmpty ? nil : [("enum", .list(words))]] + integers + [textMembers]
    let ways = single + [typed("array", list), typed("object", mapping)]
    let possible = ways.compactMap(\.self)
    guard let only = possible.first, possible.count == 1 else {
      return [("anyOf", .list(possible.map(JSON.object)))]
    }
    return only
  }

  private var textMembers: [JSON.Member]? {
    guard takesText else { return nil }
    let type: JSON = textTypes.count == 1 ? .text("string") : .texts(textTypes)
    if takesAnyText { return [("type", type)] }
    let whole = patterns.isEmpty ? "" : "^(?:\(patterns.joined(separator: "|")))$|"
    return [("type", type), ("pattern", .text(whole + Self.variable))]
  }

  private func typed(_ type: String, _ members: [JSON.Member]?) -> [JSON.Member]? {
    members.map { [("type", allowsNothing ? .texts([type, "null"]) : .text(type))] + $0 }
  }
}
