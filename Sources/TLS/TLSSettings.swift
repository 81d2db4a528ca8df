// What a context is made from. Plain values: whoever reads the files (at start and at a reload)
// passes their bytes, so that nothing here touches the file system.

public enum TLSVersion: Sendable, Hashable {
  case tls12, tls13

  /// As the configuration and the logs write it.
  public var word: StaticString { self == .tls13 ? "1.3" : "1.2" }
}

/// One certificate with its key, both PEM (RFC 7468).
public struct CertificateSource: Sendable {
  /// The leaf first, then the intermediate certificates in order.
  public var certificatePEM: [UInt8]
  /// Without a passphrase.
  public var keyPEM: [UInt8]
  /// What failures and warnings call it: usually the path of the certificate.
  public var name: String

  public init(certificatePEM: [UInt8], keyPEM: [UInt8], name: String) {
    self.certificatePEM = certificatePEM
    self.keyPEM = keyPEM
    self.name = name
  }
}

/// What is asked of clients.
public struct ClientAuthentication: Sendable {
  /// The authorities whose certificates count.
  public var caPEM: [UInt8]
  /// Who has none is refused; otherwise only a wrong one is.
  public var isRequired: Bool

  public init(caPEM: [UInt8], isRequired: Bool) {
    self.caPEM = caPEM
    self.isRequired = isRequired
  }
}

/// For a listener.
public struct ServerTLS: Sendable {
  /// The first one answers when no name fits, or none was sent.
  public var certificates: [CertificateSource]
  public var minimumVersion: TLSVersion
  /// ALPN names, most preferred first; empty = ALPN is not answered.
  public var protocols: [String]
  /// Nil: clients are not asked for certificates.
  public var clients: ClientAuthentication?

  public init(
    certificates: [CertificateSource], minimumVersion: TLSVersion = .tls12,
    protocols: [String] = [], clients: ClientAuthentication? = nil
  ) {
    self.clients = clients
    self.certificates = certificates
    self.minimumVersion = minimumVersion
    self.protocols = protocols
  }
}

/// For connections to an upstream.
public struct ClientTLS: Sendable {
  /// False takes any certificate of any name. For tests and closed networks only.
  public var verify: Bool
  /// The only authorities to trust; nil = those of the system.
  public var caPEM: [UInt8]?
  /// ALPN names to offer, most preferred first; empty = no ALPN.
  public var protocols: [String]

  public init(verify: Bool = true, caPEM: [UInt8]? = nil, protocols: [String] = []) {
    self.verify = verify
    self.caPEM = caPEM
    self.protocols = protocols
  }
}
