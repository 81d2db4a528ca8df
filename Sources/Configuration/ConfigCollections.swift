// Kinds of values that are made of others: lists, sections and named sections.

extension ConfigValue {
  /// A list, in the order of the file. Nothing written counts as an empty list.
  static func list<Element>(of element: ConfigValue<Element>, atLeastOne: Bool = false) -> Self
  where V == [Element] {
    ConfigValue(
      syntax: "a list: [\(element.syntax), …]",
      form: element.form.isEmpty ? "" : "list of \(element.form)",
      keys: element.keys.map { "\(listEntry).\($0)" },
      schema: .list(of: element.schema, atLeastOne: atLeastOne)
    ) { node, _, reader in
      let nodes: [Node]
      switch node.content {
      case .sequence(let elements): nodes = elements
      case .scalar where node.isNull: nodes = []
      case .broken: return nil
      case .scalar(let text, _):
        reader.report(node, expected: "a list", hint: "; write [\(listed(text))]")
        return nil
      case .mapping:
        reader.report(node, expected: "a list", hint: "; begin each entry with \"- \"")
        return nil
      }
      if atLeastOne, nodes.isEmpty {
        reader.report(node.location, "this list is empty: it needs at least one entry")
        return nil
      }
      // An entry that cannot be read has been reported; the others are still worth checking.
      return nodes.compactMap { element.read($0, nil, &reader) }
    } show: { value in
      .list(value.map(element.show))
    }
  }

  /// A mapping with the keys of a table. `elsewhere`: keys whose place is another section, and what is
  /// said about them.
  static func section(
    keys: [ConfigKey<V>] = V.keys, elsewhere: (names: [String], note: String) = ([], "")
  ) -> Self where V: ConfigSection {
    let names = keys.map(\.name)
    return ConfigValue(
      syntax: "a mapping with the keys \(names.joined(separator: ", "))", form: "",
      keys: keys.flatMap { key in [key.name] + key.keys.map { "\(key.name).\($0)" } },
      // What stands in for another section has that one's values for defaults.
      schema: .section(keys, showsDefaults: elsewhere.names.isEmpty)
    ) { node, current, reader in
      var section = current ?? V()
      if let advice = adviceAlone(node, keys, reader) {
        reader.report(node, expected: "a mapping", hint: advice)
        return nil
      }
      guard let entries = node.entries(reportingTo: &reader, keys: names) else { return nil }
      section.begin(node, reader)
      let unknown = entries.filter { !names.contains($0.key) }
      for entry in unknown {
        let advice =
          elsewhere.names.contains(entry.key) ? elsewhere.note : advice(entry.key, keys)
        reader.report(entry.keyLocation, "unknown key \(quoted(entry.key)); \(advice)")
      }
      let misspelt = unknown.compactMap { NearestName.of($0.key, among: names) }
      var written = WrittenSection(node: node)
      for key in keys {
        if let entry = entries.first(where: { $0.key == key.name }) {
          if !key.read(&section, entry.value, &reader) { written.wrong.insert(key.name) }
        } else if key.required {
          if !reader.isIncomplete, !misspelt.contains(key.name) {
            reader.report(node.location, "the key \(quoted(key.name)) is missing here")
          }
          written.wrong.insert(key.name)
        }
      }
      section.validate(written, &reader)
      return section
    } show: { section in
      .section(shown(section, keys))
    }
  }

  /// A mapping from names that the writer chooses to sections. `pattern`: of names that `checkName`
  /// takes.
  static func named<S: ConfigSection>(
    _ syntax: String, pattern: String,
    checkName: @escaping @Sendable (String) throws(Complaint) -> Void,
    name path: any WritableKeyPath<S, String> & Sendable
  ) -> Self where V == [S] {
    let section = ConfigValue<S>.section()
    let keys = section.keys.map { "\(listEntry).\($0)" }
    return ConfigValue(
      syntax: syntax, form: "", keys: keys, schema: .named(pattern, section.schema)
    ) { node, _, reader in
      guard let entries = node.entries(reportingTo: &reader, keys: []) else { return nil }
      return entries.compactMap { entry in
        do throws(Complaint) {
          try checkName(entry.key)
        } catch {
          reader.report(entry.keyLocation, error.message)
        }
        guard var value = section.read(entry.value, nil, &reader) else { return nil }
        value[keyPath: path] = entry.key
        return value
      }
    } show: { values in
      .section(
        values.map { value in
          ShownKey(name: value[keyPath: path], comment: "", value: section.show(value))
        })
    }
  }
}

