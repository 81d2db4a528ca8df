// The `timeouts` section: global, and those that a route may set for itself.
public import Bytes

/// Timeouts (behaviour.md 10). All run on the monotonic clock.
public struct Timeouts: Sendable, Equatable {
  /// From accepting a TLS connection to the end of its handshake.
  public var tlsHandshake = TimeSpan.seconds(10)
  /// From the first byte of a request head, or from accepting, to its end. Absolute.
  public var requestHead = TimeSpan.seconds(10)
  /// Idle time of a client's connection between requests.
  public var keepAlive = TimeSpan.seconds(75)
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
  /// From SIGTERM to the end of the process.
  public var drain = TimeSpan.seconds(30)
  /// A tunnel without a byte in either direction.
  public var tunnelIdle = TimeSpan.seconds(3600)

  public init() {}
}
