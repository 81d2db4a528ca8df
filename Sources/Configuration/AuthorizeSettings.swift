// The `authorize` section of a route: the HTTP service that is asked whether a request may pass, what
// it is told, and what its answer adds to the request.
public import Bytes

/// Where a service is asked. No fragment and no user: neither would be sent.
public struct AuthorizeURL: Sendable, Equatable {
  public var isHTTPS = false
  public var address: HostPort
  /// Path and query.
  public var target = "/"
  public var location = SourceLocation()

  init(address: HostPort) { self.address = address }

  /// `http://auth.internal:9000`. No upstream can be called so.
  var origin: String { "\(isHTTPS ? "https" : "http")://\(address)" }
}

public struct AuthorizeSettings: Sendable, Equatable {
  /// What becomes of a request when the service cannot say.
  public enum OnFailure: Sendable, Equatable { case refuse, allow }

  public var url: AuthorizeURL
  /// Fields of the client's request that the service is told.
  public var headers = ["Authorization", "Cookie"]
  /// Fields of the service's answer that the backend is told, and the client may not say itself.
  public var copy: [String] = []
  public var timeout = TimeSpan.seconds(5)
  public var onFailure = OnFailure.refuse
  public var cache: AuthorizeCacheSettings?
  /// Path of a PEM file of authorities; nil: the system's.
  public var ca: String?
  public var location = SourceLocation()
  /// Index into `Snapshot.upstreams`: the service, with a name of its own.
  public var upstream = 0

  public init(address: HostPort) { url = AuthorizeURL(address: address) }
}

extension AuthorizeSettings: ConfigSection {
  /// `url` is required, so that this placeholder never leaves the loader.
  init() { self.init(address: HostPort(.v4(0), port: 0)) }

  static let mainKeys = ["url"]

  static let keys: [ConfigKey<Self>] = [
    ConfigKey(
      "url", \.url, .authorizeURL, required: true,
      "Where it is asked, with GET and without the body. 2xx lets the request pass; any other status"
        + " below 500 goes to the client as it is, with its fields and its body. Method, path and"
        + " client are told in X-Forwarded-Method, -Uri, -Proto, -Host and -For."),
    ConfigKey(
      "headers", \.headers, .list(of: .askedName),
      "Fields of the client's request that the service sees. No others."),
    ConfigKey(
      "copy", \.copy, .list(of: .headerName),
      "Fields of its 2xx that the backend sees. What a client sends under these names is dropped."),
    ConfigKey(
      "timeout", \.timeout, .duration(.milliseconds(10)...(.seconds(300))),
      "For the whole head of its answer."),
    ConfigKey(
      "on_failure", \.onFailure, .word([("refuse", .refuse), ("allow", .allow)]),
      "When it cannot be reached, is too slow, or answers 5xx or nonsense: refuse: 503; allow: the"
        + " request passes, without fields of the service."),
    ConfigKey(
      "cache", \.cache, .whenPresent(.section()),
      "Keeps what it has let through, for requests of this route with the same token. It is not"
        + " asked again for another path, method or host: only where the token alone decides."),
    ConfigKey(
      "ca", \.ca, .optional(.path),
      "For https, a PEM file of the authorities to trust; without it the system's."),
  ]

  static var example: Self {
    var authorize = Self()
    if let address = HostPort(parsing: "auth.internal:9443") { authorize.url.address = address }
    authorize.url.isHTTPS = true
    authorize.url.target = "/verify"
    authorize.copy = ["X-User"]
    authorize.cache = .example
    authorize.ca = "/etc/ssl/certs/ca-certificates.crt"
    return authorize
  }

  mutating func begin(_ node: Node, _ reader: Reader) { location = node.location }

  mutating func validate(_ written: WrittenSection, _ reader: inout Reader) {
    if let node = written["ca"], written.areRight("url"), !url.isHTTPS {
      reader.report(node.location, "ca is for https, and the url is http")
    }
    guard written.areRight("headers", "cache"), let by = cache?.by, let name = by.fieldName else {
      return
    }
    // Otherwise the service has never seen what its verdict would be kept under.
    if !headers.contains(where: { $0.lowercased() == name }) {
      let place = written["cache"]?["by"] ?? written.node
      reader.report(
        place.location, "the service is not told \(quoted(name)): it has to be among headers")
    }
  }
}

/// Verdicts that are kept. Only positive ones, and never without the token.
public struct AuthorizeCacheSettings: Sendable, Equatable {
  /// What the token is: a field, or a cookie.
  public var by: ClientKey
  public var span = TimeSpan.seconds(10)

