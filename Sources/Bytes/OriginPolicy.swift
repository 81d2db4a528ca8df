// Which origins a route takes: patterns from the configuration, the words that stand for more, and
// the verdict on one request. The caller does the refusing, logging and counting.

/// One entry of an allow list: an origin, or `*.` in place of its leftmost label.
public struct OriginPattern: Sendable, Hashable {
  private let origin: Origin
  /// The pattern's host is what follows exactly one label of the origin's.
  private let isWildcard: Bool

  /// `https://a.example`, `https://*.a.example:8443`, `capacitor://localhost`, `null`. Nil when it
  /// is not of origin form; a wildcard stands only before a name, not before an address.
  public init?(parsing text: String) {
    var bytes = Array(text.utf8)
    isWildcard = text.contains("://*.")
    if isWildcard, let star = bytes.firstIndex(of: UInt8(ascii: "*")) {
      bytes.removeSubrange(star...(star + 1))
    }
    guard let origin = Origin(parsing: bytes.span) else { return nil }
    if isWildcard {
      guard case .tuple(_, let host, _) = origin, Self.isName(host) else { return nil }
    }
    self.origin = origin
  }

  private static func isName(_ host: String) -> Bool {
    !host.isEmpty && !host.hasPrefix("[") && IPAddress(parsing: host) == nil
  }

  public func matches(_ candidate: Origin) -> Bool {
    guard isWildcard else { return candidate == origin }
    guard case .tuple(let scheme, let suffix, let port) = origin,
      case .tuple(let candidateScheme, let host, let candidatePort) = candidate,
      scheme == candidateScheme, port == candidatePort
    else { return false }
    guard let dot = host.utf8.firstIndex(of: UInt8(ascii: ".")) else { return false }
    return host[host.utf8.index(after: dot)...] == suffix
  }
}

extension OriginPattern: CustomStringConvertible {
  /// As the configuration would write it.
  public var description: String {
    guard isWildcard, case .tuple(let scheme, let host, let port) = origin else {
      return origin.description
    }
    return Origin.tuple(scheme: scheme, host: "*.\(host)", port: port).description
  }
}

/// The `origins` of a route. Without that section: same-origin, and a missing Origin is allowed.
public struct OriginPolicy: Sendable, Equatable {
  public var patterns: [OriginPattern]
  /// The word `any`: no request is refused.
  public var allowsAny: Bool
  /// The word `same-origin`: the request's own scheme and authority.
  public var allowsSameOrigin: Bool
  /// Requests without an Origin, which is how programs other than browsers come.
  public var allowsMissing: Bool
  /// The caller logs and counts a refusal but lets the request through.
  public var reportOnly: Bool

  public init(
    patterns: [OriginPattern] = [], allowsAny: Bool = false, allowsSameOrigin: Bool = true,
    allowsMissing: Bool = true, reportOnly: Bool = false
  ) {
    self.patterns = patterns
    self.allowsAny = allowsAny
    self.allowsSameOrigin = allowsSameOrigin
    self.allowsMissing = allowsMissing
    self.reportOnly = reportOnly
  }

  public enum Verdict: Sendable, Equatable {
    case allowed
    case refused(Reason)
  }

  public enum Reason: Sendable, Equatable {
    /// No Origin field.
    case missing
    /// The value is not one origin.
    case malformed
    /// More than one Origin field.
    case duplicate
    case notListed
    /// It would be allowed with http and https exchanged: TLS may end before this gateway.
    case schemeDiffers

    /// For log lines.
    public var word: StaticString {
      switch self {
      case .missing: "missing"
      case .malformed: "malformed"
      case .duplicate: "duplicate"
      case .notListed: "not-listed"
      case .schemeDiffers: "scheme-differs"
      }
    }
  }

  /// Judges the values of all Origin fields of one request, trimmed of blanks. `requestIsHTTPS` and
  /// `authority` are what the client connected with, as far as the gateway trusts to know it.
  public func check(
    _ origins: [ArraySlice<UInt8>], requestIsHTTPS: Bool, authority: Authority?
  ) -> Verdict {
    if allowsAny { return .allowed }
    guard let value = origins.first else { return allowsMissing ? .allowed : .refused(.missing) }
    guard origins.count == 1 else { return .refused(.duplicate) }
    guard let origin = Origin(parsing: value.span) else { return .refused(.malformed) }
    if allows(origin, requestIsHTTPS: requestIsHTTPS, authority: authority) { return .allowed }
    if let other = origin.withOtherScheme,
      allows(other, requestIsHTTPS: requestIsHTTPS, authority: authority)
    {
      return .refused(.schemeDiffers)
    }
    return .refused(.notListed)
  }

  private func allows(_ origin: Origin, requestIsHTTPS: Bool, authority: Authority?) -> Bool {
    if allowsSameOrigin, let authority {
      let own = Origin.tuple(
        scheme: requestIsHTTPS ? "https" : "http", host: authority.host,
        port: authority.effectivePort(https: requestIsHTTPS))
      if origin == own { return true }
    }
    return patterns.contains { $0.matches(origin) }
  }
}
