// Writes heads. The last line of defence against response splitting: whatever was checked before, no
// byte that could end a line gets into a name, a value or a start line.

import Bytes

/// Builds one head in `bytes`. A start line, then fields, then `end()`.
public struct HeadWriter: Sendable {
  public private(set) var bytes: [UInt8] = []

  /// What most heads need, and what an allocator still has a quick way for (1 KiB in all).
  public static var usualBytes: Int { 960 }

  public init(reserving capacity: Int = Self.usualBytes) {
    bytes.reserveCapacity(capacity)
  }

  /// In the memory of another head, which is empty.
  public init(in room: consuming [UInt8]) {
    invariant(room.isEmpty, "the room is not empty")
    bytes = room
    if bytes.capacity == 0 { bytes.reserveCapacity(Self.usualBytes) }
  }

  /// `METHOD path[?query] HTTP/1.1`. False, and nothing written, when the method is no token or
  /// another byte is not VCHAR.
  public mutating func requestLine(
    _ method: Span<UInt8>, path: Span<UInt8>, query: Span<UInt8>?
  ) -> Bool {
    guard ASCII.isToken(method), !path.isEmpty, Self.isVisible(path) else { return false }
    if let query, !Self.isVisible(query) { return false }
    ASCII.append(method, to: &bytes)
    bytes.append(UInt8(ascii: " "))
    ASCII.append(path, to: &bytes)
    if let query {
      bytes.append(UInt8(ascii: "?"))
      ASCII.append(query, to: &bytes)
    }
    ASCII.append(" HTTP/1.1\r\n", to: &bytes)
    return true
  }

  /// `HTTP/1.1 status reason`. The status has three digits; the reason is a literal of ours.
  public mutating func statusLine(_ status: Int, _ reason: StaticString) {
    invariant(status >= 100 && status <= 999, "a status has three digits")
    ASCII.append("HTTP/1.1 ", to: &bytes)
    ASCII.appendDecimal(UInt64(status), to: &bytes)
    bytes.append(UInt8(ascii: " "))
    ASCII.append(reason, to: &bytes)
    endLine()
  }

  /// The same with a reason that a backend chose; false when it cannot be written.
  public mutating func statusLine(_ status: Int, _ reason: Span<UInt8>) -> Bool {
    guard status >= 100, status <= 999, ASCII.isFieldValue(reason) else { return false }
    ASCII.append("HTTP/1.1 ", to: &bytes)
    ASCII.appendDecimal(UInt64(status), to: &bytes)
    bytes.append(UInt8(ascii: " "))
    ASCII.append(reason, to: &bytes)
    endLine()
    return true
  }

  /// A field line. False, and nothing written, when the name is no token or the value holds a
  /// control byte other than HTAB.
  @discardableResult
  public mutating func field(_ name: Span<UInt8>, _ value: Span<UInt8>) -> Bool {
    guard ASCII.isToken(name), ASCII.isFieldValue(value) else { return false }
    ASCII.appendLine(name, value, to: &bytes)
    return true
  }

  /// Field lines as a parser has found them, one behind the other, each with its end. False, and nothing
  /// written, when one is empty, which would end the head, or holds a control byte other than HTAB.
  @discardableResult
  public mutating func lines(_ text: Span<UInt8>) -> Bool {
    var start = 0
    var end = 0
    while end < text.count {
      end = ASCII.endOfText(text, end..<text.count)
      guard end + 1 < text.count else { return false }
      if text[end] == UInt8(ascii: "\t") {
        end += 1
        continue
      }
      guard end > start, text[end] == UInt8(ascii: "\r"), text[end + 1] == UInt8(ascii: "\n") else {
        return false
      }
      end += 2
      start = end
    }
    ASCII.append(text, to: &bytes)
    return true
  }

  @discardableResult
  public mutating func field(_ name: StaticString, _ value: Span<UInt8>) -> Bool {
    guard ASCII.isFieldValue(value) else { return false }
    ASCII.withSpan(name) { ASCII.appendLine($0, value, to: &bytes) }
    return true
  }

  @discardableResult
  public mutating func field(_ name: StaticString, _ value: String) -> Bool {
    field(name, value.utf8.span)
  }

  @discardableResult
  public mutating func field(_ name: String, _ value: String) -> Bool {
    field(name.utf8.span, value.utf8.span)
  }

  /// For values of ours, which hold no line ends.
  public mutating func field(_ name: StaticString, literal value: StaticString) {
    ASCII.withSpan(name) { name in
      ASCII.withSpan(value) { ASCII.appendLine(name, $0, to: &bytes) }
    }
  }

  /// A field whose value is `host:port`. False, and nothing written, when the host cannot be.
  @discardableResult
  public mutating func field(_ name: StaticString, _ host: Span<UInt8>, port: UInt16) -> Bool {
    guard ASCII.isFieldValue(host) else { return false }
    DecimalDigits(UInt64(port), behind: UInt8(ascii: ":")).withSpan { end in
      ASCII.withSpan(name) { ASCII.appendLine($0, host, end, to: &bytes) }
    }
    return true
  }

  public mutating func field(_ name: StaticString, decimal value: UInt64) {
    DecimalDigits(value).withSpan { digits in
      ASCII.withSpan(name) { ASCII.appendLine($0, digits, to: &bytes) }
    }
  }

  public mutating func field(_ name: StaticString, hex first: UInt64, _ second: UInt64) {
    HexDigits(first, second).withSpan { digits in
      ASCII.withSpan(name) { ASCII.appendLine($0, digits, to: &bytes) }
    }
  }

  /// The empty line after the fields.
  public mutating func end() { endLine() }

  /// What has been written, which the writer keeps no copy of.
  public mutating func takeBytes() -> [UInt8] {
    var taken: [UInt8] = []
    swap(&taken, &bytes)
    return taken
  }

  private mutating func endLine() { ASCII.append("\r\n", to: &bytes) }

  private static func isVisible(_ text: Span<UInt8>) -> Bool {
    for index in 0..<text.count where text[index] <= 0x20 || text[index] >= 0x7f { return false }
    return true
  }
}
