// The trailer section of a chunked body (RFC 9112 section 7.1.2), byte by byte. Lines that may be
// passed on are kept, written the one way we write fields; the others are dropped. A line that is no
// field line is a violation, dropped or not.

import Bytes

struct TrailerScanner: Sendable {
  static var bytesMax: UInt16 { 8 * 1024 }
  static var linesMax: UInt16 { 100 }

  private enum State: Sendable { case start, name, blank, value, lineLF, lastLF, complete }
  private var state = State.start
  /// Whether the line that is being read is one to drop.
  private var isDropped = false
  // Each count stops at its limit, so none can overflow.
  private var lineCount: UInt16 = 0
  /// Received, dropped ones included, without the empty line.
  private var byteCount: UInt16 = 0
  /// Where the line that is being read begins in `lines`. A blank per line makes that longer
  /// than what was received, and it still fits 16 bits.
  private var lineStart: UInt16 = 0
  /// `name: value` CRLF, of all that are kept. Nothing is allocated before there is one.
  private(set) var lines: [UInt8] = []

  var isComplete: Bool { state == .complete }

  mutating func take(_ byte: UInt8) throws(HTTPViolation) {
    switch state {
    case .start where byte == UInt8(ascii: "\r"):
      state = .lastLF
      return
    case .lastLF:
      guard byte == UInt8(ascii: "\n") else { throw .bareLineEnd }
      state = .complete
      return
    case .start:
      try startLine()
      try takeName(byte)
    case .name: try takeName(byte)
    case .blank, .value: try takeValue(byte)
    case .lineLF:
      guard byte == UInt8(ascii: "\n") else { throw .bareLineEnd }
      if !isDropped { ASCII.append("\r\n", to: &lines) }
      state = .start
    case .complete: return
    }
    byteCount += 1
    guard byteCount <= Self.bytesMax else { throw .trailersTooLarge }
  }

  private mutating func startLine() throws(HTTPViolation) {
    lineCount += 1
    guard lineCount <= Self.linesMax else { throw .trailersTooLarge }
    lineStart = UInt16(lines.count)
    state = .name
  }

  private mutating func takeName(_ byte: UInt8) throws(HTTPViolation) {
    if ASCII.isTokenByte(byte) {
      lines.append(byte)
      return
    }
    let start = Int(lineStart)
    guard byte == UInt8(ascii: ":"), lines.count > start else { throw .malformedTrailer }
    isDropped = !Trailers.mayPass(lines.span.extracting(start..<lines.count))
    if isDropped {
      lines.removeLast(lines.count - start)
    } else {
      ASCII.append(": ", to: &lines)
    }
    state = .blank
  }

  private mutating func takeValue(_ byte: UInt8) throws(HTTPViolation) {
    if byte == UInt8(ascii: "\r") {
      if state == .value { trim() }
      state = .lineLF
      return
    }
    guard ASCII.isFieldValueByte(byte) else {
      throw byte == UInt8(ascii: "\n") ? .bareLineEnd : .malformedTrailer
    }
    if state == .blank, ASCII.isBlank(byte) { return }
    state = .value
    if !isDropped { lines.append(byte) }
  }

  /// Takes blanks off the end of a value, which starts with a byte that is none.
  private mutating func trim() {
    guard !isDropped else { return }
    while let last = lines.last, ASCII.isBlank(last) { lines.removeLast() }
  }
}

/// Which trailers are passed on, and how they are kept meanwhile: as lines of `name: value` CRLF.
public enum Trailers {
  /// Appends a line. `name` and `value`: checked, the value without blanks around it.
  static func appendLine(_ name: Span<UInt8>, _ value: Span<UInt8>, to lines: inout [UInt8]) {
    for index in 0..<name.count { lines.append(name[index]) }
    ASCII.append(": ", to: &lines)
    for index in 0..<value.count { lines.append(value[index]) }
    ASCII.append("\r\n", to: &lines)
  }

  /// False for the fields that frame, route, authenticate, condition a request, control a response or
  /// say how its content is to be read (RFC 9110 section 6.5.1): a receiver that merged one into the
  /// head would be told what we never checked. `name` is a token in any case.
  public static func mayPass(_ name: Span<UInt8>) -> Bool {
    for index in 0..<name.count {
      // CGI and its heirs read these as `-`, so the name could stand for one of the others.
      let byte = name[index]
      if byte == UInt8(ascii: "_") || byte == UInt8(ascii: ".") { return false }
    }
    // What the gateway itself understands belongs in a head.
    guard KnownField(name: name) == .other else { return false }
    return !hasPrefix(name, "x-forwarded-") && !hasPrefix(name, "proxy-")
      && !hasPrefix(name, "if-") && !hasPrefix(name, "sec-websocket-") && !isControl(name)
  }

  private static func isControl(_ name: Span<UInt8>) -> Bool {
    // Trailers are rare and their names few: a list that can be read beats one that is fast.
    let names: [16 of StaticString] = [
      "age", "allow", "authorization", "cache-control", "content-encoding", "content-location",
      "content-range", "content-type", "expires", "max-forwards", "pragma", "range",
      "retry-after", "vary", "warning", "www-authenticate",
    ]
    for index in names.indices where ASCII.equalsIgnoringCase(name, names[index]) { return true }
    return false
  }

  /// `prefix` in lower case.
  private static func hasPrefix(_ name: Span<UInt8>, _ prefix: StaticString) -> Bool {
    let count = prefix.utf8CodeUnitCount
    return name.count >= count
      && ASCII.equalsIgnoringCase(name.extracting(0..<count), prefix)
  }
}
