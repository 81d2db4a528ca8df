// One entry of `upstreams`: a named set of endpoints.
public import Bytes

/// A named set of endpoints that serve the same.
public struct UpstreamSettings: Sendable, Equatable {
  public enum Balance: Sendable, Equatable { case roundRobin }
  public enum ProxyProtocol: Sendable, Equatable { case off, v1, v2 }

  /// The Host that backends see.
  public enum Host: Sendable, Equatable {
    /// The client's.
    case preserve
    /// The endpoint's own, as it is written in `endpoints`.
    case endpoint
    case name(Authority)
  }

  public var name: String
  /// At least one. A name stands for every address it resolves to.
  public var endpoints: [EndpointSettings] = []
  public var balance = Balance.roundRobin
  public var host = Host.preserve
  /// `Forwarded` (RFC 7239) beside the X-Forwarded fields.
  public var forwarded = false
  /// What each connection to an endpoint begins with.
  public var proxyProtocol = ProxyProtocol.off
  /// nil: plain TCP.
  public var tls: UpstreamTLSSettings?
  public var location = SourceLocation()

  public init(name: String) { self.name = name }
}

/// One address of an upstream.
public struct EndpointSettings: Sendable, Equatable {
  public var address: EndpointAddress
  public var location: SourceLocation

  public init(address: EndpointAddress, location: SourceLocation = SourceLocation()) {
    self.address = address
    self.location = location
  }
}

extension UpstreamSettings: ConfigSection {
  init() { self.init(name: "") }

  static let keys: [ConfigKey<Self>] = [
    ConfigKey(
      "endpoints", \.endpoints, .list(of: .endpointSettings, atLeastOne: true), required: true,
      "Every address a name resolves to is an endpoint."),
    ConfigKey(
      "balance", \.balance, .word([("round_robin", .roundRobin)]),
      "How an endpoint is chosen."),
    ConfigKey(
      "host", \.host, .upstreamHost,
      "The Host that backends see: preserve: the client's; endpoint: the endpoint's own, without the"
        + " usual port; or this one."),
    ConfigKey(
      "forwarded", \.forwarded, .boolean,
      "Add Forwarded (RFC 7239), which says the same as the X-Forwarded fields."),
    ConfigKey(
      "proxy_protocol", \.proxyProtocol, .word([("off", .off), ("v1", .v1), ("v2", .v2)]),
      "Begin every connection with a PROXY header that names the client."),
    ConfigKey(
      "tls", \.tls, .whenPresent(.section()),
      "TLS to the endpoints; without this section it is plain."),
  ]

  static var example: Self {
    var upstream = Self(name: "chat")
    upstream.endpoints = ["10.0.0.11:3000", "chat.internal:3000"]
      .compactMap(EndpointAddress.init(parsing:)).map { EndpointSettings(address: $0) }
    upstream.tls = .example
    return upstream
  }

  mutating func begin(_ node: Node, _ reader: Reader) { location = node.location }

  mutating func validate(_ written: WrittenSection, _ reader: inout Reader) {
    for endpoint in endpoints {
      reader.claim(
        "endpoint \(location) \(endpoint.address)", at: endpoint.location,
        otherwise: "\(endpoint.address) is listed twice")
    }
    guard written.areRight("tls"), let tls, tls.verify, tls.serverName == nil else { return }
    for endpoint in endpoints {
      guard case .unix = endpoint.address else { continue }
      reader.report(
        endpoint.location,
        "a unix socket has no name to verify a certificate against: set server_name in tls")
    }
  }
}

extension ConfigValue<EndpointSettings> {
  fileprivate static var endpointSettings: Self {
    let address = ConfigValue<EndpointAddress>.endpoint
    return ConfigValue(syntax: address.syntax, form: address.form) { node, _, reader in
      address.read(node, nil, &reader)
        .map { EndpointSettings(address: $0, location: node.location) }
    } show: {
      address.show($0.address)
    }
  }
}

extension ConfigValue<UpstreamSettings.Host> {
  fileprivate static let upstreamHost = text(
    "preserve, endpoint or a host", form: "preserve | endpoint | HOST", show: written
  ) { (text) throws(Complaint) in
    if text == "preserve" { return .preserve }
    if text == "endpoint" { return .endpoint }
    let bytes = Array(text.utf8)
    let hint =
      text.contains(".") ? "" : NearestName.hint(for: text, among: ["preserve", "endpoint"])
    guard hint.isEmpty, let name = Authority(parsing: bytes.span) else {
      throw Complaint("\(quoted(text)) is not preserve, endpoint or a host\(hint)")
    }
    return .name(name)
  }

  @Sendable private static func written(_ host: UpstreamSettings.Host) -> String {
    switch host {
    case .preserve: "preserve"
    case .endpoint: "endpoint"
    case .name(let authority): authority.description
    }
  }
}

extension ConfigValue<[UpstreamSettings]> {
  /// By name. The names are known to the routes even if the upstream itself has mistakes.
  static var upstreams: Self {
    let named = Self.named("a mapping from names to upstreams", checkName: checkName, name: \.name)
    return ConfigValue(syntax: named.syntax, form: "", keys: named.keys) { node, current, reader in
      guard case .mapping(let entries) = node.content, !entries.isEmpty else {
        reader.report(node, expected: "at least one upstream: a name and its endpoints")
        return nil
      }
      reader.upstreamNames = Set(entries.map(\.key))
      return named.read(node, current, &reader)
    } show: {
      named.show($0)
    }
  }

  @Sendable private static func checkName(_ name: String) throws(Complaint) {
    let isPlain = name.utf8.allSatisfy { byte in
      ASCII.isLetter(byte) || ASCII.isDigit(byte) || "-_.".utf8.contains(byte)
    }
    guard isPlain, !name.isEmpty, name.utf8.count <= 64 else {
      throw Complaint(
        name, isNot: "a name for an upstream: use up to 64 letters, digits, \"-\", \"_\" and \".\"")
    }
  }
}
