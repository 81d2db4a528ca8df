// The `log` section.

/// What is logged, and where to.
public struct LogSettings: Sendable, Equatable {
  public enum Level: Sendable, Equatable { case debug, info, warn, error }
  public enum Access: Sendable, Equatable {
    case stdout, stderr, off
    case file(String)
  }
  public enum Format: Sendable, Equatable { case json }

  public var level = Level.info
  public var access = Access.stdout
  public var format = Format.json
  /// Of `access`, where it is written.
  public var accessLocation = SourceLocation()

  public init() {}
}

extension LogSettings: ConfigSection {
  static let mainKeys = ["level", "access"]

  static let keys: [ConfigKey<Self>] = [
    ConfigKey(
      "level", \.level,
      .word([("debug", .debug), ("info", .info), ("warn", .warn), ("error", .error)]),
      "The least important messages that are written."),
    ConfigKey(
      "access", \.access, .accessLog,
      "Where a line per request and two per WebSocket go. A file is appended to, and opened anew on"
        + " SIGUSR1."),
    ConfigKey("format", \.format, .word([("json", .json)]), "How a line is written."),
  ]

  mutating func validate(_ written: WrittenSection, _ reader: inout Reader) {
    if let node = written["access"] { accessLocation = node.location }
  }
}

extension ConfigValue<LogSettings.Access> {
  /// One of the words, or a path. A mistyped word must not become a file, so that a name without a
  /// directory has a dot in it.
  fileprivate static let accessLog: Self = {
    let word = word([("stdout", .stdout), ("stderr", .stderr), ("off", .off)])
    let file = ConfigValue<String>.path
    return ConfigValue(
      syntax: "\(word.syntax) | \(file.syntax)", form: "\(word.form) | \(file.form)",
      schema: word.schema.or(.text("\(Schema.line)?[./]\(Schema.line)?", orNumber: true))
    ) { node, current, reader in
      if case .scalar(let text, _) = node.content, text.contains(where: { $0 == "." || $0 == "/" })
      {
        return file.read(node, nil, &reader).map { .file($0) }
      }
      let count = reader.diagnostics.count
      if let value = word.read(node, current, &reader) { return value }
      reader.amend(since: count, "; or write a path, such as /var/log/bascule/access.log")
      return nil
    } show: { value in
      if case .file(let path) = value { .scalar(path) } else { word.show(value) }
    }
  }()
}
