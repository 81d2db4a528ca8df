// One entry of `upstreams`: a named set of endpoints.
public import Bytes

/// A named set of endpoints that serve the same.
public struct UpstreamSettings: Sendable, Equatable {
  public enum Balance: Sendable, Equatable { case roundRobin, leastConnections, randomTwo, hash }
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
  /// Requests that wait at most while every endpoint has its `connectionsMax`.
  public var queue = 128
  /// What each connection to an endpoint begins with.
  public var proxyProtocol = ProxyProtocol.off
  /// What `hash` balances by; nil: the client's address.
  public var hash: ClientKey?
  /// nil: requests of one client may go anywhere.
  public var sticky: StickySettings?
  /// nil: endpoints are judged by what requests meet only.
  public var health: HealthSettings?
  /// nil: plain TCP.
  public var tls: UpstreamTLSSettings?
  public var location = SourceLocation()

  public init(name: String) { self.name = name }

  /// Equal but for the place in the file.
  public func isSame(as other: Self) -> Bool { withoutPlaces == other.withoutPlaces }

  private var withoutPlaces: Self {
    var copy = self
    copy.location = SourceLocation()
    for index in endpoints.indices { copy.endpoints[index].location = SourceLocation() }
    copy.tls?.location = SourceLocation()
    return copy
  }
}

extension UpstreamSettings: ConfigSection {
  init() { self.init(name: "") }

  static let mainKeys = ["endpoints"]

  static let keys: [ConfigKey<Self>] = [
    ConfigKey(
      "endpoints", \.endpoints, .list(of: .endpointSettings, atLeastOne: true), required: true,
      "Addresses, or mappings with the keys below. Every address a name resolves to is an endpoint."
    ),
    ConfigKey(
      "balance", \.balance,
      .word([
        ("round_robin", .roundRobin), ("least_connections", .leastConnections),
        ("random_two", .randomTwo), ("hash", .hash),
      ]),
      "How an endpoint is chosen. round_robin: in turn; least_connections: the one with the fewest"
        + " for its weight; random_two: the better of two at random; hash: always the same one for"
        + " the same client."),
    ConfigKey(
      "hash", \.hash, .optional(.clientKey),
      "For balance: hash, what tells one client from another; without this key its address. Requests"
        + " without that field or cookie are taken in turn."),
    ConfigKey(
      "sticky", \.sticky, .whenPresent(.section()),
      "Keeps a client at the endpoint it was at before, or that its requests have in common. The"
        + " first of cookie, header and client_address decides; without any, balance does."),
    ConfigKey(
      "queue", \.queue, .integer(0...100_000),
      "Requests that wait while every endpoint has its max_connections; more, or those that wait"
        + " for longer than timeouts.queue, get 503."),
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
      "health", \.health, .whenPresent(.section()),
      "Checks of every endpoint. Without this section an endpoint is taken out only when connects to"
        + " it fail or when it answers 5xx again and again; with it also before a client meets that."
    ),
    ConfigKey(
      "tls", \.tls, .whenPresent(.section()),
      "TLS to the endpoints; without this section it is plain."),
  ]

  static var example: Self {
    var upstream = Self(name: "chat")
    upstream.endpoints = [.example]
    upstream.balance = .hash
    upstream.hash = .address
    upstream.sticky = .example
    upstream.health = .example
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
    if let node = written["hash"], written.areRight("balance", "hash"), balance != .hash {
      reader.report(node.location, "hash is for balance: hash, which is not set here")
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

extension ConfigValue<UpstreamSettings.Host> {
  fileprivate static let upstreamHost = text(
    "preserve, endpoint or a host", form: "preserve | endpoint | HOST",
    schema: .words(["preserve", "endpoint"]).or(.text(Schema.host + "(?::[0-9]{1,5})?")),
    show: written
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
    let named = Self.named(
      "a mapping from names to upstreams", pattern: "[0-9A-Za-z_.-]{1,64}", checkName: checkName,
      name: \.name)
    return ConfigValue(
      syntax: named.syntax, form: "", keys: named.keys, schema: named.schema.present
    ) { node, current, reader in
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
