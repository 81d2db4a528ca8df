// Walks the frames of a byte stream for a peer that takes everything: no rules are checked, payloads
// arrive in pieces and are never collected. Owned by one link. The gateway has a strict scanner of its
// own; the load generator must not share its mistakes, so it does not share its code either.

import Bytes

struct FrameCursor {
  enum Step: Equatable {
    case needMore
    /// A frame begins; its payload follows in pieces, none when `length` is 0.
    case header(opcode: UInt8, final: Bool, length: Int)
    /// `range` of the span is payload; `ends` says that the frame is complete with it.
    case payload(Range<Int>, ends: Bool)
  }

  private var headerCount = 0
  private var first: UInt8 = 0
  private var second: UInt8 = 0
  private var length: UInt64 = 0
  private var remaining = 0
  /// Payload bytes of the frame that have been stepped over: the phase of the next piece's mask.
  private(set) var payloadOffset = 0
  /// The key of the frame being read, its first byte the most significant; 0 when it is not masked.
  private(set) var mask: UInt32 = 0

  /// The next step from `position`, which moves past what the step covers.
  mutating func next(_ bytes: Span<UInt8>, at position: inout Int) -> Step {
    if remaining > 0 {
      let count = min(remaining, bytes.count - position)
      if count == 0 { return .needMore }
      let range = position..<position + count
      position += count
      remaining -= count
      payloadOffset += count
      return .payload(range, ends: remaining == 0)
    }
    while headerCount < 2 || headerCount < 2 + extendedBytes + maskBytes {
      if position == bytes.count { return .needMore }
      takeHeader(bytes[position])
      position += 1
    }
    headerCount = 0
    payloadOffset = 0
    remaining = Int(clamping: length)
    return .header(opcode: first & 15, final: first & 128 != 0, length: remaining)
  }

  private var extendedBytes: Int {
    second & 127 == 126 ? 2 : second & 127 == 127 ? 8 : 0
  }
  private var maskBytes: Int { second & 128 == 0 ? 0 : 4 }

  private mutating func takeHeader(_ byte: UInt8) {
    switch headerCount {
    case 0:
      first = byte
    case 1:
      second = byte
      length = extendedBytes == 0 ? UInt64(byte & 127) : 0
      mask = 0
    case ..<(2 + extendedBytes):
      length = length << 8 | UInt64(byte)
    default:
      mask = mask << 8 | UInt32(byte)
    }
    headerCount += 1
  }
}

enum Frames {
  /// The header of a frame with `count` payload bytes; `mask` nil for a server's frame.
  static func header(opcode: UInt8, final: Bool, count: Int, mask: UInt32?) -> [UInt8] {
    var bytes: [UInt8] = [opcode | (final ? 128 : 0)]
    let maskBit: UInt8 = mask == nil ? 0 : 128
    if count < 126 {
      bytes.append(UInt8(count) | maskBit)
    } else {
      let width = count < 65_536 ? 2 : 8
      bytes.append((width == 2 ? 126 : 127) | maskBit)
      for index in (0..<width).reversed() {
        bytes.append(UInt8(truncatingIfNeeded: count >> (8 * index)))
      }
    }
    if let mask {
      for index in 0..<4 { bytes.append(Mask.octet(mask, at: index)) }
    }
    return bytes
  }

  /// A whole masked binary frame with `count` bytes that do not compress.
  static func clientMessage(count: Int) -> [UInt8] {
    let mask: UInt32 = 0x9c3a_51e7
    var bytes = header(opcode: 2, final: true, count: count, mask: mask)
    bytes.reserveCapacity(bytes.count + count)
    var state: UInt64 = 0x9e37_79b9_7f4a_7c15
    for index in 0..<count {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      bytes.append(UInt8(truncatingIfNeeded: state >> 56) ^ Mask.octet(mask, at: index))
    }
    return bytes
  }
}