extension Node {
  /// The entries of a mapping. An empty section (`limits:` with every line below commented out) is
  /// no mistake; a section whose presence alone means something reports it itself.
  fileprivate func entries(reportingTo reader: inout Reader, keys: [String]) -> [Entry]? {
    if case .mapping(let entries) = content { return entries }
    if isNull { return [] }
    if case .scalar(let text, _) = content,
      let key = text.split(separator: ":").first.map(String.init),
      keys.contains(key), text.hasPrefix("\(key):")
    {
      reader.report(
        self, expected: "a mapping", hint: "; put a space behind \(quoted("\(key):"))")
      return nil
    }
    let known = keys.isEmpty ? "" : "; known keys: \(keys.joined(separator: ", "))"
    reader.report(self, expected: "a mapping", hint: known)
    return nil
  }
}

/// What to do about a key that is not in the table.
private func advice<S: ConfigSection>(_ name: String, _ keys: [ConfigKey<S>]) -> String {
  let names = keys.map(\.name)
  let below = keys.filter { $0.keys.contains(name) }.map { quoted($0.name) }
  // A habit elsewhere may be the very name of a key here.
  let habit = below.isEmpty ? Habits.name(for: name, among: names) : nil
  if let nearest = habit ?? NearestName.spelled(name, among: names) {
    return "did you mean \(quoted(nearest))?"
  }
  if !below.isEmpty { return "it belongs in \(below.joined(separator: " or "))" }
  let places = places(of: name)
  // A name that is everywhere, such as "tls", says nothing about what was meant.
  if places.count == 1 || places.count == 2 {
    return "it belongs \(places.joined(separator: " or "))"
  }
  return S.keyAdvice ?? "known here: \(names.joined(separator: ", "))"
}

/// What to write where the value of a main key of the section stands in the section's place; nil: it
/// is no such value.
private func adviceAlone<S: ConfigSection>(
  _ node: Node, _ keys: [ConfigKey<S>], _ reader: Reader
) -> String? {
  guard !node.isNull else { return nil }
  let mainKeys = S.mainKeys.compactMap { name in keys.first { $0.name == name } }
  if case .scalar(let text, _) = node.content {
    if ["true", "yes", "on"].contains(text), let section = S.switchedOn {
      return "; write \(section)"
    }
    let isSwitch = ["true", "yes", "on"].contains(text) || keys.contains { $0.name == text }
    if isSwitch, let key = mainKeys.first { return "; write {\(key.name): \(key.form)}" }
  }
  return mainKeys.lazy.compactMap { adviceAlone(node, $0, reader) }.first
}

private func adviceAlone<S: ConfigSection>(
  _ node: Node, _ key: ConfigKey<S>, _ reader: Reader
) -> String? {
  func fits(_ node: Node) -> Bool {
    var section = S()
    var attempt = reader.trial
    return key.read(&section, node, &attempt)
  }
  switch node.content {
  case .scalar(let text, let plain):
    // Of a key that takes any word, `off` is none.
    let isOff = ["false", "no", "off"].contains(text)
    if isOff, !key.form.split(separator: " ").contains("off") { return nil }
    // A port alone is one of this machine.
    let isPort = key.form.contains("HOST:PORT") && UInt16(text) != nil
    let value = isPort ? "127.0.0.1:\(text)" : text
    let node = Node(content: .scalar(value, plain: plain), location: node.location)
    if fits(node) { return "; write {\(key.name): \(listed(value))}" }
    let list = Node(content: .sequence([node]), location: node.location)
    return fits(list) ? "; write {\(key.name): [\(listed(value))]}" : nil
  case .sequence: return fits(node) ? "; write {\(key.name): […]}" : nil
  case .mapping, .broken: return nil
  }
}

/// Stands in a path for an entry of a list, and for a name that the writer chooses.
private let listEntry = "-"

private let everyPath = ConfigValue<RootSettings>.section().keys

/// Where in a file the key is known: "under routes: … websocket:".
private func places(of name: String) -> [String] {
  everyPath.compactMap { path in
    let steps = path.split(separator: ".")
    guard let last = steps.last, last == name else { return nil }
    if steps.count == 1 { return "at the top level" }
    var place = "under"
    for step in steps.dropLast() { place += step == listEntry ? " …" : " \(step):" }
    return place
  }
}

private func shown<S>(_ section: S, _ keys: [ConfigKey<S>]) -> [ShownKey] where S: ConfigSection {
  let defaults = S()
  return keys.map { key in
    ShownKey(
      name: key.name, comment: comment(key, default: key.show(defaults)),
      value: key.show(section))
  }
}

/// `HELP (FORM; default DEFAULT)`: what the reference says above a key, and the schema beside it.
func comment<S>(_ key: ConfigKey<S>, default value: Shown) -> String {
  let fallback: String? =
    switch value {
    case .scalar(let text) where !key.required: "default \(text)"
    case .scalar, .secret, .list, .section, .absent: key.required ? "required" : nil
    }
  let details = [key.form.isEmpty ? nil : key.form, fallback].compactMap(\.self)
  return details.isEmpty ? key.help : "\(key.help) (\(details.joined(separator: "; ")))"
}

private func listed(_ text: String) -> String {
  text.contains { "[]{},\"#&*!|>'%@`".contains($0) } ? quoted(text) : text
}
