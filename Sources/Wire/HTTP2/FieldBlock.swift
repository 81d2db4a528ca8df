// The fields of a head that we send over HTTP/2. The last line of defence of that direction: no field
// that a receiver could take for something else gets in, unless a parser of ours has checked it already
// or it is a literal of ours.

internal import Bytes

/// Fields without the pseudo-fields (RFC 9113, section 8.2). Their names are in lower case when they leave
/// the library, which makes them so while it copies them.
public struct FieldBlock: Sendable {
  /// Where a field lies: in `head`, or else in `bytes`.
  struct Entry: Sendable {
    let isOfHead: Bool
    let name: UInt32
    let nameCount: UInt32
    let value: UInt32
    let valueCount: UInt32

    fileprivate init(isOfHead: Bool = false, _ name: Range<Int>, _ value: Range<Int>) {
      self.isOfHead = isOfHead
      (self.name, nameCount) = (UInt32(name.lowerBound), UInt32(name.count))
      (self.value, valueCount) = (UInt32(value.lowerBound), UInt32(value.count))
    }
  }
  /// Of somebody else, whose fields are passed on from where they lie.
  private(set) var head: [UInt8] = []
  private(set) var bytes: [UInt8] = []
  private(set) var entries: [Entry] = []

  public init() {}

  /// For fields that a parser has found in `head`, and some of ours.
  public init(of head: [UInt8]) { self.head = head }

  /// The same in the memory of another one, which is empty.
  public init(of head: [UInt8], in room: inout FieldBlock) {
    // What is left in it would be another client's.
    invariant(room.entries.isEmpty && room.bytes.isEmpty, "the room is not empty")
    self.head = head
    swap(&bytes, &room.bytes)
    swap(&entries, &room.entries)
  }

  /// Makes it an empty one, which keeps its memory unless that is more than most need.
  public mutating func clear() {
    head = []
    bytes.empty(keeping: SpareBytes.bytesMax)
    entries.empty(keeping: HeadRoom.fieldsMax)
  }

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
    let (name, value) = (field.name, field.value)
    invariant(head.count == self.head.count, "a field of another head")
    invariant(name.upperBound <= head.count && value.upperBound <= head.count, "beyond the head")
    guard !Self.isConnectionSpecific(field.known, head.extracting(value)) else { return }
    reserveEntries()
    entries.append(Entry(isOfHead: true, name, value))
  }

  private mutating func add(_ name: Span<UInt8>, _ value: Span<UInt8>) {
    reserve()
    let start = bytes.count
    ASCII.appendPair(name, value, to: &bytes)
    let end = start + name.count
    entries.append(Entry(start..<end, end..<bytes.count))
  }

  @discardableResult
  public mutating func append(_ name: StaticString, _ value: Span<UInt8>) -> Bool {
    ASCII.withSpan(name) { append($0, value) }
  }

  /// A field of ours, whose bytes are known; left out if it belongs to a connection.
  public mutating func append(_ name: StaticString, _ value: StaticString) {
    ASCII.withSpan(name) { name in
      ASCII.withSpan(value) { value in
        if !Self.isConnectionSpecific(KnownField(name: name), value) { add(name, value) }
      }
    }
  }

  public mutating func append(_ name: StaticString, decimal value: UInt64) {
    DecimalDigits(value).withSpan { digits in ASCII.withSpan(name) { add($0, digits) } }
  }

  private mutating func reserve() {
    // Of a head that is passed on little is ours.
    if bytes.isEmpty { bytes.reserveCapacity(head.isEmpty ? 480 : 96) }
    reserveEntries()
  }

  private mutating func reserveEntries() {
    if entries.isEmpty { entries.reserveCapacity(16) }
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
