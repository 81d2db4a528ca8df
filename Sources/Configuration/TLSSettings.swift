// The `tls` section of a listener. Names files; the start-up opens them.

/// TLS towards clients.
public struct TLSSettings: Sendable, Equatable {
  public enum Version: Sendable, Equatable { case tls12, tls13 }
  /// Whether clients are asked for a certificate, and whether they need one.
  public enum ClientAuth: Sendable, Equatable { case none, optional, required }

  /// At least one. The client's SNI chooses among them; the first is the default.
  public var certificates: [CertificatePair] = []
  public var minimumVersion = Version.tls12
  public var clientAuth = ClientAuth.none
  /// Path of a PEM file: the authorities whose certificates clients may show.
  public var clientCA: String?
  public var clientCALocation = SourceLocation()

  public init() {}
}

extension TLSSettings: ConfigSection {
  static let switchedOn: String? = "{certificates: [{certificate: FILE, key: FILE}]}"

  static let keys: [ConfigKey<Self>] = [
    ConfigKey(
      "certificates", \.certificates, .list(of: .section(), atLeastOne: true), required: true,
      "Several are chosen from by the name the client asks for; the first is the default."),
    ConfigKey(
      "minimum_version", \.minimumVersion, .word([("1.2", .tls12), ("1.3", .tls13)]),
      "The oldest version of TLS a client may use."),
    ConfigKey(
      "client_auth", \.clientAuth,
      .word([("none", .none), ("optional", .optional), ("required", .required)]),
      "Ask clients for a certificate. optional: one that is wrong is refused; required: so is none."
    ),
    ConfigKey(
      "client_ca", \.clientCA, .optional(.path),
      "PEM file of the authorities whose certificates clients may show."),
  ]

  static var example: Self {
    var tls = Self()
    tls.certificates = [.example]
    tls.clientAuth = .optional
    tls.clientCA = "/etc/bascule/tls/clients.pem"
    return tls
  }

  mutating func begin(_ node: Node, _ reader: Reader) {
    clientCALocation = node["client_ca"]?.location ?? node.location
  }

  mutating func validate(_ written: WrittenSection, _ reader: inout Reader) {
    guard written.areRight("client_auth", "client_ca") else { return }
    if clientAuth != .none, clientCA == nil, let node = written["client_auth"] {
      reader.report(node.location, "client_auth needs client_ca: whose certificates are right?")
    }
    if clientAuth == .none, let node = written["client_ca"] {
      reader.report(node.location, "client_ca means nothing without client_auth")
    }
  }
}

/// Paths of a certificate chain and its private key, both PEM. A relative path has been resolved
/// against the directory of the file it was written in.
public struct CertificatePair: Sendable, Equatable {
  public var certificate = ""
  public var key = ""
  public var location = SourceLocation()
  /// Where each of the two is written.
  public var certificateLocation = SourceLocation()
  public var keyLocation = SourceLocation()

  public init() {}
}

extension CertificatePair: ConfigSection {
  static let keys: [ConfigKey<Self>] = [
    ConfigKey(
      "certificate", \.certificate, .path, required: true,
      "The certificate and its chain, PEM."),
    ConfigKey(
      "key", \.key, .path, required: true,
      "Its private key, PEM. A file that its mode lets everybody read, or others write, is refused:"
        + " chmod 600, or 640 with the gateway's group."),
  ]

  static var example: Self {
    var pair = Self()
    pair.certificate = "/etc/bascule/tls/fullchain.pem"
    pair.key = "/etc/bascule/tls/privkey.pem"
    return pair
  }

  mutating func begin(_ node: Node, _ reader: Reader) {
    location = node.location
    certificateLocation = node["certificate"]?.location ?? location
    keyLocation = node["key"]?.location ?? location
  }
}
