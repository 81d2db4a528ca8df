// Reads one frame header and decides whether it may stand where it stands (RFC 6455, section 5).
// Shared by the scanner of the bridge and the assembler of endpoints, so that both hold peers to the
// same rules. A verdict comes as soon as the bytes that settle it are there, in the order of the
// bytes, so it does not depend on how they were split over reads.

internal import Bytes

/// A frame header that is complete and legal.
struct FrameHeader {
  var opcode: Opcode
  var isFinal: Bool
  /// Octets of the header: 2, 4 or 10, and 4 more with a mask.
  var headerCount: Int
  var payloadCount: UInt64
}

/// What one direction of a connection may send, and the message it is in the middle of.
struct FrameRules {
  let expectsMask: Bool
  let allowsRSV1: Bool
  let messageBytesMax: UInt64
  /// A fragmented message is open.
  private(set) var isInMessage = false
  /// Of the open message, or the last one.
  private(set) var isText = false
  /// What the open message has cost so far. Invariant: at most `messageBytesMax`.
  private var messageBytes: UInt64 = 0

  /// A continuation frame costs at least this much of the limit, so that a message cannot go on for
  /// ever in empty frames.
  static var continuationCostMin: UInt64 { 64 }

  init(expectsMask: Bool, allowsRSV1: Bool, messageBytesMax: UInt64) {
    self.expectsMask = expectsMask
    self.allowsRSV1 = allowsRSV1
    self.messageBytesMax = messageBytesMax
  }

  /// Reads the header that begins at `at`; nil when it is not complete and legal so far. Changes
  /// nothing: the same header may be read again.
  @_noLocks @inline(always)
  func read(_ bytes: Span<UInt8>, at: Int) throws(WebSocketViolation) -> FrameHeader? {
    let available = bytes.count &- at
    guard available >= 1 else { return nil }
    let first = bytes[at]
    let opcode = try opcode(ofFirst: first)
    guard available >= 2 else { return nil }
    let second = bytes[at &+ 1]
    guard (second & 0x80 != 0) == expectsMask else { throw expectsMask ? .notMasked : .masked }

    var header = FrameHeader(
      opcode: opcode, isFinal: first & 0x80 != 0, headerCount: expectsMask ? 6 : 2,
      payloadCount: UInt64(second & 0x7F))
    if opcode.isControl {
      guard header.payloadCount <= 125 else { throw .controlTooLong }
      if case .close = opcode, header.payloadCount == 1 { throw .closePayloadTooShort }
    } else {
      guard try readExtendedLength(bytes, at: at, into: &header) else { return nil }
      guard cost(opcode, header.payloadCount) <= messageBytesMax &- messageBytes else {
        throw .messageTooBig
      }
    }
    return available >= header.headerCount ? header : nil
  }

  /// Takes a header of a data frame that `read` returned: the message goes on, or ends with it.
  @_noLocks @inline(always)
  mutating func enter(_ header: FrameHeader) {
    isInMessage = !header.isFinal
    switch header.opcode {
    case .text: isText = true
    case .binary: isText = false
    case .continuation, .close, .ping, .pong: break
    }
    // No overflow: `read` has held the sum against the limit.
    messageBytes = header.isFinal ? 0 : messageBytes &+ cost(header.opcode, header.payloadCount)
  }

  /// The mask in a header of a client; zero, which changes nothing, where there is none.
  @_noLocks @inline(always)
  func maskKey(of header: FrameHeader, in bytes: Span<UInt8>, at: Int) -> UInt32 {
    guard expectsMask else { return 0 }
    let key = Self.number(in: bytes, at: at &+ header.headerCount &- 4, count: 4)
    return UInt32(truncatingIfNeeded: key)
  }

  @_noLocks @inline(always)
  private func opcode(ofFirst first: UInt8) throws(WebSocketViolation) -> Opcode {
    let reserved = first & 0x70
    guard let opcode = Opcode.of(first: first) else {
      throw reserved == 0 ? .reservedOpcode : .reservedBits
    }
    switch opcode {
    case .continuation:
      guard reserved == 0 else { throw .reservedBits }
      guard isInMessage else { throw .unexpectedContinuation }
    case .text, .binary:
      // RFC 7692, section 6: RSV1 stands on the first frame of a message only.
      guard reserved == 0 || reserved == 0x40 && allowsRSV1 else { throw .reservedBits }
      guard !isInMessage else { throw .expectedContinuation }
    case .close, .ping, .pong:
      guard reserved == 0 else { throw .reservedBits }
      guard first & 0x80 != 0 else { throw .controlFragmented }
    }
    return opcode
  }

  /// Replaces a length of 126 or 127 by the number that follows it. False when that is incomplete.
  @_noLocks @inline(always)
  private func readExtendedLength(
    _ bytes: Span<UInt8>, at: Int, into header: inout FrameHeader
  ) throws(WebSocketViolation) -> Bool {
    let available = bytes.count &- at
    switch header.payloadCount {
    case 126:
      guard available >= 4 else { return false }
      header.payloadCount = Self.number(in: bytes, at: at &+ 2, count: 2)
      guard header.payloadCount >= 126 else { throw .lengthNotMinimal }
      header.headerCount &+= 2
    case 127:
      guard available >= 3 else { return false }
      guard bytes[at &+ 2] & 0x80 == 0 else { throw .lengthTooLong }
      guard available >= 10 else { return false }
      header.payloadCount = Self.number(in: bytes, at: at &+ 2, count: 8)
      guard header.payloadCount > 0xFFFF else { throw .lengthNotMinimal }
      header.headerCount &+= 8
    default: break
    }
    return true
  }

  @_noLocks @inline(always)
  private func cost(_ opcode: Opcode, _ payloadCount: UInt64) -> UInt64 {
    switch opcode {
    case .continuation: max(payloadCount, Self.continuationCostMin)
    default: payloadCount
    }
  }

  /// A big-endian number of `count` octets.
  @_noLocks @inline(always)
  private static func number(in bytes: Span<UInt8>, at: Int, count: Int) -> UInt64 {
    var number: UInt64 = 0
    for index in at..<at &+ count { number = number << 8 | UInt64(bytes[index]) }
    return number
  }
}
