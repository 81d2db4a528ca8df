// Lines and fields of a head, for requests and responses alike. The bytes belong to the caller, who
// presents the same head again, longer, until it is complete; the scanner remembers how far it got,
// so that a head arriving byte by byte costs no more than one arriving whole.

import Bytes

/// Limits of one head. A line is counted without its CRLF.
public struct HeadLimits: Sendable {
  public var headBytesMax: Int
  public var fieldsMax: Int
  public var lineBytesMax: Int

  public init(headBytesMax: Int, fieldsMax: Int, lineBytesMax: Int) {
    self.headBytesMax = headBytesMax
    self.fieldsMax = fieldsMax
    self.lineBytesMax = lineBytesMax
  }
}

/// What became of the bytes presented.
public enum Parsed<Value> {
  /// All of them belong to a head that is not complete.
  case needMore
  /// The head is the first `consumed` bytes.
  case done(Value, consumed: Int)
}

extension Parsed: Sendable where Value: Sendable {}

/// One field line. Ranges are offsets into the bytes of its head, and kept in half the room: each request
/// has a dozen of them or two, which are read again and again.
public struct Field: Sendable, Equatable {
  private let nameStart, nameEnd, valueStart, valueEnd: UInt32
  public let known: KnownField

  public var name: Range<Int> { Int(nameStart)..<Int(nameEnd) }
  /// Without the blanks around it; may be empty.
  public var value: Range<Int> { Int(valueStart)..<Int(valueEnd) }

  /// No head is longer than 2 GiB, whatever its limit.
  init(name: Range<Int>, value: Range<Int>, known: KnownField) {
    (nameStart, nameEnd) = (UInt32(name.lowerBound), UInt32(name.upperBound))
    (valueStart, valueEnd) = (UInt32(value.lowerBound), UInt32(value.upperBound))
    self.known = known
  }

  /// The whole line in the bytes of its head, if it stands there as it would be written.
  public func line(in head: Span<UInt8>) -> Range<Int>? {
    let (colon, end) = (name.upperBound, value.upperBound)
    guard value.lowerBound == colon + 2, head.count >= end + 2, head[colon] == UInt8(ascii: ":"),
      head[colon + 1] == UInt8(ascii: " "), head[end] == UInt8(ascii: "\r"),
      head[end + 1] == UInt8(ascii: "\n")
    else { return nil }
    return name.lowerBound..<(end + 2)
  }
}

/// Small on purpose: every connection holds one for as long as it lives.
struct HeadScanner: Sendable {
  enum LineKind { case requestLine, statusLine, field }

  private let headBytesMax: UInt32
  private let lineBytesMax: UInt32
  private let fieldsMax: UInt32
  /// Everything before it has been examined. At most `headBytesMax`.
  private var examined: UInt32 = 0
  private var lineStart: UInt32 = 0
  private(set) var fields: [Field] = []

  var position: Int { Int(examined) }

  init(limits: HeadLimits) {
    func clamp(_ limit: Int) -> UInt32 { UInt32(min(max(limit, 0), Int(Int32.max))) }
    headBytesMax = clamp(limits.headBytesMax)
    lineBytesMax = clamp(limits.lineBytesMax)
    fieldsMax = clamp(limits.fieldsMax)
  }

  /// For the next head. Returns the fields of this one.
  mutating func startOver() -> [Field] {
    examined = 0
    lineStart = 0
    var found: [Field] = []
    swap(&found, &fields)
    return found
  }

  /// Lends it an empty list with room, if it has none.
  mutating func use(_ room: inout [Field]) {
    guard fields.capacity == 0 else { return }
    invariant(room.isEmpty, "the room is not empty")
    swap(&fields, &room)
  }

  /// The next complete line without its CRLF, or nil when there is none yet. Bytes that may not
  /// stand where they do are reported before the line is complete.
  mutating func nextLine(
    _ bytes: Span<UInt8>, _ kind: LineKind
  ) throws(HTTPViolation) -> Range<Int>? {
    let start = Int(lineStart)
    let limit = Int(headBytesMax)
    var position = Int(examined)
    // It fits 32 bits: no byte at or beyond `limit` is passed over.
    defer { examined = UInt32(position) }
    while true {
      // A blank in front is looked at by itself.
      if kind != .field || position > start || !startsBlank(bytes, start) {
        position = endOfText(bytes, from: position, line: start, kind)
      }
      guard position < bytes.count else { return nil }
      let byte = bytes[position]
      guard position < limit else { throw .headTooLarge }
      if byte == UInt8(ascii: "\r") {
        guard position + 1 < bytes.count else { return nil }
        guard bytes[position + 1] == UInt8(ascii: "\n") else { throw .bareLineEnd }
        guard position + 1 < limit else { throw .headTooLarge }
        let line = start..<position
        position += 2
        lineStart = UInt32(position)
        return line
      }
      try check(byte, kind, column: position - start)
      position += 1
    }
  }

  private func startsBlank(_ bytes: Span<UInt8>, _ start: Int) -> Bool {
    start < bytes.count && bytes[start] == UInt8(ascii: " ")
  }

  /// Passes over what the line may hold, as far as the limits let it.
  private func endOfText(
    _ bytes: Span<UInt8>, from position: Int, line start: Int, _ kind: LineKind
  ) -> Int {
    let end = min(bytes.count, Int(headBytesMax), start + Int(lineBytesMax))
    guard position < end else { return position }
    return ASCII.endOfText(bytes, position..<end, onlyASCII: kind == .requestLine)
  }

  private func check(
    _ byte: UInt8, _ kind: LineKind, column: Int
  ) throws(HTTPViolation) {
    if byte == UInt8(ascii: "\n") { throw .bareLineEnd }
    let isAllowed =
      kind == .requestLine ? byte >= 0x20 && byte < 0x7f : ASCII.isFieldValueByte(byte)
    if !isAllowed { throw .forbiddenByte }
    if kind == .field, column == 0, ASCII.isBlank(byte) { throw .obsoleteFold }
    if column >= Int(lineBytesMax) {
      throw kind == .requestLine ? .requestLineTooLong : .lineTooLong
    }
  }

  /// Reads a field line and keeps it.
  mutating func takeField(
    _ bytes: Span<UInt8>, _ line: Range<Int>
  ) throws(HTTPViolation) -> Field {
    guard fields.count < Int(fieldsMax) else { throw .tooManyFields }
    let colon = ASCII.endOfToken(bytes, line)
    guard colon > line.lowerBound, colon < line.upperBound, bytes[colon] == UInt8(ascii: ":")
    else { throw .malformedFieldName }
    let name = line.lowerBound..<colon
    let field = Field(
      name: name, value: ASCII.trimmed(bytes, (colon + 1)..<line.upperBound),
      known: KnownField(name: bytes.extracting(name)))
    if fields.isEmpty { fields.reserveCapacity(16) }
    fields.append(field)
    return field
  }
}
