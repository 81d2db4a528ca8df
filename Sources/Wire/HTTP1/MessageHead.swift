// What request heads and response heads have in common: they own their bytes, so that they outlive
// the buffer they were received in, and everything else in them is an offset into those bytes.

import Bytes

public protocol MessageHead {
  /// Over HTTP/1 the head as it came, its last CRLF included; over HTTP/2 what was decoded, fields as
  /// lines of HTTP/1. Whatever else may stand there is no part of it.
  var bytes: [UInt8] { get }
  /// In the order they came.
  var fields: [Field] { get }
}

extension MessageHead {
  public func count(of known: KnownField) -> Int {
    var count = 0
    for field in fields where field.known == known { count += 1 }
    return count
  }

  /// The values of all fields of that name, in order.
  public func values(of known: KnownField) -> [Range<Int>] {
    var values: [Range<Int>] = []
    for field in fields where field.known == known { values.append(field.value) }
    return values
  }

  /// The same, as bytes that share the head's storage.
  public func slices(of known: KnownField) -> [ArraySlice<UInt8>] {
    values(of: known).map { bytes[$0] }
  }

  /// The value of the only field of that name; nil when there is none or more than one.
  public func onlyValue(of known: KnownField) -> Range<Int>? {
    var found: Range<Int>?
    for field in fields where field.known == known {
      if found != nil { return nil }
      found = field.value
    }
    return found
  }

  /// The elements of the comma-separated lists in all fields of that name, trimmed, empty ones left
  /// out (RFC 9110 section 5.6.1). Commas inside quoted strings divide too: for lists of tokens.
  public func elements(of known: KnownField) -> [Range<Int>] {
    var elements: [Range<Int>] = []
    forEachElement(of: known) { elements.append($0) }
    return elements
  }

  /// Calls `body` with each of them.
  public func forEachElement(of known: KnownField, _ body: (Range<Int>) -> Void) {
    let text = bytes.span
    for field in fields where field.known == known {
      var start = field.value.lowerBound
      while start < field.value.upperBound {
        var end = start
        while end < field.value.upperBound, text[end] != UInt8(ascii: ",") { end += 1 }
        let element = ASCII.trimmed(text, start..<end)
        if !element.isEmpty { body(element) }
        start = end + 1
      }
    }
  }

  /// Whether a list field (Connection, Upgrade) holds `token`, which is given in lower case.
  public func hasToken(_ token: StaticString, in known: KnownField) -> Bool {
    var isThere = false
    forEachElement(of: known) { isThere = isThere || equalsIgnoringCase($0, token) }
    return isThere
  }

  /// `text` in lower case.
  public func equalsIgnoringCase(_ range: Range<Int>, _ text: StaticString) -> Bool {
    ASCII.equalsIgnoringCase(bytes.span.extracting(range), text)
  }

  public func equals(_ range: Range<Int>, _ text: StaticString) -> Bool {
    ASCII.equals(bytes.span.extracting(range), text)
  }

  /// For logs: bytes that are no UTF-8 become U+FFFD.
  public func string(_ range: Range<Int>) -> String {
    String(decoding: bytes[range], as: UTF8.self)
  }
}

/// The versions that are spoken here; all others are violations.
public enum HTTPVersion: Sendable, Equatable {
  case http10, http11, http2

  /// `HTTP/1.0` or `HTTP/1.1` (RFC 9112 section 2.3).
  init(parsing text: Span<UInt8>) throws(HTTPViolation) {
    guard text.count == 8, ASCII.equals(text.extracting(0..<5), "HTTP/"), ASCII.isDigit(text[5]),
      text[6] == UInt8(ascii: "."), ASCII.isDigit(text[7])
    else { throw .malformedVersion }
    switch (text[5] - 0x30, text[7] - 0x30) {
    case (1, 0): self = .http10
    case (1, 1): self = .http11
    case (0, _): throw .malformedVersion
    default: throw .versionNotSupported
    }
  }
}
