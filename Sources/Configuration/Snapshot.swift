// The immutable result of loading a configuration, shared by all workers. Everything in it has
// been validated; nobody below the loader asks again. It names files but opens none.
public import Bytes

/// One validated configuration. Workers hold one strong reference each and never change it.
public final class Snapshot: Sendable {
  /// Worker threads; nil: as many as the cores this process may use.
  public let workers: Int?
  /// Peers whose `X-Forwarded-*` fields count.
  public let trustedProxies: [AddressBlock]
  public let listeners: [ListenerSettings]
  /// Those of the file, and behind them the services that routes ask.
  public let upstreams: [UpstreamSettings]
  /// In the order of the file, which is the last tie-breaker of routing.
  public let routes: [RouteSettings]
  /// Changed files are reloaded without a signal.
  public let watchesFiles: Bool
  /// Whom a process that was started as root becomes.
  public let user: UserSettings?
  public let coreDumps: Bool
  public let log: LogSettings
  public let limits: Limits
  public let timeouts: Timeouts
  /// nil: no admin listener.
  public let admin: AdminSettings?
  /// All of it as YAML, with defaults and without secrets.
  public let text: String
  /// What is legal in it, and probably not meant.
  public let warnings: [Diagnostic]

  public init(
    workers: Int? = nil, trustedProxies: [AddressBlock] = [], listeners: [ListenerSettings] = [],
    upstreams: [UpstreamSettings] = [], routes: [RouteSettings] = [],
    log: LogSettings = LogSettings(), limits: Limits = Limits(), timeouts: Timeouts = Timeouts(),
    watchesFiles: Bool = false, admin: AdminSettings? = nil, text: String = "",
    user: UserSettings? = nil, coreDumps: Bool = false, warnings: [Diagnostic] = []
  ) {
    self.workers = workers
    self.trustedProxies = trustedProxies
    self.listeners = listeners
    self.upstreams = upstreams
    self.routes = routes
    self.watchesFiles = watchesFiles
    self.user = user
    self.coreDumps = coreDumps
    self.log = log
    self.limits = limits
    self.timeouts = timeouts
    self.admin = admin
    self.text = text
    self.warnings = warnings
  }
}
