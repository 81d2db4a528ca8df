// The `log` section.

/// What is logged, and where to.
public struct LogSettings: Sendable, Equatable {
  public enum Level: Sendable, Equatable { case debug, info, warn, error }
  public enum Access: Sendable, Equatable { case stdout, stderr, off }
  public enum Format: Sendable, Equatable { case json }

  public var level = Level.info
  public var access = Access.stdout
  public var format = Format.json

  public init() {}
}

extension LogSettings: ConfigSection {
  static let mainKey: String? = "level"

  static let keys: [ConfigKey<Self>] = [
    ConfigKey(
      "level", \.level,
      .word([("debug", .debug), ("info", .info), ("warn", .warn), ("error", .error)]),
      "The least important messages that are written."),
    ConfigKey(
      "access", \.access, .word([("stdout", .stdout), ("stderr", .stderr), ("off", .off)]),
      "Where a line per request and two per WebSocket go."),
    ConfigKey("format", \.format, .word([("json", .json)]), "How a line is written."),
  ]
}
