// From bytes to a request head (RFC 9112 sections 2 to 6), strictly: whatever another reader might
// take differently is refused, because a request that is smuggled is always one that two readers
// take differently. No I/O, no routing; the caller stores the bytes.

import Bytes

public struct RequestParser: Sendable {
  private var scanner: HeadScanner
  private var framing = FramingFields()
  /// Of the request line; nil until that has been read. The rest of the line of a head in pieces is
  /// read again at the end instead of being kept: every connection holds a parser for as long as it lives.
  private var version: HTTPVersion?
  private var hasHost = false
  private var lineStart: UInt32 = 0
  private var lineEnd: UInt32 = 0

  public init(limits: HeadLimits) {
    scanner = HeadScanner(limits: limits)
  }

  /// `bytes` is everything received of this head: after `needMore` the same bytes again and more.
  /// After `done` the parser is ready for the next head; after a violation it must not be used.
  public mutating func parse(
    _ bytes: Span<UInt8>
  ) throws(HTTPViolation) -> Parsed<RequestHead> {
    var found = Found()
    while let range = try scanner.nextLine(bytes, version == nil ? .requestLine : .field) {
      if let version {
        if range.isEmpty { return .done(try finish(bytes, found), consumed: takeEnd()) }
        try takeField(bytes, range, version, &found)
      } else if !(range.isEmpty && range.lowerBound == 0) {
        // One empty line before the request line is forgiven (RFC 9112 section 2.2).
        let line = try RequestLine(bytes, range)
        found.line = line
        version = line.version
        // The scanner lets no line end beyond 32 bits.
        lineStart = UInt32(range.lowerBound)
        lineEnd = UInt32(range.upperBound)
      }
    }
    return .needMore
  }

  /// What was read in this call, and is read again when the head comes in pieces.
  private struct Found {
    var line: RequestLine?
    var host: Authority?
  }

  private mutating func takeField(
    _ bytes: Span<UInt8>, _ range: Range<Int>, _ version: HTTPVersion, _ found: inout Found
  ) throws(HTTPViolation) {
    let field = try scanner.takeField(bytes, range)
    try framing.note(field, bytes, version)
    guard field.known == .host else { return }
    guard !hasHost else { throw .duplicateHost }
    guard let host = Authority(parsing: bytes.extracting(field.value)) else {
      throw .malformedHost
    }
    found.host = host
    hasHost = true
  }

  private func finish(
    _ bytes: Span<UInt8>, _ found: Found
  ) throws(HTTPViolation) -> RequestHead {
    let range = Int(lineStart)..<Int(lineEnd)
    let line = if let line = found.line { line } else { try RequestLine(bytes, range) }
    let host = try host(bytes, line, found.host)
    let bodyFraming = try framing.requestLength()
    var copy = ASCII.copy(bytes.extracting(0..<scanner.position), spare: 1)
    if line.target.path == nil {
      // RFC 9112 section 3.2.4: an empty path is `*` for OPTIONS, `/` otherwise.
      let isServerWide = line.isOPTIONS && line.target.query == nil
      copy.append(isServerWide ? UInt8(ascii: "*") : UInt8(ascii: "/"))
    }
    return RequestHead(
      bytes: copy, fields: scanner.fields, version: line.version, method: line.method,
      target: line.targetRange, path: line.target.path ?? (copy.count - 1)..<copy.count,
      query: line.target.query, host: host, protocolName: nil, bodyFraming: bodyFraming)
  }

  /// What Host and the target say, which must be the same (RFC 9112 section 3.2.2).
  private func host(
    _ bytes: Span<UInt8>, _ line: RequestLine, _ found: Authority?
  ) throws(HTTPViolation) -> Authority? {
    guard let field = scanner.fields.first(where: { $0.known == .host }) else {
      if line.version == .http11 { throw .missingHost }
      return line.target.authority
    }
    guard let host = found ?? Authority(parsing: bytes.extracting(field.value)) else {
      throw .malformedHost
    }
    guard line.target.agrees(with: host) else { throw .targetHostMismatch }
    return host
  }

  /// Returns the head's length and starts over.
  private mutating func takeEnd() -> Int {
    let end = scanner.position
    _ = scanner.startOver()
    framing = FramingFields()
    version = nil
    hasHost = false
    return end
  }
}

/// `method SP request-target SP HTTP-version` (RFC 9112 section 3).
private struct RequestLine: Sendable {
  let method: Range<Int>
  let targetRange: Range<Int>
  let target: RequestTarget
  let version: HTTPVersion
  let isOPTIONS: Bool

  init(_ bytes: Span<UInt8>, _ line: Range<Int>) throws(HTTPViolation) {
    let space = UInt8(ascii: " ")
    var first = line.lowerBound
    while first < line.upperBound, bytes[first] != space { first += 1 }
    var last = line.upperBound - 1
    while last > first, bytes[last] != space { last -= 1 }
    guard first > line.lowerBound, last > first + 1, last < line.upperBound - 1 else {
      throw .malformedRequestLine
    }
    for index in (first + 1)..<last where bytes[index] == space { throw .malformedRequestLine }
    method = line.lowerBound..<first
    targetRange = (first + 1)..<last
    let name = bytes.extracting(method)
    isOPTIONS = ASCII.equals(name, "OPTIONS")
    try Self.check(method: name)
    version = try HTTPVersion(parsing: bytes.extracting((last + 1)..<line.upperBound))
    if ASCII.equals(name, "CONNECT") || ASCII.equals(name, "TRACE") { throw .methodNotAllowed }
    target = try RequestTarget(bytes, targetRange, allowsAsterisk: isOPTIONS)
  }

  private static func check(method: Span<UInt8>) throws(HTTPViolation) {
    for index in 0..<method.count {
      let byte = method[index]
      guard ASCII.isTokenByte(byte), !ASCII.isLowerCase(byte) else { throw .malformedMethod }
    }
    // The first line of an HTTP/2 connection preface (RFC 9113 section 3.4).
    if ASCII.equals(method, "PRI") { throw .http2NotEnabled }
  }
}
