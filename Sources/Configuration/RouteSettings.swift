// One entry of `routes`: match, upstream, policy.
public import Bytes

/// What a request must match, where it goes, and under which policy. Exactly one of `upstreamName`,
/// `redirect` and `respond` says what becomes of it.
public struct RouteSettings: Sendable, Equatable {
  public var host = HostPattern.any
  public var path = PathPattern.prefix("/")
  /// Empty where the route answers by itself.
  public var upstreamName: String
  /// Index into `Snapshot.upstreams`, when `upstreamName` is one.
  public var upstream = 0
  public var redirect: RedirectSettings?
  public var respond: RespondSettings?
  public var rewrite = RewriteSettings()
  /// nil: nobody is asked.
  public var authorize: AuthorizeSettings?
  /// Without an `origins` section: same origin, or no Origin at all.
  public var origins = OriginPolicy(allowsSameOrigin: true, allowsMissing: true)
  public var webSocket = WebSocketSettings()
  public var headers = HeaderSettings()
  /// The global limits that a route may set for itself, with its own on top.
  public var limits = RouteLimits()
  /// The global timeouts with this route's own on top.
  public var timeouts = Timeouts()
  public var location = SourceLocation()

  public init(upstreamName: String = "", upstream: Int = 0) {
    self.upstreamName = upstreamName
    self.upstream = upstream
  }

  /// Equal but for the place in the file.
  public func isSame(as other: Self) -> Bool { withoutPlaces == other.withoutPlaces }

  private var withoutPlaces: Self {
    var copy = self
    copy.location = SourceLocation()
    copy.upstream = 0
    copy.authorize?.location = SourceLocation()
    copy.authorize?.url.location = SourceLocation()
    copy.authorize?.upstream = 0
    return copy
  }
}

extension RouteSettings: ConfigSection {
  init() { self.init(upstreamName: "") }

  static let mainKeys = ["upstream"]

  static let keys: [ConfigKey<Self>] = [
    ConfigKey(
      "host", \.host, .hostPattern,
      "The host of the request, without port; *.example.com stands for one more label; without this"
        + " key any host."),
    ConfigKey(
      "path", \.path, .pathPattern,
      "Whole segments the path begins with; \"= /ws\" is this path alone."),
    ConfigKey(
      "upstream", \.upstreamName, .upstreamName,
      "Where its requests go. Instead of it a route may have redirect or respond."),
    ConfigKey(
      "redirect", \.redirect, .redirect,
      "Where its clients are sent; a target alone, or these keys."),
    ConfigKey(
      "respond", \.respond, .whenPresent(.section()),
      "A response that never changes. Fields are added with headers."),
    ConfigKey(
      "rewrite", \.rewrite, .section(),
      "How the path is changed for the backend, in whole segments."),
    ConfigKey(
      "origins", \.origins, .originPolicy,
      "Which web pages may open a WebSocket here. Without this section: pages of the same origin,"
        + " and programs that send no Origin."),
    ConfigKey(
      "authorize", \.authorize, .whenPresent(.section()),
      "Asks an HTTP service before anything of a request, or of a WebSocket, reaches the backend."),
    ConfigKey("websocket", \.webSocket, .section(), "How WebSockets are carried."),
    ConfigKey("headers", \.headers, .section(), "Fields that are set and removed on the way."),
    ConfigKey(
      "limits", \.limits, .routeLimits,
      "For this route instead of the global ones, with the same meaning."),
    ConfigKey(
      "timeouts", \.timeouts, .routeTimeouts,
      "For this route instead of the global ones, with the same meaning."),
  ]

  static var example: Self {
    var route = Self(upstreamName: "chat")
    route.host = .exact("chat.example.com")
    route.path = .prefix("/ws")
    route.origins.patterns = ["https://app.example.com", "https://*.example.com"]
      .compactMap(OriginPattern.init(parsing:))
    route.origins.allowsMissing = false
    route.headers = .example
    route.rewrite = .example
    route.authorize = .example
    return route
  }

  /// The example, and one for each way to do without an upstream.
  static var examples: [Self] {
    var redirect = example
    redirect.upstreamName = ""
    redirect.authorize = nil
    redirect.host = .exact("www.example.com")
    redirect.path = .prefix("/")
    redirect.redirect = .example
    var respond = redirect
    respond.redirect = nil
    respond.path = .exact("/alive")
    respond.respond = .example
    return [example, redirect, respond]
  }

  mutating func begin(_ node: Node, _ reader: Reader) {
    location = node.location
    timeouts = reader.timeouts
    limits = reader.routeLimits
  }

