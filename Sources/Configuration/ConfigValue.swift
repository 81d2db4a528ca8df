// How one kind of value is read from a node, described in a message and shown in the reference:
// words, booleans, text and paths. Numbers and collections have files of their own.

/// A kind of value.
struct ConfigValue<V: Sendable>: Sendable {
  /// For a message, in a sentence: "a duration such as 250ms, 5s, 2m or 1h".
  let syntax: String
  /// For the reference, short: "10ms to 24h". Empty: the example says enough.
  let form: String
  /// Of a section or a list of sections: the keys in it and below, with dots, to tell where a misplaced
  /// one belongs.
  var keys: [String] = []
  /// For editors and validators.
  let schema: Schema
  /// From the node and the value so far; nil: a mistake was reported.
  let read: @Sendable (Node, V?, inout Reader) -> V?
  let show: @Sendable (V) -> Shown
}

/// Why a text is no value of its kind, as a sentence for the person who wrote it.
struct Complaint: Error {
  let message: String

  init(_ message: String) { self.message = message }

  init(_ text: String, isNot syntax: String) { message = "\(quoted(text)) is not \(syntax)" }
}

extension ConfigValue {
  /// A single value that `parse` understands.
  static func text(
    _ syntax: String, form: String? = nil, schema: Schema,
    show: @escaping @Sendable (V) -> String?,
    parse: @escaping @Sendable (String) throws(Complaint) -> V
  ) -> Self {
    located(syntax, form: form, schema: schema, show: show) { (text, _) throws(Complaint) in
      try parse(text)
    }
  }

  /// The same, for values that remember their place or depend on it.
  static func located(
    _ syntax: String, form: String? = nil, schema: Schema,
    show: @escaping @Sendable (V) -> String?,
    parse: @escaping @Sendable (String, SourceLocation) throws(Complaint) -> V
  ) -> Self {
    ConfigValue(syntax: syntax, form: form ?? syntax, schema: schema) { node, _, reader in
      guard !node.isNull, case .scalar(let text, _) = node.content else {
        reader.report(node, expected: syntax)
        return nil
      }
      do throws(Complaint) {
        return try parse(text, node.location)
      } catch {
        reader.report(node.location, error.message)
        return nil
      }
    } show: { value in
      show(value).map { Shown.scalar($0) } ?? .absent
    }
  }

  /// The same for a secret: whoever shows the configuration of a running gateway leaves it out.
  var hidden: Self {
    ConfigValue(syntax: syntax, form: form, schema: schema, read: read) { value in
      if case .scalar(let text) = show(value) { .secret(text) } else { .absent }
    }
  }

  /// `word`, which stands for nil, or a value.
  static func word<W>(_ word: String, or value: ConfigValue<W>) -> Self where V == W? {
    let words = spellings(of: word)
    return ConfigValue(
      syntax: "\(word), or \(value.syntax)", form: "\(word) | \(value.form)",
      schema: .words([word]).or(value.schema)
    ) { node, current, reader in
      if case .scalar(let text, _) = node.content, words.contains(text) { return .some(nil) }
      let count = reader.diagnostics.count
      if let result = value.read(node, current ?? nil, &reader) { return .some(result) }
      // Who writes a number means one, unless it is 0.
      if case .scalar(let text, _) = node.content, let first = text.first, "1"..."9" ~= first {
        return nil
      }
      reader.amend(since: count, "; or write \(word)")
      return nil
    } show: {
      $0.map(value.show) ?? .scalar(word)
    }
  }

  /// nil while the key is left out.
  static func optional<W>(_ value: ConfigValue<W>) -> Self where V == W? {
    ConfigValue(syntax: value.syntax, form: value.form, schema: value.schema) {
      node, current, reader in
      value.read(node, current ?? nil, &reader).map { .some($0) }
    } show: {
      $0.map(value.show) ?? .absent
    }
  }

  /// A section that means something by being there, so that an empty one is a slip. nil while the
  /// key is left out.
  static func whenPresent<S: ConfigSection>(_ section: ConfigValue<S>) -> Self where V == S? {
    let optional = optional(section)
    return ConfigValue(
      syntax: section.syntax, form: section.form, keys: section.keys, schema: section.schema.present
    ) { node, current, reader in
      guard node.isNull else { return optional.read(node, current, &reader) }
      let defaults = S.keys.contains(where: \.required) ? "" : ", write {} for its defaults"
      reader.report(node.location, "this section is empty: fill it in\(defaults), or remove it")
      return nil
    } show: {
      optional.show($0)
    }
  }
}

/// A YAML 1.1 tool that rewrites a file turns `off` into `false`; both mean the same here.
private func spellings(of word: String) -> [String] {
  word == "off" ? ["off", "no", "false"] : [word]
}

extension ConfigValue where V: Equatable {
  /// One of a few words.
  static func word(_ words: [(name: String, value: V)]) -> Self {
    let names = words.map(\.name)
    return text(names.joined(separator: " | "), schema: .words(names)) { value in
      words.first { $0.value == value }?.name
    } parse: { (text) throws(Complaint) in
      for word in words where spellings(of: word.name).contains(text) { return word.value }
      let known = names.joined(separator: ", ")
      if names.count == 1 { throw Complaint("\(quoted(text)) is not known here: write \(known)") }
      throw Complaint(
        "\(quoted(text)) is not one of \(known)\(NearestName.hint(for: text, among: names))")
    }
  }
}

extension ConfigValue<Bool> {
  static let boolean = text("true or false", form: "true | false", schema: .boolean) {
    $0 ? "true" : "false"
  } parse: { (text) throws(Complaint) in
    switch text.lowercased() {
    case "true", "yes", "on": return true
    case "false", "no", "off": return false
    default: throw Complaint(text, isNot: "true or false")
    }
  }
}

extension ConfigValue<String> {
  /// Any text of one line that is not empty.
  static func line(_ syntax: String, form: String) -> Self {
    text(syntax, form: form, schema: .text(Schema.line, orNumber: true), show: { $0 }) {
      (text) throws(Complaint) in
      try checkLine(text, syntax)
      return text
    }
  }

  /// A path. Relative ones count from the directory of the file they are written in, so that a
  /// configuration and its certificates can be moved together.
  static let path = located(
    "the path of a file", form: "FILE", schema: .text(Schema.line, orNumber: true), show: { $0 }
  ) {
    (text, place) throws(Complaint) in
    try checkLine(text, "the path of a file")
    return FilePath.resolve(text, from: place.file)
  }

  private static func checkLine(_ text: String, _ syntax: String) throws(Complaint) {
    if text.isEmpty { throw Complaint("this is empty: expected \(syntax)") }
    if text.unicodeScalars.contains(where: { $0.value < 0x20 || $0.value == 0x7F }) {
      throw Complaint("\(quoted(text)) has a control character in it")
    }
  }
}
