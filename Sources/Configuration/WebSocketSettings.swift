// The `websocket` section of a route.
public import Bytes

/// How WebSockets of a route are carried.
public struct WebSocketSettings: Sendable, Equatable {
  public enum Mode: Sendable, Equatable { case bridge, tunnel, off }
  /// What becomes of open WebSockets when a reload changes or removes their route.
  public enum OnChange: Sendable, Equatable { case keep, close }
  public enum Compression: Sendable, Equatable { case passthrough, off }

  public var mode = Mode.bridge
  public var keepAlive = KeepAliveSettings()
  public var compression = Compression.passthrough
  /// Bytes of one message, its fragments added up; with compression, bytes on the wire.
  public var maxMessage: UInt64 = 16 * 1024 * 1024
  public var onChange = OnChange.keep

  public init() {}
}

extension WebSocketSettings: ConfigSection {
  static let mainKeys = ["mode"]

  static let keys: [ConfigKey<Self>] = [
    ConfigKey(
      "mode", \.mode, .word([("bridge", .bridge), ("tunnel", .tunnel), ("off", .off)]),
      "bridge: frames are checked and kept alive; tunnel: bytes pass unread; off: no WebSockets."),
    ConfigKey(
      "keepalive", \.keepAlive, .section(),
      "The gateway's own pings, to the client and to the backend."),
    ConfigKey(
      "compression", \.compression, .word([("passthrough", .passthrough), ("off", .off)]),
      "passthrough: client and backend may agree on permessage-deflate; off: it is not offered."),
    ConfigKey(
      "max_message", \.maxMessage, .size(1...(1 << 40)),
      "The largest message; larger ones end in Close 1009. Counted as sent, so compressed."),
    ConfigKey(
      "on_change", \.onChange, .word([("keep", .keep), ("close", .close)]),
      "Open WebSockets when a reload changes this route or removes it: keep: they go on as they"
        + " began; close: they are told 1001, evenly over timeouts.drain."),
  ]
}

/// The gateway's own pings, per side. An interval of nil turns ping and timeout of that side off.
public struct KeepAliveSettings: Sendable, Equatable {
  public var interval: TimeSpan? = .seconds(25)
  /// Twice the interval unless set.
  public var timeout = TimeSpan.seconds(50)
  public var upstreamInterval: TimeSpan? = .seconds(25)
  public var upstreamTimeout = TimeSpan.seconds(50)

  public init() {}
}

extension KeepAliveSettings: ConfigSection {
  static let mainKeys = ["interval"]

  static let keys: [ConfigKey<Self>] = [
    ConfigKey(
      "interval", \.interval, .word("off", or: .pingInterval),
      "Ping the client after this long without a byte from it or to it."),
    ConfigKey(
      "timeout", \.timeout, .pingTimeout,
      "Give the client up after this long without a byte; without this key twice the interval."),
    ConfigKey(
      "upstream_interval", \.upstreamInterval, .word("off", or: .pingInterval),
      "Ping the backend after this long without a byte from it or to it."),
    ConfigKey(
      "upstream_timeout", \.upstreamTimeout, .pingTimeout,
      "The same for the backend; without this key twice upstream_interval."
    ),
  ]

  mutating func validate(_ written: WrittenSection, _ reader: inout Reader) {
    settle(&timeout, interval, ("timeout", "interval"), written, &reader)
    settle(
      &upstreamTimeout, upstreamInterval, ("upstream_timeout", "upstream_interval"), written,
      &reader)
  }

  /// A timeout that is not longer than the interval, which varies by 10 %, would give up peers that
  /// never got a ping.
  private func settle(
    _ timeout: inout TimeSpan, _ interval: TimeSpan?, _ names: (timeout: String, interval: String),
    _ written: WrittenSection, _ reader: inout Reader
  ) {
    guard let interval, written.areRight(names.timeout, names.interval) else { return }
    guard let node = written[names.timeout] else {
      timeout = .milliseconds(interval.milliseconds * 2)
      return
    }
    if timeout.milliseconds * 10 <= interval.milliseconds * 11 {
      reader.report(
        node.location,
        "\(names.timeout) (\(shownDuration(timeout))) must be longer than \(names.interval)"
          + " (\(shownDuration(interval)) and up to 10 % more), or live peers would be given up")
    }
  }
}

extension ConfigValue<TimeSpan> {
  fileprivate static let pingInterval = duration(.milliseconds(10) ... .seconds(24 * 3600))
  fileprivate static let pingTimeout = duration(.milliseconds(20) ... .seconds(48 * 3600))
}
