// What all workers of a process share: compiled from a snapshot, at start and by each reload, and never
// changed after.

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
  /// Whom to ask before a request is passed on.
  let authorize: AuthorizeSettings?
  /// Of `headers`, and with it: what only an authorization service may say is not the client's to say,
  /// whatever becomes of the question.
  let requestEdits: HeaderEdits
  let timeouts: RouteTimeouts
  let counts: RouteCounts

  private let settings: RouteSettings
  private let upstreamSettings: UpstreamSettings?

  init(
    _ settings: RouteSettings, _ upstreamSettings: UpstreamSettings?,
    _ book: RouteBook = RouteBook()
  ) {
    self.settings = settings
    self.upstreamSettings = upstreamSettings
    name = settings.displayName
    counts = book.counts(of: settings.displayName)
    upstream = settings.upstream
    redirect = settings.redirect
    respond = settings.respond
    rewrite = PathRewrite(settings.rewrite)
    requestBodyMax = settings.limits.requestBody
    origins = settings.origins
    webSocket = settings.webSocket
    headers = settings.headers
    authorize = settings.authorize
    var edits = settings.headers.request
    edits.remove += settings.authorize?.copy ?? []
    requestEdits = edits
    timeouts = settings.timeouts
  }

  /// Whether nothing has changed for what goes this way, wherever in a file it may stand.
  func isSame(as other: RoutePlan) -> Bool {
    settings.isSame(as: other.settings)
      && (upstreamSettings == nil) == (other.upstreamSettings == nil)
      && zip([upstreamSettings].compactMap(\.self), [other.upstreamSettings].compactMap(\.self))
        .allSatisfy { $0.isSame(as: $1) }
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
  var workerCount: Int { process.workerCount }
  var connectionsPerWorker: Int { process.connectionsPerWorker }
  let requestLimits: HeadLimits
  let responseLimits: HeadLimits
  let http2Limits: HTTP2Limits
  let timeouts: RouteTimeouts
  var errorRing: LogRing { process.errorRing }
  /// Nil: requests are not logged.
  var accessRing: LogRing? {
    switch snapshot.log.access {
    case .off: nil
    case .stderr: process.errorRing
    case .stdout, .file: process.accessRing
    }
  }
  let logLevel: LogLevel
  /// There is an admin listener, which lists connections.
  let hasAdmin: Bool
  let process: ProcessFacts

  /// `tables`: the endpoints of now, by upstream; those that stay keep their counts.
  init(
    snapshot: Snapshot, upstreams: [UpstreamPlan], demo: DemoPorts? = nil,
    process: ProcessFacts, after tables: [String: EndpointTable] = [:]
  ) {
    self.snapshot = snapshot
    self.upstreams = upstreams
    self.tables = zip(snapshot.upstreams, upstreams).map { settings, plan in
      tables[settings.name]?.replacing(with: plan.endpoints, settings)
        ?? EndpointTable(
          settings, plan.endpoints, processSecret: process.secret, process.loads)
    }
    self.demo = demo
    self.process = process
    router = Router(snapshot.routes)
    routes = snapshot.routes.map { route in
      RoutePlan(
        route, snapshot.upstreams.first { $0.name == route.upstreamName }, process.routes)
    }
    let limits = snapshot.limits
    requestLimits = HeadLimits(
      headBytesMax: limits.requestHead, fieldsMax: limits.requestFields,
      lineBytesMax: limits.requestLine)
    responseLimits = HeadLimits(
      headBytesMax: limits.responseHead, fieldsMax: limits.responseFields,
      lineBytesMax: limits.responseHead)
    http2Limits = HTTP2Limits(limits)
    timeouts = snapshot.timeouts
    hasAdmin = snapshot.admin != nil
    logLevel =
      switch snapshot.log.level {
      case .debug: .debug
      case .info: .info
      case .warn: .warn
      case .error: .error
      }
  }
}

/// What a process is from its start to its end, whatever its configuration says later.
struct ProcessFacts: Sendable {
  var workerCount: Int
  var connectionsPerWorker: Int
  let accessRing: LogRing
  let errorRing: LogRing
  /// In front of every exchange's number in the logs, so that ids differ between processes.
  let tag: UInt32
  /// Stands in for secrets that are not configured.
  let secret: [UInt8]
  let loads = EndpointLoads()
  let routes = RouteBook()
  let departures = DepartureTally()

  init(
    workerCount: Int, connections: Int, accessRing: LogRing, errorRing: LogRing, tag: UInt32,
    secret: [UInt8]
  ) {
    self.workerCount = workerCount
    connectionsPerWorker = max(1, connections / workerCount)
    self.accessRing = accessRing
    self.errorRing = errorRing
    self.tag = tag
    self.secret = secret
  }
}

extension SharedState {
  var tablesByName: [String: EndpointTable] {
    Dictionary(tables.map { ($0.upstream, $0) }, uniquingKeysWith: { first, _ in first })
  }
}

extension BackendPolicy {
  /// What a request of this route is changed into.
  init(of route: RoutePlan, to upstream: UpstreamPlan, _ granted: [GrantedField]) {
    self.init(
      rewrite: route.rewrite, host: upstream.host, addsForwarded: upstream.addsForwarded,
      granted: granted)
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
