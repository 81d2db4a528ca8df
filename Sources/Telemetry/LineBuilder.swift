// One JSON object on one line. Everything that goes in as a value is escaped here and nowhere else,
// so a peer cannot end a line, start another, or reach an operator's terminal. Owned by one worker
// and used again for every line.

public import Bytes

/// Builds one line at a time: `begin`, any number of fields, `end`.
public struct LineBuilder: Sendable {
  /// No value takes more than this on the line, its escapes included.
  public static var fieldBytesMax: Int { 1024 }

  public internal(set) var bytes: [UInt8] = []
  private var needsComma = false

  public init() {}

  public mutating func begin() {
    bytes.removeAll(keepingCapacity: true)
    bytes.append(UInt8(ascii: "{"))
    needsComma = false
  }

  public mutating func end() {
    bytes.append(UInt8(ascii: "}"))
    bytes.append(UInt8(ascii: "\n"))
  }

  // MARK: Fields

  /// `name` is ours: it is written as it is. The value is cut after `limit` bytes on the line.
  public mutating func field(
    _ name: StaticString, _ value: Span<UInt8>, limit: Int = LineBuilder.fieldBytesMax
  ) {
    key(name)
    quoted(value, limit: limit)
  }

  public mutating func field(
    _ name: StaticString, _ value: [UInt8], limit: Int = LineBuilder.fieldBytesMax
  ) {
    field(name, value.span, limit: limit)
  }

  public mutating func field(
    _ name: StaticString, _ value: String, limit: Int = LineBuilder.fieldBytesMax
  ) {
    field(name, Array(value.utf8).span, limit: limit)
  }

  /// A word of ours: no escaping.
  public mutating func field(_ name: StaticString, word: StaticString) {
    key(name)
    bytes.append(UInt8(ascii: "\""))
    append(word)
    bytes.append(UInt8(ascii: "\""))
  }

  public mutating func field(_ name: StaticString, _ value: UInt64) {
    key(name)
    appendDecimal(value)
  }

  public mutating func field(_ name: StaticString, _ value: Bool) {
    key(name)
    append(value ? "true" : "false")
  }

  /// A time in milliseconds with three decimals; a negative one counts as none.
  public mutating func field(_ name: StaticString, milliseconds span: TimeSpan) {
    key(name)
    let microseconds = UInt64(max(span.microseconds, 0))
    appendDecimal(microseconds / 1000)
    bytes.append(UInt8(ascii: "."))
    appendDecimal(microseconds % 1000, digits: 3)
  }

  /// Fields that were built before (`fragment`).
  public mutating func fields(_ fragment: [UInt8]) {
    guard !fragment.isEmpty else { return }
    comma()
    bytes.append(contentsOf: fragment)
  }

  /// The fields that `body` adds, without braces, for `fields` later.
  public static func fragment(_ body: (inout LineBuilder) -> Void) -> [UInt8] {
    var builder = LineBuilder()
    body(&builder)
    return builder.bytes
  }

  /// The same as an object of its own.
  public static func object(_ body: (inout LineBuilder) -> Void) -> [UInt8] {
    [UInt8(ascii: "{")] + fragment(body) + [UInt8(ascii: "}")]
  }

  // MARK: Parts

  private mutating func comma() {
    if needsComma { bytes.append(UInt8(ascii: ",")) }
    needsComma = true
  }

  mutating func key(_ name: StaticString) {
    comma()
    bytes.append(UInt8(ascii: "\""))
    append(name)
    bytes.append(UInt8(ascii: "\""))
    bytes.append(UInt8(ascii: ":"))
  }

  mutating func append(_ word: StaticString) {
    ASCII.append(word, to: &bytes)
  }

  /// `digits`: at least so many, filled with zeros.
  mutating func appendDecimal(_ value: UInt64, digits: Int = 1) {
    let start = bytes.count
    var rest = value
    repeat {
      bytes.append(UInt8(ascii: "0") + UInt8(rest % 10))
      rest /= 10
    } while rest != 0 || bytes.count - start < digits
    bytes[start...].reverse()
  }

  private mutating func quoted(_ value: Span<UInt8>, limit: Int) {
    bytes.append(UInt8(ascii: "\""))
    let room = min(max(limit, 0), Self.fieldBytesMax)
    let start = bytes.count
    // Where the value is cut if it turns out too long: the last place that leaves room for "…".
    var cut = start
    var index = 0
    while index < value.count {
      let length = appendEscaped(value, at: index)
      if bytes.count - start > room {
        bytes.removeSubrange(cut...)
        if cut - start + 3 <= room { bytes.append(contentsOf: "…".utf8) }
        break
      }
      if bytes.count - start <= room - 3 { cut = bytes.count }
      index += length
    }
    bytes.append(UInt8(ascii: "\""))
  }
}
