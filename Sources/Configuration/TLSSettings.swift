// The `tls` section of a listener. Names files; the start-up opens them.

/// TLS towards clients.
public struct TLSSettings: Sendable, Equatable {
  public enum Version: Sendable, Equatable { case tls12, tls13 }

  /// At least one. The client's SNI chooses among them; the first is the default.
  public var certificates: [CertificatePair] = []
  public var minimumVersion = Version.tls12

  public init() {}
}

extension TLSSettings: ConfigSection {
  static let keys: [ConfigKey<Self>] = [
    ConfigKey(
      "certificates", \.certificates, .list(of: .section(), atLeastOne: true), required: true,
      "Several are chosen from by the name the client asks for; the first is the default."),
    ConfigKey(
      "minimum_version", \.minimumVersion, .word([("1.2", .tls12), ("1.3", .tls13)]),
      "The oldest version of TLS a client may use."),
  ]

  static var example: Self {
    var tls = Self()
    tls.certificates = [.example]
    return tls
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
