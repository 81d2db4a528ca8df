// The host and the path of a route, as they are written and as they are compared. One spelling per
// meaning: what two readers could take differently is refused here, not repaired.
import Bytes

/// The host a route serves. Lower case, without port; an IPv6 literal is in brackets.
public enum HostPattern: Sendable, Hashable {
  case any
  case exact(String)
  /// `*.example.com` holds `example.com`: one label more than this, whatever it is.
  case wildcard(suffix: String)

  var written: String {
    switch self {
    case .any: "*"
    case .exact(let host): host
    case .wildcard(let suffix): "*.\(suffix)"
    }
  }
}

/// The path a route serves. Begins with `/`; no query, no dot segment, no encoded slash.
public enum PathPattern: Sendable, Hashable {
  /// Whole segments: `/a` holds for `/a` and `/a/b`, not for `/ab`.
  case prefix(String)
  case exact(String)

  var written: String {
    switch self {
    case .prefix(let path): path
    case .exact(let path): "= \(path)"
    }
  }

  /// Without the mark of an exact one.
  var text: String {
    switch self {
    case .prefix(let path), .exact(let path): path
    }
  }

  /// Whether every path this stands for begins with the segments of `prefix`.
  func begins(with prefix: String) -> Bool {
    Self.prefix(prefix).holds(text)
  }

  /// Whether a request for `path` is served.
  func holds(_ path: String) -> Bool {
    switch self {
    case .exact(let own): return own == path
    case .prefix(let own):
      guard path.hasPrefix(own) else { return false }
      return own.isEmpty || own.hasSuffix("/") || path.count == own.count
        || path.dropFirst(own.count).hasPrefix("/")
    }
  }
}

extension ConfigValue<HostPattern> {
  static let hostPattern = text(
    "a host", form: "HOST, \"*.HOST\" or \"*\"",
    schema: .text(#"\*"#, #"(?:\*\.)?"# + Schema.host, orNumber: true), show: \.written
  ) { (text) throws(Complaint) in
    if text == "*" { return .any }
    let isWildcard = text.hasPrefix("*.")
    let bytes = Array((isWildcard ? text.dropFirst(2) : text[...]).utf8)
    if bytes.contains(where: { $0 >= 0x80 }) {
      throw Complaint("\(quoted(text)) must be written in its ASCII form (xn--…)")
    }
    guard let authority = Authority(parsing: bytes.span), !(isWildcard && text.hasSuffix("]"))
    else {
      throw Complaint(
        text, isNot: "a host, such as chat.example.com, \"*.example.com\" or \"*\" for any")
    }
    if authority.port != nil {
      throw Complaint("a route's host has no port: listeners decide it; write \(authority.host)")
    }
    return isWildcard ? .wildcard(suffix: authority.host) : .exact(authority.host)
  }
}

extension ConfigValue<PathPattern> {
  static let pathPattern = text(
    "a path", form: "/PATH or = /PATH", schema: .text("(?:= *)?" + Schema.path), show: \.written
  ) { (text) throws(Complaint) in
    let isExact = text.hasPrefix("=")
    let path = isExact ? String(text.dropFirst().drop { $0 == " " }) : text
    try PathPattern.check(path)
    return isExact ? .exact(path) : .prefix(path)
  }
}

extension PathPattern {
  /// Refuses what no request can have, or could have in two spellings.
  static func check(_ path: String) throws(Complaint) {
    let name = quoted(path)
    guard path.hasPrefix("/") else {
      let rest = String(path.drop { "~*^ ".contains($0) })
      let isExpression = rest.count < path.count && rest.hasPrefix("/")
      let advice = isExpression ? ": \(noPattern); write \(plain(rest) ?? rest)" : ""
      throw Complaint("the path \(name) must begin with /\(advice)")
    }
    if path.contains("?") || path.contains("#") {
      throw Complaint("the path \(name) has a query or fragment; a route matches the path alone")
    }
    guard path.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "\\") }) else {
      throw Complaint("the path \(name) has a character that must be percent-encoded")
    }
    for segment in path.split(whereSeparator: { $0 == "/" || $0 == ";" })
    where segment == "." || segment == ".." {
      throw Complaint("the path \(name) has a segment of dots (. or ..), which no route can match")
    }
    for encoded in path.split(separator: "%", omittingEmptySubsequences: false).dropFirst() {
      try checkEncoding(encoded.prefix(2), name)
    }
  }

  /// What to write instead of a path that looks like a glob or a regular expression; nil: it is a path.
  static func plain(_ path: String) -> String? {
    let looksLikePattern =
      path.contains { "*^[]{}|".contains($0) } || path.contains(".+") || path.hasSuffix("$")
    guard looksLikePattern else { return nil }
    var plain = path.prefix { !"*^[]{}|+$()".contains($0) }
    while let last = plain.last, "./".contains(last) { plain.removeLast() }
    return plain.isEmpty ? "/" : String(plain)
  }

  /// Why.
  static let noPattern =
    "a path is no pattern, it holds for whole segments and everything below them"

  /// `digits`: what follows a percent sign.
  private static func checkEncoding(_ digits: Substring, _ name: String) throws(Complaint) {
    guard digits.utf8.count == 2, let byte = UInt8(digits, radix: 16), digits.first != "+" else {
      throw Complaint("the path \(name) has a % without two hexadecimal digits")
    }
    switch byte {
    case 0, UInt8(ascii: "/"), UInt8(ascii: "\\"), 0x0A, 0x0D:
      throw Complaint("the path \(name) has %\(digits), which no route can match")
    // Unreserved characters (RFC 3986 section 2.3) mean the same without encoding.
    case _ where ASCII.isLetter(byte) || ASCII.isDigit(byte) || "-._~".utf8.contains(byte):
      let character = Character(Unicode.Scalar(byte))
      throw Complaint("the path \(name) has %\(digits): write \(character) instead")
    default: break
    }
  }
}
