// One entry of `routes`: match, upstream, policy.
public import Bytes

/// What a request must match, where it goes, and under which policy.
public struct RouteSettings: Sendable, Equatable {
  public var host = HostPattern.any
  public var path = PathPattern.prefix("/")
  public var upstreamName: String
  /// Index into `Snapshot.upstreams`.
  public var upstream = 0
  /// Without an `origins` section: same origin, or no Origin at all.
  public var origins = OriginPolicy(allowsSameOrigin: true, allowsMissing: true)
  public var webSocket = WebSocketSettings()
  public var headers = HeaderSettings()
  /// The global timeouts with this route's own on top.
  public var timeouts = Timeouts()
  public var location = SourceLocation()

  public init(upstreamName: String = "", upstream: Int = 0) {
    self.upstreamName = upstreamName
    self.upstream = upstream
  }
}

extension RouteSettings: ConfigSection {
  init() { self.init(upstreamName: "") }

  static let keys: [ConfigKey<Self>] = [
    ConfigKey(
      "host", \.host, .hostPattern,
      "The host of the request, without port; *.example.com stands for one more label; without this"
        + " key any host."),
    ConfigKey(
      "path", \.path, .pathPattern,
      "Whole segments the path begins with; \"= /ws\" is this path alone."),
    ConfigKey(
      "upstream", \.upstreamName, .upstreamName, required: true,
      "Where its requests go."),
    ConfigKey(
      "origins", \.origins, .originPolicy,
      "Which web pages may open a WebSocket here. Without this section: pages of the same origin,"
        + " and programs that send no Origin."),
    ConfigKey("websocket", \.webSocket, .section(), "How WebSockets are carried."),
    ConfigKey("headers", \.headers, .section(), "Fields that are set and removed on the way."),
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
    return route
  }

  mutating func begin(_ node: Node, _ reader: Reader) {
    location = node.location
    timeouts = reader.timeouts
  }

  mutating func validate(_ written: WrittenSection, _ reader: inout Reader) {
    guard written.areRight("host", "path") else { return }
    let place = (written["path"] ?? written["host"] ?? written.node).location
    reader.claim(
      "route \(host.written)\(path.written)", at: place,
      otherwise: "another route has this host and path")
  }
}

extension ConfigValue<String> {
  /// One of the names under `upstreams`.
  fileprivate static var upstreamName: Self {
    let line = Self.line("the name of an upstream", form: "NAME")
    return ConfigValue(syntax: line.syntax, form: line.form) { node, _, reader in
      guard let name = line.read(node, nil, &reader) else { return nil }
      guard let known = reader.upstreamNames, !known.contains(name) else { return name }
      if !reader.isIncomplete {
        reader.report(
          node.location, "no upstream is called \(quoted(name)); \(advice(name, known.sorted()))")
      }
      return nil
    } show: {
      line.show($0)
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
