// A mistake in a configuration: where it stands and what to do about it, in plain words. The text
// is the product here; nothing is logged or printed by this module.

/// A place in a configuration file. Lines and columns count from 1; columns count characters.
public struct SourceLocation: Sendable, Hashable {
  public var file: String
  public var line: Int
  public var column: Int

  public init(file: String = "", line: Int = 0, column: Int = 0) {
    self.file = file
    self.line = line
    self.column = column
  }
}

/// One mistake, or a warning about what is no mistake. `line` 0 means the file as a whole, for example
/// one that cannot be read.
public struct Diagnostic: Sendable, Hashable, CustomStringConvertible {
  public var file: String
  public var line: Int
  public var column: Int
  public var message: String
  public var isWarning: Bool

  public init(_ location: SourceLocation, _ message: String, isWarning: Bool = false) {
    self.file = location.file
    self.line = location.line
    self.column = location.column
    self.message = message
    self.isWarning = isWarning
  }

  /// `FILE:LINE:COLUMN: error: MESSAGE`, or `FILE: error: MESSAGE` for the file as a whole; a warning
  /// says `warning` instead.
  public var description: String {
    let place = line > 0 ? "\(file):\(line):\(column)" : file
    return "\(place): \(isWarning ? "warning" : "error"): \(message)"
  }
}

extension Diagnostic: Comparable {
  /// By file, line, column; then by message, so that the order never depends on chance.
  public static func < (a: Diagnostic, b: Diagnostic) -> Bool {
    (a.file, a.line, a.column, a.message) < (b.file, b.line, b.column, b.message)
  }
}
