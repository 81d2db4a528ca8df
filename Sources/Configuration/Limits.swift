// The `limits` section: a bound with a name for everything a peer can make grow.

/// Global limits (behaviour.md 9).
public struct Limits: Sendable, Equatable {
  /// Bytes of a request head, its line included.
  public var requestHead = 32 * 1024
  public var requestFields = 100
  /// Bytes of a request line.
  public var requestLine = 8 * 1024
  /// Bytes of a backend's response head.
  public var responseHead = 64 * 1024
  public var responseFields = 200
  /// Sockets of clients and backends together; nil: what the descriptor limit carries, at most 65,536.
  public var connections: Int?
  /// Upgrade handshakes in flight.
  public var handshakes = 1024
  /// Connections of one client address; nil: unlimited.
  public var perAddress: Int?
  /// Pings a client may send at once, and then per second, before it is closed with 1008.
  public var pingBurst = 50
  public var pingRate = 10

  public init() {}
}
