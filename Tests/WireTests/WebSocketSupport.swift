// What the WebSocket tests share: a maker of frames that does not use the code under test, and a
// relay that feeds a scanner the way the bridge does.

import Bytes
import Wire

/// A frame as octets, legal or not.
struct RawFrame {
  var fin = true
  var rsv: UInt8 = 0
  var opcode: UInt8
  var mask: [UInt8]? = [0x37, 0xFA, 0x21, 0x3D]
  var payload: [UInt8] = []
  /// Octets of the extended length: 0, 2 or 8; nil for the least that carries the payload.
  var lengthOctets: Int?

  var bytes: [UInt8] {
    let count = payload.count
    let octets = lengthOctets ?? (count < 126 ? 0 : count < 65536 ? 2 : 8)
    let maskBit: UInt8 = mask == nil ? 0 : 0x80
    var bytes = [(fin ? 0x80 : 0) | rsv << 4 | opcode]
    bytes.append(maskBit | (octets == 0 ? UInt8(count) : octets == 2 ? 126 : 127))
    for index in (0..<octets).reversed() {
      bytes.append(UInt8(truncatingIfNeeded: count >> (8 * index)))
    }
    guard let mask else { return bytes + payload }
    return bytes + mask + payload.enumerated().map { $1 ^ mask[$0 % 4] }
  }
}

/// What came out of a stream, however it was split.
struct Relayed: Equatable {
  struct Control: Equatable {
    var opcode: Opcode
    /// Offset in the stream.
    var start: Int
    var end: Int
    var payload: [UInt8]
    var closeCode: UInt16?
  }
  var forwarded: [UInt8] = []
  var controls: [Control] = []
  var violation: WebSocketViolation?
  /// Offset in the stream.
  var violationAt: Int?
  var held = 0
  var isAtFrameBoundary = true
  var messages: UInt64 = 0
  var payloadBytes: UInt64 = 0
}

/// Feeds `chunks` to a scanner as the bridge does: what is held back comes again in front of the
/// next chunk. Stops at a violation and after a Close.
func relay(_ chunks: [[UInt8]], through scanner: FrameScanner) -> Relayed {
  var scanner = scanner
  var result = Relayed()
  var held: [UInt8] = []
  var offset = 0  // of `held` in the stream
  feeding: for chunk in chunks {
    let bytes = held + chunk
    var start = 0
    scanning: while true {
      switch scanner.scan(bytes.span, from: start) {
      case .needMore(let passable):
        result.forwarded += bytes[start..<passable]
        held = Array(bytes[passable...])
        offset += passable
        break scanning
      case .control(let frame):
        result.forwarded += bytes[start..<frame.end]
        result.controls.append(
          .init(
            opcode: frame.opcode, start: offset + frame.start, end: offset + frame.end,
            payload: octets(frame.payload(in: bytes.span)), closeCode: frame.closeCode))
        start = frame.end
        if frame.opcode == .close { break feeding }
      case .violation(let violation, let at):
        result.forwarded += bytes[start..<at]
        result.violation = violation
        result.violationAt = offset + at
        break feeding
      }
    }
  }
  // A Close or a violation may leave bytes of its chunk unread; how many depends on the chunk.
  let isOver = result.violation != nil || result.controls.last?.opcode == .close
  result.held = isOver ? 0 : held.count
  result.isAtFrameBoundary = scanner.isAtFrameBoundary
  result.messages = scanner.messages
  result.payloadBytes = scanner.payloadBytes
  return result
}

func octets(_ payload: ControlPayload) -> [UInt8] {
  payload.withSpan { span in span.indices.map { span[$0] } }
}

/// `bytes` whole, byte by byte, and cut in two at every offset (at up to `cuts` spread over a long
/// one, and always near its ends, where the headers are).
func everySplit(of bytes: [UInt8], cuts: Int = 400) -> [[[UInt8]]] {
  var splits = [[bytes], bytes.map { [$0] }]
  for at in 0...bytes.count {
    let isNearAnEnd = at < 150 || bytes.count - at < 150
    if bytes.count > cuts, !isNearAnEnd, at % (bytes.count / 8) != 0 { continue }
    splits.append([Array(bytes[..<at]), Array(bytes[at...])])
  }
  return splits
}

/// SplitMix64: the same numbers for the same seed.
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64
  init(seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
    return z ^ z >> 31
  }
}