  public init(by key: ClientKey) { by = key }
}

extension AuthorizeCacheSettings: ConfigSection {
  /// `by` is required, so that this placeholder never leaves the loader.
  init() { self.init(by: .header("authorization")) }

  static let keys: [ConfigKey<Self>] = [
    ConfigKey(
      "by", \.by, .tokenKey, required: true,
      "The token. Requests without it are asked about every time."),
    ConfigKey(
      "for", \.span, .duration(.milliseconds(100)...(.seconds(3600))),
      "A token that is revoked is good for this long."),
  ]
}

extension ClientKey {
  /// The field it is in, in lower case.
  fileprivate var fieldName: String? {
    switch self {
    case .address: nil
    case .header(let name): name
    case .cookie: "cookie"
    }
  }
}

// MARK: The service as an upstream

extension RouteSettings {
  /// Adds the service to the end of `upstreams`, or finds it there behind the `first` ones, which have
  /// been configured.
  mutating func addService(to upstreams: inout [UpstreamSettings], behind first: Int) {
    guard let service = authorize?.service else { return }
    let known = upstreams.indices.dropFirst(first).first { upstreams[$0].name == service.name }
    authorize?.upstream = known ?? upstreams.count
    if known == nil { upstreams.append(service) }
  }
}

extension AuthorizeSettings {
  fileprivate var service: UpstreamSettings {
    // Whom it trusts is part of what it is.
    var service = UpstreamSettings(name: url.origin + (ca.map { " (\($0))" } ?? ""))
    service.endpoints = [
      EndpointSettings(address: .hostPort(url.address), location: url.location)
    ]
    service.host = .endpoint
    service.location = url.location
    guard url.isHTTPS else { return service }
    var tls = UpstreamTLSSettings()
    tls.ca = ca
    tls.location = location
    service.tls = tls
    return service
  }
}

// MARK: Values

extension ConfigValue<AuthorizeURL> {
  fileprivate static let authorizeURL = located(
    "a URL such as http://127.0.0.1:9000/verify", form: "http[s]://HOST[:PORT][/PATH]",
    schema: .text(#"[Hh][Tt][Tt][Pp][Ss]?://[^\s#]+"#), show: written
  ) { (text, place) throws(Complaint) in
    var url = try parse(text)
    url.location = place
    return url
  }

  @Sendable private static func written(_ url: AuthorizeURL) -> String { url.origin + url.target }

  private static func parse(_ text: String) throws(Complaint) -> AuthorizeURL {
    guard text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && !#""<>\^`{|}"#.utf8.contains($0) })
    else { throw Complaint("\(quoted(text)) has a character that must be percent-encoded") }
    let lowered = text.lowercased()
    guard let scheme = ["http://", "https://"].first(where: lowered.hasPrefix) else {
      throw Complaint(text, isNot: "a URL such as http://127.0.0.1:9000/verify")
    }
    let rest = text.dropFirst(scheme.count)
    let authority = String(rest.prefix { !"/?#".contains($0) })
    let isHTTPS = scheme == "https://"
    let behind = authority.split(separator: "]", omittingEmptySubsequences: false).last
    let written = behind?.contains(":") == true ? authority : "\(authority):\(isHTTPS ? 443 : 80)"
    guard let address = HostPort(parsing: written), address.port != 0 else {
      throw Complaint("\(quoted(text)) has no host that could be connected to")
    }
    let target = rest.dropFirst(authority.count)
    if target.contains("#") {
      throw Complaint("\(quoted(text)) has a fragment (#), which is never sent")
    }
    var url = AuthorizeURL(address: address)
    url.isHTTPS = isHTTPS
    url.target = target.hasPrefix("/") ? String(target) : "/\(target)"
    return url
  }
}

extension ConfigValue<String> {
  /// What the gateway tells a service itself may not come from a client.
  fileprivate static let askedName = text(
    "the name of a field", form: "NAME", schema: .text(Schema.token, orNumber: true), show: { $0 }
  ) { (text) throws(Complaint) in
    try checkFieldName(text)
    let lowered = text.lowercased()
    let isOurs = ["x-real-ip", "x-request-id", "via", "expect"].contains(lowered)
    if isOurs || lowered.hasPrefix("x-forwarded-") {
      throw Complaint("\(quoted(text)) is what the gateway itself says about a request")
    }
    return text
  }
}
