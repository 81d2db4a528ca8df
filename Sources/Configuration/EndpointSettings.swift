// One entry of an upstream's `endpoints`: an address alone, or a mapping that says more about it.
public import Bytes

/// One address of an upstream, or one name that stands for several, which then share nothing but
/// what is written here.
public struct EndpointSettings: Sendable, Equatable {
  public var address: EndpointAddress
  /// How much it gets, in comparison with the others.
  public var weight = 1
  /// Exchanges and WebSockets at once, counted over all workers; nil: no limit.
  public var connectionsMax: Int?
  public var location: SourceLocation

  public init(address: EndpointAddress, location: SourceLocation = SourceLocation()) {
    self.address = address
    self.location = location
  }
}

extension EndpointSettings: ConfigSection {
  /// `address` is required, so that this placeholder never leaves the loader.
  init() { self.init(address: .unix("")) }

  static let keys: [ConfigKey<Self>] = [
    ConfigKey(
      "address", \.address, .endpoint, required: true,
      "Every address a name resolves to is an endpoint."),
    ConfigKey(
      "weight", \.weight, .integer(1...100),
      "How much it gets, in comparison with the others."),
    ConfigKey(
      "max_connections", \.connectionsMax, .word("off", or: .integer(1...1_000_000)),
      "Requests and WebSockets at once, over all workers; with that many it gets no more."),
  ]

  static var example: Self {
    var endpoint = Self()
    endpoint.address = EndpointAddress(parsing: "chat.internal:3000") ?? endpoint.address
    return endpoint
  }

  mutating func begin(_ node: Node, _ reader: Reader) { location = node.location }
}

extension ConfigValue<EndpointSettings> {
  static var endpointSettings: Self {
    let section = Self.section()
    let address = ConfigValue<EndpointAddress>.endpoint
    return ConfigValue(
      syntax: address.syntax, form: address.form, keys: section.keys,
      schema: address.schema.or(section.schema)
    ) { node, _, reader in
      if case .mapping = node.content { return section.read(node, nil, &reader) }
      return address.read(node, nil, &reader)
        .map { EndpointSettings(address: $0, location: node.location) }
    } show: {
      section.show($0)
    }
  }
}
