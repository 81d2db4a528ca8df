// A YAML file as a tree of values with their places. Nothing here knows what a key means.

/// One value of a configuration file.
struct Node: Sendable {
  enum Content: Sendable {
    /// `plain`: without quotes, so that nothing, `~` and `null` mean that there is no value.
    case scalar(String, plain: Bool)
    case sequence([Node])
    case mapping([Entry])
    /// What should be here was reported as a mistake; no more is said about it.
    case broken
  }
  struct Entry: Sendable {
    var key: String
    var keyLocation: SourceLocation
    var value: Node
  }

  var content: Content
  var location: SourceLocation

  /// Nothing is written where a value could stand.
  var isNull: Bool {
    guard case .scalar(let text, plain: true) = content else { return false }
    return ["", "~", "null", "Null", "NULL"].contains(text)
  }

  var isMapping: Bool { if case .mapping = content { true } else { false } }

  /// For messages: "found …".
  var kind: String {
    switch content {
    case .scalar: isNull ? "nothing" : "a single value"
    case .sequence: "a list"
    case .mapping: "a mapping"
    case .broken: "a mistake"
    }
  }

  /// The value of `key`, when this is a mapping that has it.
  subscript(key: String) -> Node? {
    guard case .mapping(let entries) = content else { return nil }
    return entries.first { $0.key == key }?.value
  }
}
