// The `websocket` section of a route.
public import Bytes

/// How WebSockets of a route are carried.
public struct WebSocketSettings: Sendable, Equatable {
  public enum Mode: Sendable, Equatable { case bridge, tunnel, off }
  public enum Compression: Sendable, Equatable { case passthrough, off }

  public var mode = Mode.bridge
  public var keepAlive = KeepAliveSettings()
  public var compression = Compression.passthrough
  /// Bytes of one message, its fragments added up; with compression, bytes on the wire.
  public var maxMessage: UInt64 = 16 * 1024 * 1024

  public init() {}
}

/// The gateway's own pings, per side. An interval of nil turns ping and timeout of that side off.
public struct KeepAliveSettings: Sendable, Equatable {
  public var interval: TimeSpan? = .seconds(25)
  public var timeout = TimeSpan.seconds(50)
  public var upstreamInterval: TimeSpan? = .seconds(25)
  public var upstreamTimeout = TimeSpan.seconds(50)

  public init() {}
}
