// What is passed along while a tree of nodes becomes settings: the mistakes found so far, and the
// little that one section must know of another.
import Bytes

struct Reader {
  private(set) var diagnostics: [Diagnostic] = []
  /// What is legal, and probably not meant.
  private(set) var warnings: [Diagnostic] = []
  /// The names under `upstreams`, read before the routes that refer to them; nil while there is no
  /// such section to compare with, which is the mistake to report.
  var upstreamNames: Set<String>?
  /// The global timeouts, which every route starts from. Read before the routes.
  var timeouts = Timeouts()
  /// Likewise.
  var routeLimits = RouteLimits()
  /// A file could not be read: what is missing may be there, and is not reported.
  var isIncomplete = false

  /// What may be given once in the whole configuration, and where it is.
  private var claims: [String: SourceLocation] = [:]

  /// To try something with: knows what this one does, and has found nothing.
  var trial: Self {
    var copy = self
    copy.diagnostics = []
    copy.warnings = []
    return copy
  }

  mutating func report(_ diagnostic: Diagnostic) { diagnostics.append(diagnostic) }

  mutating func report(_ location: SourceLocation, _ message: String) {
    diagnostics.append(Diagnostic(location, message))
  }

  mutating func warn(_ location: SourceLocation, _ message: String) {
    warnings.append(Diagnostic(location, message, isWarning: true))
  }

  /// A value of the wrong kind. `hint` follows the sentence. Silent when the value was broken
  /// before: that has been reported.
  mutating func report(_ node: Node, expected: String, hint: String = "") {
    if case .broken = node.content { return }
    report(node.location, "expected \(expected), found \(node.kind)\(hint)")
  }

  /// Adds to the messages since there were `count`, but for those that ask whether something was meant.
  mutating func amend(since count: Int, _ hint: String) {
    for index in diagnostics.indices.dropFirst(count)
    where !diagnostics[index].message.hasSuffix("?") {
      diagnostics[index].message += hint
    }
  }

  /// Reports `message` and the first place when `key` was claimed before.
  mutating func claim(_ key: String, at location: SourceLocation, otherwise message: String) {
    guard let first = claims[key] else {
      claims[key] = location
      return
    }
    report(location, "\(message), at \(first.file):\(first.line):\(first.column)")
  }
}

/// `text` in quotes as one short line: a message never carries a control character or a novel.
func quoted(_ text: String) -> String {
  var line = ""
  for scalar in text.unicodeScalars.prefix(80) {
    switch scalar.value {
    case 0x22, 0x5C: line += "\\\(scalar)"
    case 0..<0x20, 0x7F..<0xA0, 0x2028, 0x2029, 0x202A...0x202E, 0x2066...0x2069:
      line += "\\u{\(String(scalar.value, radix: 16))}"
    default: line.unicodeScalars.append(scalar)
    }
  }
  let isLonger = text.unicodeScalars.dropFirst(80).first != nil
  return "\"\(line)\(isLonger ? "…" : "")\""
}
