// One row per key of a section. Parser, default, the list of known keys in an error, the reference
// and the schema all come from the row; a new key is a property and a row, in the section's file.

/// A part of the configuration that is written as a mapping.
protocol ConfigSection: Sendable {
  /// Every key left out.
  init()
  /// In the order of the reference, which is also the order of reading.
  static var keys: [ConfigKey<Self>] { get }
  /// Keys whose value is often written in the section's own place, the most important first.
  static var mainKeys: [String] { get }
  /// What to write instead of `true`, where the first of the main keys does not say it.
  static var switchedOn: String? { get }
  /// What to do about a key that is known nowhere; nil: the keys of this section are listed.
  static var keyAdvice: String? { get }
  /// What the reference shows: every key with a value that loads.
  static var example: Self { get }
  /// Before the keys are read: takes what comes from elsewhere.
  mutating func begin(_ node: Node, _ reader: Reader)
  /// After the keys were read: reports what contradicts each other. Looks only at keys that are
  /// `right`, because the others still have their defaults and have been reported.
  mutating func validate(_ written: WrittenSection, _ reader: inout Reader)
}

extension ConfigSection {
  static var mainKeys: [String] { [] }
  static var switchedOn: String? { nil }
  static var keyAdvice: String? { nil }
  static var example: Self { Self() }
  mutating func begin(_ node: Node, _ reader: Reader) {}
  mutating func validate(_ written: WrittenSection, _ reader: inout Reader) {}
}

/// A section as it stands in the file, after its keys were read.
struct WrittenSection {
  let node: Node
  /// Keys with a mistake, and required keys that are missing.
  var wrong: Set<String> = []

  func areRight(_ keys: String...) -> Bool { wrong.isDisjoint(with: keys) }

  /// nil: the key is left out.
  subscript(key: String) -> Node? { node[key] }

  /// A key is there that is probably a misspelt one of `names`.
  func hasSlip(of names: [String]) -> Bool {
    guard case .mapping(let entries) = node.content else { return false }
    return entries.contains { NearestName.of($0.key, among: names) != nil }
  }
}

/// One key of `Section`.
struct ConfigKey<Section: Sendable>: Sendable {
  let name: String
  let help: String
  let form: String
  /// The keys below this one, with dots: "websocket.mode".
  let keys: [String]
  let required: Bool
  let schema: Schema
  /// false: a mistake was reported.
  let read: @Sendable (inout Section, Node, inout Reader) -> Bool
  let show: @Sendable (Section) -> Shown

  init<V>(
    _ name: String, _ path: any WritableKeyPath<Section, V> & Sendable, _ value: ConfigValue<V>,
    required: Bool = false, _ help: String
  ) {
    self.name = name
    self.help = help
    self.form = value.form
    self.keys = value.keys
    self.required = required
    self.schema = value.schema
    read = { section, node, reader in
      guard let result = value.read(node, section[keyPath: path], &reader) else { return false }
      section[keyPath: path] = result
      return true
    }
    show = { value.show($0[keyPath: path]) }
  }
}

/// A value as the reference and the canonical dump write it.
enum Shown: Sendable, Equatable {
  /// Not written at all.
  case absent
  case scalar(String)
  /// A single value that only the file itself may show.
  case secret(String)
  case list([Shown])
  case section([ShownKey])
}

struct ShownKey: Sendable, Equatable {
  var name: String
  var comment: String
  var value: Shown
}
