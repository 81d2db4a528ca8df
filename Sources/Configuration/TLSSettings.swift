// The `tls` section of a listener. Names files; the start-up opens them.

/// TLS towards clients.
public struct TLSSettings: Sendable, Equatable {
  public enum Version: Sendable, Equatable { case tls12, tls13 }

  /// At least one. The client's SNI chooses among them; the first is the default.
  public var certificates: [CertificatePair] = []
  public var minimumVersion = Version.tls12

  public init() {}
}

/// Paths of a certificate chain and its private key, both PEM. A relative path has been resolved
/// against the directory of the file it was written in.
public struct CertificatePair: Sendable, Equatable {
  public var certificate = ""
  public var key = ""
  public var location = SourceLocation()

  public init() {}
}
