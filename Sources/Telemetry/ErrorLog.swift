// The error log: what happens to the gateway itself. Owned by one worker (or the supervisor). To
// add an event: a case and its row. An event writes at most one line a minute; what it kept to
// itself is counted and told with its next line, so that no attack fills a disk through the log.

public import Bytes

public enum LogLevel: UInt8, Sendable, CaseIterable, Comparable {
  case debug, info, warn, error

  public var word: StaticString {
    switch self {
    case .debug: "debug"
    case .info: "info"
    case .warn: "warn"
    case .error: "error"
    }
  }
  public static func < (a: LogLevel, b: LogLevel) -> Bool { a.rawValue < b.rawValue }
}

/// A call site that logs.
public enum LogEvent: UInt8, Sendable, CaseIterable {
  case started, listening, draining, stoppingAtOnce, drained, drainCutOff, stopped, signalIgnored
  case reloading, reloaded, reloadFailed, dismissing, departing, departed
  case successorStarted, successorFailed, superseded
  case acceptFailed, connectionsFull, addressFull, proxyRefused, tlsFailed, http2Failed, http2Flood
  case originRefused, originReported
  case memoryShort, memoryCritical, memoryCalm
  case connectFailed, backendAnswerBroken, backendTLSFailed, resolveFailed
  case authorizationFailed
  case endpointEjected, endpointBack, endpointsChanged
  case adminChange
  case logDropped, logReopened, logNotReopened, gatewayFault

  /// `limited`: at most one line a minute. Life-cycle events always write.
  public var row: (level: LogLevel, limited: Bool, message: StaticString) {
    switch self {
    case .started: (.info, false, "started")
    case .listening: (.info, false, "listening")
    case .draining: (.info, false, "draining")
    case .stoppingAtOnce: (.info, false, "stopping at once")
    case .drained: (.info, false, "drained")
    case .drainCutOff: (.warn, false, "drained, and WebSockets were cut off")
    case .stopped: (.info, false, "stopped")
    case .signalIgnored: (.warn, false, "signal ignored")
    case .reloading: (.info, false, "reloading the configuration")
    case .reloaded: (.info, false, "configuration reloaded")
    case .reloadFailed: (.error, false, "configuration not reloaded: the running one stays")
    case .successorStarted: (.info, false, "starting a successor")
    case .successorFailed: (.error, false, "no successor: this process goes on")
    case .superseded: (.info, false, "a successor serves: draining")
    case .dismissing: (.info, false, "telling a part of the WebSockets to go")
    case .departing: (.info, false, "telling WebSockets to go")
    case .departed: (.info, false, "WebSockets have been told to go")
    case .acceptFailed: (.error, true, "cannot accept connections")
    case .connectionsFull: (.warn, true, "connection limit reached")
    case .memoryShort: (.warn, false, "memory is short: new connections are refused")
    case .memoryCritical: (.warn, true, "memory is very short: idle connections are closed")
    case .memoryCalm: (.info, false, "memory suffices again")
    case .proxyRefused: (.warn, true, "connection without PROXY header of a trusted proxy refused")
    case .addressFull: (.warn, true, "a client has too many connections")
    case .tlsFailed: (.info, true, "TLS with a client failed")
    case .http2Failed: (.info, true, "HTTP/2 with a client failed")
    case .http2Flood: (.warn, true, "a client went beyond a limit of HTTP/2")
    case .originRefused: (.warn, true, "origin refused")
    case .originReported: (.warn, true, "origin would be refused (report_only)")
    case .connectFailed: (.warn, true, "cannot connect to a backend")
    case .backendAnswerBroken: (.warn, true, "a backend's answer is broken")
    case .backendTLSFailed: (.warn, true, "TLS with a backend failed")
    case .authorizationFailed: (.warn, true, "an authorization service gave no verdict")
    case .resolveFailed: (.warn, false, "cannot resolve a name")
    // At most one per endpoint in ten seconds.
    case .endpointEjected: (.warn, false, "endpoint taken out")
    case .endpointBack: (.info, false, "endpoint is back")
    case .endpointsChanged: (.info, false, "endpoints have changed")
    case .adminChange: (.info, false, "asked through the admin listener")
    case .logDropped: (.warn, true, "log lines dropped")
    case .logReopened: (.info, false, "log file reopened")
    case .logNotReopened: (.error, false, "log file not reopened: lines go where they went")
    case .gatewayFault: (.error, true, "fault of the gateway")
    }
  }
}

/// Writes a thread's error lines to the ring.
public struct ErrorLog {
  static var window: TimeSpan { .seconds(60) }

  private struct Site {
    var mutedUntil = MonotonicTime(nanoseconds: .min)
    var suppressed: UInt64 = 0
  }

  private let ring: LogRing
  private let metrics: WorkerMetrics
  /// Events below it are not written and not counted.
  public var level: LogLevel
  private var line = LineBuilder()
  private var sites = Array(repeating: Site(), count: LogEvent.allCases.count)

  public init(ring: LogRing, metrics: WorkerMetrics, level: LogLevel) {
    self.ring = ring
    self.metrics = metrics
    self.level = level
  }

  /// `fields` adds what is known beside the event. `wall`: nanoseconds since 1970.
  public mutating func write(
    _ event: LogEvent, now: MonotonicTime, wall: Int64,
    _ fields: (inout LineBuilder) -> Void = { _ in }
  ) {
    let row = event.row
    guard row.level >= level else { return }
    let site = Int(event.rawValue)
    if row.limited {
      guard now >= sites[site].mutedUntil else {
        sites[site].suppressed += 1
        return
      }
      sites[site].mutedUntil = now + Self.window
    }
    write(row.level, row.message, suppressed: sites[site].suppressed, wall: wall, fields)
    sites[site].suppressed = 0
  }

  /// A sentence that no event stands for, at start: always written, but for the level.
  public mutating func remark(_ text: String, _ level: LogLevel, wall: Int64) {
    guard level >= self.level else { return }
    begin(level, wall: wall)
    line.field("message", text)
    endLine()
  }

  /// Tells what was suppressed in minutes that are over. To be called about once a minute.
  public mutating func reportSuppressed(now: MonotonicTime, wall: Int64) {
    for event in LogEvent.allCases {
      let site = Int(event.rawValue)
      guard sites[site].suppressed > 0, now >= sites[site].mutedUntil else { continue }
      write(event.row.level, event.row.message, suppressed: sites[site].suppressed, wall: wall) {
        _ in
      }
      sites[site].suppressed = 0
    }
  }

  private mutating func write(
    _ level: LogLevel, _ message: StaticString, suppressed: UInt64, wall: Int64,
    _ fields: (inout LineBuilder) -> Void
  ) {
    begin(level, wall: wall)
    line.field("message", word: message)
    fields(&line)
    if suppressed > 0 { line.field("suppressed", suppressed) }
    endLine()
  }

  private mutating func begin(_ level: LogLevel, wall: Int64) {
    line.begin()
    line.field("time", wall: wall)
    line.field("level", word: level.word)
  }

  private mutating func endLine() {
    line.end()
    metrics.add(ring.append(line.bytes.span) ? .logLinesWritten : .logLinesDropped)
  }
}
