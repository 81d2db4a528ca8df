// The fields of a head that we send over HTTP/2. The last line of defence of that direction: no field
// that a receiver could take for something else gets in, unless a parser of ours has checked it already.

internal import Bytes

/// Fields with names in lower case, without the pseudo-fields (RFC 9113, section 8.2).
public struct FieldBlock: Sendable {
  struct Entry: Sendable {
    let name: Range<Int>
    let value: Range<Int>
  }
  private(set) var bytes: [UInt8] = []
  private(set) var entries: [Entry] = []

  public init() {}

  /// The trailers that `BodyFraming.trailers` gives, which are lines of `name: value` CRLF. What the
  /// rules of `append` refuse is left out.
  public init(trailers lines: Span<UInt8>) {
    var start = 0
    while let colon = Self.index(of: UInt8(ascii: ":"), in: lines, from: start),
      let end = Self.index(of: UInt8(ascii: "\r"), in: lines, from: colon)
    {
      append(lines.extracting(start..<colon), lines.extracting(colon + 1..<end))
      start = end + 2
    }
  }

  private static func index(of byte: UInt8, in lines: Span<UInt8>, from start: Int) -> Int? {
    guard start < lines.count else { return nil }
    for index in start..<lines.count where lines[index] == byte { return index }
    return nil
  }

  public var isEmpty: Bool { entries.isEmpty }
  public var count: Int { entries.count }

  /// Adds a field, its name in lower case and its value without the blanks around it. False, and
  /// nothing added, when the name is no token, the value holds a control byte other than HTAB, or the
  /// field belongs to a connection (section 8.2.2).
  @discardableResult
  public mutating func append(_ name: Span<UInt8>, _ value: Span<UInt8>) -> Bool {
    guard ASCII.isToken(name), ASCII.isFieldValue(value),
      !Self.isConnectionSpecific(KnownField(name: name), value)
    else { return false }
    add(name, value.extracting(ASCII.trimmed(value, 0..<value.count)))
    return true
  }

  /// Adds a field that a parser has found in `head`, and checked: none of its bytes is looked at again.
  /// One that belongs to a connection is left out.
  public mutating func append(_ field: Field, of head: Span<UInt8>) {
    let value = head.extracting(field.value)
    guard !Self.isConnectionSpecific(field.known, value) else { return }
    add(head.extracting(field.name), value)
  }

  private mutating func add(_ name: Span<UInt8>, _ value: Span<UInt8>) {
    reserve()
    let start = bytes.count
    ASCII.appendPair(name, value, to: &bytes)
    let end = start + name.count
    entries.append(Entry(name: start..<end, value: end..<bytes.count))
  }

  @discardableResult
  public mutating func append(_ name: StaticString, _ value: Span<UInt8>) -> Bool {
    ASCII.withSpan(name) { append($0, value) }
  }

  @discardableResult
  public mutating func append(_ name: StaticString, _ value: StaticString) -> Bool {
    ASCII.withSpan(value) { append(name, $0) }
  }

  public mutating func append(_ name: StaticString, decimal value: UInt64) {
    reserve()
    let start = bytes.count
    ASCII.withSpan(name) { ASCII.appendLowercased($0, to: &bytes) }
    let end = bytes.count
    ASCII.appendDecimal(value, to: &bytes)
    entries.append(Entry(name: start..<end, value: end..<bytes.count))
  }

  private mutating func reserve() {
    guard entries.isEmpty else { return }
    bytes.reserveCapacity(480)
    entries.reserveCapacity(16)
  }

  private static func isConnectionSpecific(_ known: KnownField, _ value: Span<UInt8>) -> Bool {
    switch known {
    case .connection, .keepAlive, .proxyConnection, .transferEncoding, .upgrade, .http2Settings:
      true
    case .te: !ASCII.equalsIgnoringCase(value, "trailers")
    default: false
    }
  }
}
