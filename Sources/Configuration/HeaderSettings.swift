// The `headers` section of a route.

/// Fields set and removed by a route.
public struct HeaderSettings: Sendable, Equatable {
  public var request = HeaderEdits()
  public var response = HeaderEdits()

  public init() {}
}

/// Removal comes first; `set` replaces every field of that name. Names compare without case.
public struct HeaderEdits: Sendable, Equatable {
  public var set: [HeaderField] = []
  public var remove: [String] = []

  public init() {}
}

/// A field as it is written on the wire. The name is a token, the value has no control character.
public struct HeaderField: Sendable, Equatable {
  public var name: String
  public var value: String

  public init(name: String, value: String) {
    self.name = name
    self.value = value
  }
}
