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
  public var origins = OriginPolicy()
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

/// The host a route serves. Lower case, without port; an IPv6 literal is in brackets.
public enum HostPattern: Sendable, Hashable {
  case any
  case exact(String)
  /// `*.example.com` holds `example.com`: one label more than this, whatever it is.
  case wildcard(suffix: String)
}

/// The path a route serves. Begins with `/`; no query, no dot segment, no encoded slash.
public enum PathPattern: Sendable, Hashable {
  /// Whole segments: `/a` holds for `/a` and `/a/b`, not for `/ab`.
  case prefix(String)
  case exact(String)
}
