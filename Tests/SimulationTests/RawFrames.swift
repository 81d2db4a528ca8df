// Frames as a peer sees them, made and read without the code under test.

import Support

/// One frame off the wire.
struct RawFrame: Equatable, CustomStringConvertible {
  var first: UInt8
  var isMasked: Bool
  var payload: [UInt8]
  /// As it was on the wire.
  var wire: [UInt8]

  var opcode: UInt8 { first & 0x0f }
  var isPing: Bool { first == 0x89 }
  var isPong: Bool { first == 0x8a }
  var isClose: Bool { first == 0x88 }
  /// 1005 for a Close without one, as an endpoint's API would say.
  var closeCode: UInt16? {
    guard isClose else { return nil }
    return payload.count < 2 ? 1005 : UInt16(payload[0]) << 8 | UInt16(payload[1])
  }
  var description: String { "\(String(first, radix: 16))[\(payload.count)]" }

  static func make(
    _ opcode: UInt8, _ payload: [UInt8] = [], fin: Bool = true, mask: [UInt8]? = nil
  ) -> [UInt8] {
    var wire = [opcode | (fin ? 0x80 : 0)]
    let maskBit: UInt8 = mask == nil ? 0 : 0x80
    if payload.count < 126 {
      wire.append(maskBit | UInt8(payload.count))
    } else if payload.count < 65_536 {
      wire += [maskBit | 126, UInt8(payload.count >> 8), UInt8(payload.count & 255)]
    } else {
      wire.append(maskBit | 127)
      for shift in stride(from: 56, through: 0, by: -8) {
        wire.append(UInt8(truncatingIfNeeded: payload.count >> shift))
      }
    }
    guard let mask else { return wire + payload }
    wire += mask
    wire.reserveCapacity(wire.count + payload.count)
    for (index, byte) in payload.enumerated() { wire.append(byte ^ mask[index & 3]) }
    return wire
  }
}

/// Cuts a stream into frames. Lengths that are not minimal are a fault of whoever wrote them.
struct RawFrameReader {
  private var bytes: [UInt8] = []
  private var start = 0
  private(set) var fault: String?

  mutating func append(_ more: [UInt8]) { bytes += more }
  /// Bytes of a frame that is not complete.
  var leftover: Int { bytes.count - start }

  mutating func next() -> RawFrame? {
    let available = bytes.count - start
    guard available >= 2 else { return nil }
    let isMasked = bytes[start + 1] & 0x80 != 0
    var count = Int(bytes[start + 1] & 0x7f)
    var header = 2
    let octets = count == 126 ? 2 : count == 127 ? 8 : 0
    guard available >= header + octets else { return nil }
    if octets > 0 {
      count = bytes[start + 2..<start + 2 + octets].reduce(0) { $0 << 8 | Int($1) }
      if count < (octets == 2 ? 126 : 65_536) { fault = "length \(count) in \(octets) octets" }
      header += octets
    }
    let keyAt = start + header
    if isMasked { header += 4 }
    guard available >= header + count else { return nil }
    var payload = Array(bytes[start + header..<start + header + count])
    // Payload of control frames is looked at; the rest is compared as it is on the wire.
    if isMasked {
      for index in payload.indices { payload[index] ^= bytes[keyAt + index & 3] }
    }
    let frame = RawFrame(
      first: bytes[start], isMasked: isMasked, payload: payload,
      wire: Array(bytes[start..<start + header + count]))
    start += header + count
    if start > 1 << 16 {
      bytes.removeFirst(start)
      start = 0
    }
    return frame
  }

  mutating func all() -> [RawFrame] {
    var frames: [RawFrame] = []
    while let frame = next() { frames.append(frame) }
    return frames
  }
}
