// From bytes to the head of a backend's response (RFC 9112 sections 4 to 6), as strict as the request
// side: a backend may be old or hostile as well. Whatever is wrong, the client gets a 502.

import Bytes

public struct ResponseHead: MessageHead, Sendable {
  public fileprivate(set) var bytes: [UInt8]
  public fileprivate(set) var fields: [Field]
  public let version: HTTPVersion
  /// 100 to 599.
  public let status: Int
  /// May be empty.
  public let reason: Range<Int>
  /// The body when the request was not HEAD. `none` for 1xx, 204 and 304.
  public let bodyFraming: BodyFraming.Length

  /// 1xx other than 101: another head follows.
  public var isInterim: Bool { status < 200 && status != 101 }
}

/// Parses one head per call of `parse` that returns `done`; the caller loops over interim ones.
public struct ResponseParser: Sendable {
  private var scanner: HeadScanner
  private var framing = FramingFields()
  /// Of the status line; nil until that has been read. The rest of it is read again at the end, when
  /// the head has come in pieces.
  private var version: HTTPVersion?
  private var lineEnd: UInt32 = 0

  public init(limits: HeadLimits) {
    scanner = HeadScanner(limits: limits)
  }

  /// `bytes` is everything received of this head: after `needMore` the same bytes again and more.
  /// After `done` the parser is ready for the next head; after a violation it must not be used.
  public mutating func parse(
    _ bytes: Span<UInt8>
  ) throws(HTTPViolation) -> Parsed<ResponseHead> {
    var room = HeadRoom()
    return try parse(bytes, in: &room)
  }

  /// The same, with the head in memory that another one had.
  public mutating func parse(
    _ bytes: Span<UInt8>, in room: inout HeadRoom
  ) throws(HTTPViolation) -> Parsed<ResponseHead> {
    scanner.use(&room.fields)
    // Of this call; it is read again when the head comes in pieces.
    var found: StatusLine?
    while let range = try scanner.nextLine(bytes, version == nil ? .statusLine : .field) {
      if let version {
        if range.isEmpty { return try finish(bytes, found, &room) }
        let field = try scanner.takeField(bytes, range)
        try framing.note(field, bytes, version)
      } else {
        let line = try StatusLine(bytes, range)
        found = line
        version = line.version
        // The scanner lets no line end beyond 32 bits.
        lineEnd = UInt32(range.upperBound)
      }
    }
    return .needMore
  }

  /// The head, behind which the parser starts over.
  private mutating func finish(
    _ bytes: Span<UInt8>, _ found: StatusLine?, _ room: inout HeadRoom
  ) throws(HTTPViolation) -> Parsed<ResponseHead> {
    let line = if let found { found } else { try StatusLine(bytes, 0..<Int(lineEnd)) }
    let bodyFraming = try framing.responseLength(status: line.status)
    let end = scanner.position
    let copy = room.copy(bytes.extracting(0..<end))
    let fields = scanner.startOver()
    framing = FramingFields()
    version = nil
    return .done(
      ResponseHead(
        bytes: copy, fields: fields, version: line.version, status: line.status,
        reason: line.reason, bodyFraming: bodyFraming),
      consumed: end)
  }
}

/// Memory of a head that is done with, for the next one: what a worker reads is a head after the other,
/// and the allocator was asked twice for each. Empty at first.
public struct HeadRoom: Sendable {
  /// A list with room for more is not kept.
  static var fieldsMax: Int { 64 }

  private var bytes: [UInt8] = []
  fileprivate var fields: [Field] = []

  public init() {}

  /// Takes the memory of a head that will not be read again. What somebody else holds too stays theirs.
  public mutating func take(from head: inout ResponseHead) {
    swap(&bytes, &head.bytes)
    swap(&fields, &head.fields)
    bytes.empty(keeping: SpareBytes.bytesMax)
    fields.empty(keeping: Self.fieldsMax)
  }

  fileprivate mutating func copy(_ text: Span<UInt8>) -> [UInt8] {
    var copy: [UInt8] = []
    swap(&copy, &bytes)
    // What is left in it would be another backend's.
    invariant(copy.isEmpty, "the room is not empty")
    ASCII.append(text, to: &copy)
    return copy
  }
}

/// `HTTP-version SP status-code SP [reason-phrase]` (RFC 9112 section 4). The second SP may be missing
/// when the reason is: servers leave it out, and nothing else can be meant.
private struct StatusLine: Sendable {
  let version: HTTPVersion
  let status: Int
  let reason: Range<Int>

  init(_ bytes: Span<UInt8>, _ line: Range<Int>) throws(HTTPViolation) {
    let text = bytes.extracting(line)
    guard text.count >= 12, text[8] == UInt8(ascii: " ") else { throw .malformedStatusLine }
    version = try HTTPVersion(parsing: text.extracting(0..<8))
    guard let code = ASCII.decimal(text.extracting(9..<12)), code >= 100, code < 600,
      text.count == 12 || text[12] == UInt8(ascii: " ")
    else { throw .malformedStatusLine }
    status = Int(code)
    reason = min(line.lowerBound + 13, line.upperBound)..<line.upperBound
  }
}
