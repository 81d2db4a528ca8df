// The `timeouts` section: global, and those that a route may set for itself.
public import Bytes

/// Timeouts (behaviour.md 10). All run on the monotonic clock.
public struct Timeouts: Sendable, Equatable {
  /// From accepting a TLS connection to the end of its handshake.
  public var tlsHandshake = TimeSpan.seconds(10)
  /// From the first byte of a request head, or from accepting, to its end. Absolute.
  public var requestHead = TimeSpan.seconds(10)
  /// Between bytes of a request body, while it is being read.
  public var requestBody = TimeSpan.seconds(60)
  /// Idle time of a backend's connection between requests.
  public var upstreamKeepAlive = TimeSpan.seconds(4)
  /// Idle time of a client's connection between requests.
  public var keepAlive = TimeSpan.seconds(75)
  /// From SIGTERM to the end of the process.
  public var drain = TimeSpan.seconds(30)
  /// For room at an endpoint, while all have what they may.
  public var queue = TimeSpan.seconds(5)
  /// From connecting to an endpoint to its acceptance, TLS included.
  public var connect = TimeSpan.seconds(5)
  /// From the upgrade request to the backend's 101.
  public var upgrade = TimeSpan.seconds(15)
  /// From a plain request to the backend's response head.
  public var response = TimeSpan.seconds(120)
  /// Between bytes of a response body.
  public var responseIdle = TimeSpan.seconds(3600)
  /// A writer that makes no progress for this long is dropped.
  public var writeStall = TimeSpan.seconds(60)
  /// For a peer to finish the WebSocket closing handshake.
  public var close = TimeSpan.seconds(5)
  /// A tunnel without a byte in either direction.
  public var tunnelIdle = TimeSpan.seconds(3600)

  public init() {}
}

extension Timeouts: ConfigSection {
  static let keys = globalKeys + routeKeys

  private static let globalKeys: [ConfigKey<Self>] = [
    ConfigKey(
      "tls_handshake", \.tlsHandshake, .timeout,
      "For a client to finish its TLS handshake."),
    ConfigKey(
      "request_head", \.requestHead, .timeout,
      "For a client to send a request head completely."),
    ConfigKey(
      "keep_alive", \.keepAlive, .timeout,
      "A client's connection that is idle between requests is closed after this."),
    ConfigKey(
      "upstream_keep_alive", \.upstreamKeepAlive, .timeout,
      "A connection to a backend that is idle between requests is closed after this; many"
        + " servers close theirs after 5s."),
    ConfigKey(
      "drain", \.drain, .timeout,
      "From SIGTERM to the end of the process, whatever is still open."),
  ]

  /// What `timeouts` of a route may hold.
  static let routeKeys: [ConfigKey<Self>] = [
    ConfigKey(
      "queue", \.queue, .timeout,
      "For an endpoint to have room, while all have their max_connections."),
    ConfigKey(
      "connect", \.connect, .timeout,
      "For an endpoint to accept a connection, TLS included."),
    ConfigKey(
      "request_body", \.requestBody, .timeout,
      "Between bytes of a request body; then 408."),
    ConfigKey(
      "upgrade", \.upgrade, .timeout,
      "For a backend to answer a WebSocket handshake."),
    ConfigKey(
      "response", \.response, .timeout,
      "For a backend to begin its response to a plain request."),
    ConfigKey(
      "response_idle", \.responseIdle, .timeout,
      "Between bytes of a response; event streams are silent for long."),
    ConfigKey(
      "write_stall", \.writeStall, .timeout,
      "A peer that takes nothing of what waits for it is dropped after this."),
    ConfigKey(
      "close", \.close, .timeout,
      "For a peer to finish the WebSocket closing handshake."),
    ConfigKey(
      "tunnel_idle", \.tunnelIdle, .timeout,
      "A tunnel (mode: tunnel) without a byte in either direction is closed after this."),
  ]
}

extension ConfigValue<TimeSpan> {
  fileprivate static let timeout = duration(.milliseconds(10) ... .seconds(7 * 24 * 3600))
}

extension ConfigValue<Timeouts> {
  /// The global section, which the routes then start from.
  static var globalTimeouts: Self {
    let section = Self.section()
    return ConfigValue(
      syntax: section.syntax, form: "", keys: section.keys, schema: section.schema
    ) { node, current, reader in
      let timeouts = section.read(node, current, &reader)
      if let timeouts { reader.timeouts = timeouts }
      return timeouts
    } show: {
      section.show($0)
    }
  }

  /// Without the help, which stands at the global section.
  static var routeTimeouts: Self {
    let section = Self.section(
      keys: Timeouts.routeKeys,
      elsewhere: (
        Timeouts.keys.map(\.name),
        "it can only be set for the whole gateway, in \"timeouts\" at the top level"
      ))
    return ConfigValue(
      syntax: section.syntax, form: "", keys: section.keys, schema: section.schema,
      read: section.read
    ) { timeouts in
      guard case .section(let keys) = section.show(timeouts) else { return .absent }
      return .section(keys.map { ShownKey(name: $0.name, comment: "", value: $0.value) })
    }
  }
}
