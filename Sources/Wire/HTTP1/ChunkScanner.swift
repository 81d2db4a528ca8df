// The chunked coding (RFC 9112 section 7.1), byte by byte except for the data, which is skipped. Chunk
// sizes are where request smuggling has been done with signs, blanks, lone LFs and lengths that wrap,
// so exactly one spelling is taken.

import Bytes

struct ChunkScanner: Sendable {
  // Defaults of nobody's configuration: no honest sender comes near them.
  static var sizeDigitsMax: UInt16 { 16 }
  static var extensionBytesMax: UInt16 { 256 }
  static var allExtensionBytesMax: UInt16 { 16 * 1024 }
  static var trailerBytesMax: UInt16 { 8 * 1024 }
  static var trailersMax: UInt16 { 100 }

  private enum State: Sendable {
    case size, chunkExtension, sizeLF
    case data, dataCR, dataLF
    case trailerStart, trailerName, trailerValue, trailerLF, lastLF
    case complete
  }
  private var state = State.size
  /// The size while it is read, then the data bytes to come.
  private var remaining: UInt64 = 0
  // Each count stops at its limit, so none can overflow.
  /// Digits of this size, or bytes of this extension.
  private var count: UInt16 = 0
  private var allExtensionBytes: UInt16 = 0
  private var trailers: UInt16 = 0
  private var trailerBytes: UInt16 = 0
  private var trailerName = TrailerName()

  var isComplete: Bool { state == .complete }

  /// Consumes bytes up to the end of the body; returns how many. `content` is told where chunk data is.
  mutating func scan(
    _ bytes: Span<UInt8>, content: (Range<Int>) -> Void = { _ in }
  ) throws(HTTPViolation) -> Int {
    var index = 0
    while index < bytes.count, state != .complete {
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
    case .data, .complete: break
    case .trailerStart, .trailerName, .trailerValue, .trailerLF, .lastLF: try takeTrailer(byte)
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
    state = remaining == 0 ? .trailerStart : .data
  }

  private mutating func takeTrailer(_ byte: UInt8) throws(HTTPViolation) {
    switch state {
    case .lastLF:
      guard byte == UInt8(ascii: "\n") else { throw .bareLineEnd }
      state = .complete
      return
    case .trailerLF:
      guard byte == UInt8(ascii: "\n") else { throw .bareLineEnd }
      state = .trailerStart
    case .trailerStart where byte == UInt8(ascii: "\r"):
      state = .lastLF
      return
    case .trailerStart:
      trailers += 1
      guard trailers <= Self.trailersMax else { throw .trailersTooLarge }
      trailerName = TrailerName()
      state = .trailerName
      try takeTrailerName(byte)
    case .trailerName: try takeTrailerName(byte)
    default:
      if byte == UInt8(ascii: "\r") {
        state = .trailerLF
      } else if !ASCII.isFieldValueByte(byte) {
        throw byte == UInt8(ascii: "\n") ? .bareLineEnd : .malformedTrailer
      }
    }
    trailerBytes += 1
    guard trailerBytes <= Self.trailerBytesMax else { throw .trailersTooLarge }
  }

  private mutating func takeTrailerName(_ byte: UInt8) throws(HTTPViolation) {
    if byte == UInt8(ascii: ":"), trailerName.count > 0 {
      if trailerName.isForbidden { throw .forbiddenTrailer }
      state = .trailerValue
    } else if ASCII.isTokenByte(byte) {
      trailerName.append(byte)
    } else {
      throw .malformedTrailer
    }
  }
}

/// The start of a trailer's name: as much as the longest forbidden one needs.
private struct TrailerName: Sendable {
  /// One more than the bytes kept when the name is longer.
  private(set) var count: UInt8 = 0
  private var bytes = InlineArray<20, UInt8>(repeating: 0)

  mutating func append(_ byte: UInt8) {
    guard count <= bytes.count else { return }
    if count < bytes.count { bytes[Int(count)] = byte }
    count += 1
  }

  /// Fields that would change framing, routing or authentication if a receiver merged them into the
  /// head. They cannot be dropped from bytes that pass verbatim.
  var isForbidden: Bool {
    guard count <= bytes.count else { return false }
    let name = bytes.span.extracting(0..<Int(count))
    switch KnownField(name: name) {
    case .host, .contentLength, .transferEncoding, .trailer, .connection, .upgrade, .te, .cookie,
      .setCookie, .proxyAuthenticate, .proxyAuthorization:
      return true
    default: return ASCII.equalsIgnoringCase(name, "authorization")
    }
  }
}