  mutating func validate(_ written: WrittenSection, _ reader: inout Reader) {
    validateAction(written, &reader)
    validateCopies(written, &reader)
    guard written.areRight("host", "path") else { return }
    if let node = written["path"], let plain = PathPattern.plain(path.text) {
      reader.warn(
        node.location,
        "the path \(quoted(path.text)) is taken literally: \(PathPattern.noPattern);"
          + " write \(plain)")
    }
    validateRewrite(written, &reader)
    validateTarget(written, &reader)
    guard written.areRight("redirect") else { return }
    // A redirect to https takes only requests without TLS, so another may take the others.
    let scheme = redirect?.isForPlain == true ? "http " : ""
    let place = (written["path"] ?? written["host"] ?? written.node).location
    reader.claim(
      "route \(scheme)\(host.written)\(path.written)", at: place,
      otherwise: "another route has this host and path")
  }

  private static let actions = ["upstream", "redirect", "respond"]

  /// One action, and nothing that would mean something for another one alone.
  private func validateAction(_ written: WrittenSection, _ reader: inout Reader) {
    let given = Self.actions.compactMap { name in written[name].map { (name: name, node: $0) } }
    for extra in given.dropFirst() {
      reader.report(
        extra.node.location,
        "\(extra.name) cannot stand beside \(given[0].name): a route does one or the other")
    }
    if given.isEmpty, !reader.isIncomplete, !written.hasSlip(of: Self.actions) {
      reader.report(
        written.node.location, "a route needs one of the keys upstream, redirect and respond")
    }
    guard let action = given.first, given.count == 1, action.name != "upstream" else { return }
    let plain = Self()
    let idle = [
      ("rewrite", rewrite != plain.rewrite), ("websocket", webSocket != plain.webSocket),
      ("origins", origins != plain.origins), ("authorize", authorize != nil),
    ]
    for case (let name, true) in idle {
      guard let node = written[name] else { continue }
      reader.report(
        node.location, "\(name) means nothing beside \(action.name): there is no upstream")
    }
  }

  /// Which of the two the backend should believe is not for us to guess.
  private func validateCopies(_ written: WrittenSection, _ reader: inout Reader) {
    guard written.areRight("authorize", "headers"), let authorize,
      let node = written["authorize"]?["copy"]
    else { return }
    for name in authorize.copy {
      let isSet = headers.request.set.contains { $0.name.lowercased() == name.lowercased() }
      guard isSet else { continue }
      reader.report(node.location, "\(quoted(name)) is copied here and set by headers: one of them")
    }
  }

  /// A prefix that only some of the requests have would leave the others as they are.
  private func validateRewrite(_ written: WrittenSection, _ reader: inout Reader) {
    guard written.areRight("rewrite"), let node = written["rewrite"]?["strip_prefix"],
      !path.begins(with: rewrite.stripPrefix)
    else { return }
    reader.report(
      node.location,
      "the route's path \(quoted(path.written)) does not begin with"
        + " \(quoted(rewrite.stripPrefix))")
  }

  private func validateTarget(_ written: WrittenSection, _ reader: inout Reader) {
    guard written.areRight("redirect"), let node = written["redirect"],
      case .fixed(let target)? = redirect?.target, target.hasPrefix("/"),
      path.holds(String(target.prefix { $0 != "?" && $0 != "#" }))
    else { return }
    reader.report(
      (node["to"] ?? node).location,
      "\(quoted(target)) is served by this very route: clients would be sent in a circle")
  }
}

extension ConfigValue<String> {
  /// One of the names under `upstreams`.
  fileprivate static var upstreamName: Self {
    let line = Self.line("the name of an upstream", form: "NAME")
    return ConfigValue(syntax: line.syntax, form: line.form, schema: line.schema) {
      node, _, reader in
      guard let name = line.read(node, nil, &reader) else { return nil }
      guard let known = reader.upstreamNames, !known.contains(name) else { return name }
      if !reader.isIncomplete {
        reader.report(
          node.location, "no upstream is called \(quoted(name)); \(advice(name, known.sorted()))")
      }
      return nil
    } show: {
      $0.isEmpty ? .absent : line.show($0)
    }
  }

  private static func advice(_ name: String, _ known: [String]) -> String {
    if let nearest = NearestName.of(name, among: known) {
      return "did you mean \(quoted(nearest))?"
    }
    let more = known.count > 10 ? " and \(known.count - 10) more" : ""
    return "known: \(known.prefix(10).joined(separator: ", "))\(more)"
  }
}
