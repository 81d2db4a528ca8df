// What all workers of a process share: compiled from the snapshot at start, never changed after.

import Bytes
import Configuration
import TLS
import Telemetry
import Wire

typealias RouteTimeouts = Timeouts

/// A route as the data path uses it.
final class RoutePlan: Sendable {
  let name: String
  /// Not to be used where the route answers by itself, with `redirect` or `respond`.
  let upstream: Int
  let redirect: RedirectSettings?
  let respond: RespondSettings?
  let rewrite: PathRewrite
  /// Bytes of a request body; nil: unlimited.
  let requestBodyMax: UInt64?
  let origins: OriginPolicy
  let webSocket: WebSocketSettings
  let headers: HeaderSettings
  let timeouts: RouteTimeouts
  let counts = RouteCounts()

  init(_ settings: RouteSettings) {
    name = settings.displayName
    upstream = settings.upstream
    redirect = settings.redirect
    respond = settings.respond
    rewrite = PathRewrite(settings.rewrite)
    requestBodyMax = settings.limits.requestBody
    origins = settings.origins
    webSocket = settings.webSocket
    headers = settings.headers
    timeouts = settings.timeouts
  }
}

/// One address of an upstream, and what is configured for it.
struct EndpointPlan: Sendable, Equatable {
  var address: SocketAddress
  var weight = 1
  var connectionsMax: Int?
  /// For TLS: the name its certificate must be for.
  var serverName = ""
  /// The Host it sees, where each endpoint has its own.
  var host: [UInt8]?
}

/// An upstream with its names resolved: every address a name has is an endpoint.
struct UpstreamPlan: Sendable {
  var endpoints: [EndpointPlan]
  var tls: TLSContext?
  /// The Host that backends see; for `.endpoint` it is in `endpoints`.
  var host = UpstreamSettings.Host.preserve
  var addsForwarded = false
  /// Nil: no checks.
  var health: HealthSettings?
  /// Requests that may wait while all endpoints are full, over all workers.
  var queue = 0
  /// What each connection begins with. One that begins so is its client's alone.
  var proxyProtocol = UpstreamSettings.ProxyProtocol.off
}

/// Where the page of `bascule demo` finds its sockets.
struct DemoPorts: Sendable {
  var http: UInt16
  var https: UInt16
}

final class SharedState: Sendable {
  let snapshot: Snapshot
  let router: Router
  let routes: [RoutePlan]
  let upstreams: [UpstreamPlan]
  /// Per upstream: its endpoints at start. Workers are told of other ones by message.
  let tables: [EndpointTable]
  /// Set in a demo: its page is served on `/`, before any route.
  let demo: DemoPorts?
  let workerCount: Int
  let connectionsPerWorker: Int
  let requestLimits: HeadLimits
  let responseLimits: HeadLimits
  let http2Limits: HTTP2Limits
  let timeouts: RouteTimeouts
  let accessRing: LogRing
  let errorRing: LogRing
  let logLevel: LogLevel
  /// In front of every exchange's number in the logs, so that ids differ between processes.
  let processTag: UInt32

  init(
    snapshot: Snapshot, upstreams: [UpstreamPlan], demo: DemoPorts? = nil, workerCount: Int,
    connections: Int, accessRing: LogRing, errorRing: LogRing, processTag: UInt32,
    processSecret: [UInt8]
  ) {
    self.snapshot = snapshot
    self.upstreams = upstreams
    tables = zip(snapshot.upstreams, upstreams).map { settings, plan in
      EndpointTable(settings, plan.endpoints, processSecret: processSecret)
    }
    self.demo = demo
    self.workerCount = workerCount
    self.accessRing = accessRing
    self.errorRing = errorRing
    self.processTag = processTag
    router = Router(snapshot.routes)
    routes = snapshot.routes.map(RoutePlan.init)
    connectionsPerWorker = max(1, connections / workerCount)
    let limits = snapshot.limits
    requestLimits = HeadLimits(
      headBytesMax: limits.requestHead, fieldsMax: limits.requestFields,
      lineBytesMax: limits.requestLine)
    responseLimits = HeadLimits(
      headBytesMax: limits.responseHead, fieldsMax: limits.responseFields,
      lineBytesMax: limits.responseHead)
    http2Limits = HTTP2Limits(limits)
    timeouts = snapshot.timeouts
    logLevel =
      switch snapshot.log.level {
      case .debug: .debug
      case .info: .info
      case .warn: .warn
      case .error: .error
      }
  }
}

extension SharedState {
  /// What a request of this route is changed into.
  func backendPolicy(of route: RoutePlan) -> BackendPolicy {
    let upstream = upstreams[route.upstream]
    return BackendPolicy(
      rewrite: route.rewrite, host: upstream.host, addsForwarded: upstream.addsForwarded)
  }
}

extension RouteSettings {
  /// "chat.example.com/ws", "*.example.com/", "any/": how logs name a route.
  var displayName: String {
    let hostText =
      switch host {
      case .any: "*"
      case .exact(let name): name
      case .wildcard(let suffix): "*.\(suffix)"
      }
    return switch path {
    case .prefix(let path): hostText + path
    case .exact(let path): "\(hostText) = \(path)"
    }
  }
}

extension HTTP2Limits {
  init(_ limits: Limits) {
    self.init()
    streams = limits.http2.streams
    streamWindow = limits.http2.streamWindow
    connectionWindow = limits.http2.connectionWindow
    headerListBytes = limits.http2.headerList
    fieldsMax = limits.requestFields
    lineBytesMax = limits.requestLine
    continuations = limits.http2.continuations
    clientResets = HTTP2Rate(burst: limits.http2.resetsBurst, perSecond: limits.http2.resetsRate)
    ourResets = HTTP2Rate(
      burst: limits.http2.ownResetsBurst, perSecond: limits.http2.ownResetsRate)
    queuedControl = limits.http2.controlFrames
    settingsEntries = limits.http2.settingsEntries
  }
}
