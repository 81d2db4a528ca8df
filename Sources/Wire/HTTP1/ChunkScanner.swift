// The chunked coding (RFC 9112 section 7.1), byte by byte except for the data, which is only pointed
// at. Sizes and extensions end here: what goes out is framed anew. Chunk sizes are where request smuggling has been done with signs, blanks, lone LFs and lengths that wrap,
// so exactly one spelling is taken.

import Bytes

struct ChunkScanner: Sendable {
  // Defaults of nobody's configuration: no honest sender comes near them.
  static var sizeDigitsMax: UInt16 { 16 }
  static var extensionBytesMax: UInt16 { 256 }
  static var allExtensionBytesMax: UInt16 { 16 * 1024 }

  private enum State: Sendable {
    case size, chunkExtension, sizeLF
    case data, dataCR, dataLF
    case trailers
  }
  private var state = State.size
  /// The size while it is read, then the data bytes to come.
  private var remaining: UInt64 = 0
  // Each count stops at its limit, so none can overflow.
  /// Digits of this size, or bytes of this extension.
  private var count: UInt16 = 0
  private var allExtensionBytes: UInt16 = 0
  private var section = TrailerScanner()

  var isComplete: Bool { section.isComplete }
  /// The trailers that may be passed on, as lines; empty before the end.
  var trailers: [UInt8] { isComplete ? section.lines : [] }

  /// Consumes bytes up to the end of the body; returns how many. `content` is told where chunk data is.
  mutating func scan(
    _ bytes: Span<UInt8>, content: (Range<Int>) -> Void
  ) throws(HTTPViolation) -> Int {
    var index = 0
    while index < bytes.count, !isComplete {
      if state == .data {
        let taken = Int(min(UInt64(bytes.count - index), remaining))
        remaining -= UInt64(taken)
        content(index..<index + taken)
        index += taken
        if remaining == 0 { state = .dataCR }
      } else {
        try take(bytes[index])
        index += 1
      }
    }
    return index
  }

  private mutating func take(_ byte: UInt8) throws(HTTPViolation) {
    switch state {
    case .size: try takeSize(byte)
    case .chunkExtension: try takeExtension(byte)
    case .sizeLF: try endSizeLine(byte)
    case .dataCR:
      guard byte == UInt8(ascii: "\r") else { throw .malformedChunkEnd }
      state = .dataLF
    case .dataLF:
      guard byte == UInt8(ascii: "\n") else { throw .malformedChunkEnd }
      state = .size
      count = 0
    case .trailers: try section.take(byte)
    case .data: break
    }
  }

  private mutating func takeSize(_ byte: UInt8) throws(HTTPViolation) {
    if let digit = ASCII.hexValue(byte) {
      // 16 digits fill 64 bits and no more, so the shift loses nothing.
      guard count < Self.sizeDigitsMax else { throw .malformedChunkSize }
      remaining = remaining << 4 | UInt64(digit)
      count += 1
      return
    }
    guard count > 0 else { throw .malformedChunkSize }
    switch byte {
    case UInt8(ascii: "\r"): state = .sizeLF
    case UInt8(ascii: ";"):
      state = .chunkExtension
      count = 0
      try takeExtension(byte)
    default: throw .malformedChunkSize
    }
  }

  private mutating func takeExtension(_ byte: UInt8) throws(HTTPViolation) {
    if byte == UInt8(ascii: "\r") {
      state = .sizeLF
      return
    }
    count += 1
    allExtensionBytes += 1
    guard ASCII.isFieldValueByte(byte), count <= Self.extensionBytesMax,
      allExtensionBytes <= Self.allExtensionBytesMax
    else { throw .malformedChunkExtension }
  }

  private mutating func endSizeLine(_ byte: UInt8) throws(HTTPViolation) {
    guard byte == UInt8(ascii: "\n") else { throw .bareLineEnd }
    state = remaining == 0 ? .trailers : .data
  }
}
