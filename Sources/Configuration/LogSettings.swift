// The `log` section.

/// What is logged, and where to.
public struct LogSettings: Sendable, Equatable {
  public enum Level: Sendable, Equatable, CaseIterable { case debug, info, warn, error }
  public enum Access: Sendable, Equatable, CaseIterable { case stdout, stderr, off }

  public var level = Level.info
  public var access = Access.stdout

  public init() {}
}
