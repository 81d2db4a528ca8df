// The `tls` section of an upstream. Names files; the start-up opens them.
import Bytes

/// TLS towards an upstream.
public struct UpstreamTLSSettings: Sendable, Equatable {
  /// The name to send as SNI and to verify; nil: the endpoint's host.
  public var serverName: String?
  public var verify = true
  /// Path of a PEM file of authorities; nil: the system's.
  public var ca: String?
  public var location = SourceLocation()

  public init() {}
}

extension UpstreamTLSSettings: ConfigSection {
  static let switchedOn: String? = "{}"

  static let keys: [ConfigKey<Self>] = [
    ConfigKey(
      "server_name", \.serverName, .optional(.serverName),
      "The name to ask for and to find in the certificate; without it the endpoint's own host."),
    ConfigKey(
      "verify", \.verify, .boolean,
      "Whether the certificate must be valid. Only ever false for a test."),
    ConfigKey(
      "ca", \.ca, .optional(.path),
      "PEM file of the authorities to trust; without it the system's."),
  ]

  static var example: Self {
    var tls = Self()
    tls.serverName = "chat.internal"
    tls.ca = "/etc/ssl/certs/ca-certificates.crt"
    return tls
  }

  mutating func begin(_ node: Node, _ reader: Reader) { location = node.location }
}

extension ConfigValue<String> {
  fileprivate static let serverName = text(
    "a host name without port", form: "HOST", schema: .text(Schema.host, orNumber: true),
    show: { $0 }
  ) { (text) throws(Complaint) in
    let bytes = Array(text.utf8)
    guard let authority = Authority(parsing: bytes.span), authority.port == nil else {
      throw Complaint(text, isNot: "a host name without port, such as chat.internal")
    }
    return authority.host
  }
}
