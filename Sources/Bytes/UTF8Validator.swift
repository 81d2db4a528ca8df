// Whether bytes that arrive in pieces are UTF-8 (RFC 3629). Used for Close reasons and, by endpoints,
// for text messages; bridged text is not read. A wrong byte is reported at once, not at the end.

/// Follows one text. Feed its bytes in order; after the last one `isComplete` must hold.
public struct UTF8Validator: Sendable {
  /// Continuation octets still owed by the character that has begun.
  private var owed: UInt8 = 0
  /// What the next continuation octet may be: 80...BF, narrower after E0, ED, F0 and F4.
  private var low: UInt8 = 0x80
  private var high: UInt8 = 0xBF

  @inlinable public static func isValid(_ bytes: Span<UInt8>) -> Bool {
    var validator = UTF8Validator()
    return validator.firstInvalid(in: bytes) == nil && validator.isComplete
  }

  public init() {}

  /// True between characters.
  public var isComplete: Bool { owed == 0 }

  /// Reads on. Returns the offset of the first byte with which the text so far is not the beginning
  /// of any UTF-8 text; the validator is of no use after that.
  @_noLocks
  public mutating func firstInvalid(in bytes: Span<UInt8>) -> Int? {
    var index = 0
    while index < bytes.count {
      if owed == 0 {
        index = Self.skipASCII(bytes, from: index)
        guard index < bytes.count else { return nil }
        guard begin(bytes[index]) else { return index }
      } else {
        let byte = bytes[index]
        guard byte >= low, byte <= high else { return index }
        owed &-= 1
        low = 0x80
        high = 0xBF
      }
      index &+= 1
    }
    return nil
  }

  /// Takes the first octet of a character of two octets or more (RFC 3629, section 4).
  @inline(always)
  private mutating func begin(_ byte: UInt8) -> Bool {
    switch byte {
    case 0xC2...0xDF: owed = 1
    case 0xE0...0xEF: owed = 2
    case 0xF0...0xF4: owed = 3
    default: return false
    }
    switch byte {
    case 0xE0: low = 0xA0  // below is overlong
    case 0xED: high = 0x9F  // above are surrogates
    case 0xF0: low = 0x90  // below is overlong
    case 0xF4: high = 0x8F  // above is beyond U+10FFFF
    default: break
    }
    return true
  }

  /// The offset of the first byte at or behind `start` that is not ASCII.
  @inline(always)
  private static func skipASCII(_ bytes: Span<UInt8>, from start: Int) -> Int {
    var index = start
    // Safety: eight bytes are loaded only where eight are left.
    unsafe bytes.withUnsafeBytes { raw in
      while raw.count &- index >= 8 {
        let word = unsafe raw.loadUnaligned(fromByteOffset: index, as: UInt64.self)
        guard word & 0x8080_8080_8080_8080 == 0 else { break }
        index &+= 8
      }
      while index < raw.count, unsafe raw[index] < 0x80 { index &+= 1 }
    }
    return index
  }
}
