// The target of a request line (RFC 9112 section 3.2): which of the four forms it has, where path and
// query lie, and whether the path could be read in two ways. The path itself is never rewritten: what
// was routed is what is forwarded.

import Bytes

struct RequestTarget: Sendable {
  /// Nil when an absolute-form target has none.
  var path: Range<Int>?
  var query: Range<Int>?
  /// Of an absolute-form target.
  var authority: Authority?
  /// The scheme of an absolute-form target was https.
  var isHTTPS = false

  /// Reads the target in `range`. Its bytes are VCHAR, which the line scanner has seen to.
  init(
    _ bytes: Span<UInt8>, _ range: Range<Int>, allowsAsterisk: Bool
  ) throws(HTTPViolation) {
    for index in range where bytes[index] == UInt8(ascii: "#") { throw .malformedTarget }
    if allowsAsterisk, ASCII.equals(bytes.extracting(range), "*") {
      path = range
      return
    }
    var start = range.lowerBound
    if bytes[start] != UInt8(ascii: "/") {
      start = try takeAuthority(bytes, range)
    }
    var end = start
    while end < range.upperBound, bytes[end] != UInt8(ascii: "?") { end += 1 }
    if end < range.upperBound { query = (end + 1)..<range.upperBound }
    if start < end {
      path = start..<end
      try checkPath(bytes, start..<end)
    }
  }

  /// Reads `http://authority` and returns where it ends.
  private mutating func takeAuthority(
    _ bytes: Span<UInt8>, _ range: Range<Int>
  ) throws(HTTPViolation) -> Int {
    let text = bytes.extracting(range)
    var schemeLength = 7
    if text.count > 8, ASCII.equalsIgnoringCase(text.extracting(0..<8), "https://") {
      isHTTPS = true
      schemeLength = 8
    } else if text.count <= 7 || !ASCII.equalsIgnoringCase(text.extracting(0..<7), "http://") {
      throw .malformedTarget
    }
    var end = schemeLength
    while end < text.count, text[end] != UInt8(ascii: "/"), text[end] != UInt8(ascii: "?") {
      end += 1
    }
    guard let authority = Authority(parsing: text.extracting(schemeLength..<end)) else {
      throw .malformedTarget
    }
    self.authority = authority
    return range.lowerBound + end
  }

  /// Whether Host says the same as an absolute-form target.
  func agrees(with host: Authority) -> Bool {
    guard let authority else { return true }
    return authority.host == host.host
      && authority.effectivePort(https: isHTTPS) == host.effectivePort(https: isHTTPS)
  }
}

/// Refuses paths that two readers could take for two resources.
private func checkPath(_ bytes: Span<UInt8>, _ range: Range<Int>) throws(HTTPViolation) {
  var check = PathCheck()
  var index = range.lowerBound
  while index < range.upperBound {
    let byte = bytes[index]
    if byte == UInt8(ascii: "%") {
      guard range.upperBound - index > 2, let high = ASCII.hexValue(bytes[index + 1]),
        let low = ASCII.hexValue(bytes[index + 2])
      else { throw .malformedTarget }
      try check.takeEncoded(high << 4 | low)
      index += 3
    } else {
      try check.takePlain(byte)
      index += 1
    }
  }
  try check.endSegment()
}

/// Follows the decoded bytes of a path.
private struct PathCheck {
  private var dots = 0
  private var isOnlyDots = true
  /// The encoded byte right before; 0 when that was a plain one.
  private var lead: UInt8 = 0

  mutating func takePlain(_ byte: UInt8) throws(HTTPViolation) {
    lead = 0
    switch byte {
    case UInt8(ascii: "/"): try endSegment()
    case UInt8(ascii: "\\"): throw .ambiguousPath
    default: try take(byte)
    }
  }

  mutating func takeEncoded(_ byte: UInt8) throws(HTTPViolation) {
    switch byte {
    case 0, UInt8(ascii: "\r"), UInt8(ascii: "\n"), UInt8(ascii: "/"), UInt8(ascii: "\\"):
      throw .ambiguousPath
    default: break
    }
    if isOverlong(byte) { throw .ambiguousPath }
    lead = byte
    try take(byte)
  }

  private mutating func take(_ byte: UInt8) throws(HTTPViolation) {
    if byte == UInt8(ascii: "."), isOnlyDots {
      dots += 1
    } else {
      // `/..;x/` is `/../` to servers that cut path parameters off.
      if byte == UInt8(ascii: ";") { try endSegment() }
      isOnlyDots = false
    }
  }

  mutating func endSegment() throws(HTTPViolation) {
    if isOnlyDots, dots == 1 || dots == 2 { throw .ambiguousPath }
    dots = 0
    isOnlyDots = true
  }

  /// A longer form than the character needs, which lenient decoders turn into `.` or `/`
  /// (RFC 3629 section 3). Bytes of other encodings, such as a lone %E9, are none.
  private func isOverlong(_ byte: UInt8) -> Bool {
    if byte == 0xc0 || byte == 0xc1 { return true }
    let isContinuation = byte & 0xc0 == 0x80
    return switch lead {
    case 0xe0: isContinuation && byte < 0xa0
    case 0xf0: isContinuation && byte < 0x90
    case 0xf8: isContinuation && byte < 0x88
    case 0xfc: isContinuation && byte < 0x84
    default: false
    }
  }
}
