// ASCII as the text protocols use it: byte classes, comparison without case, decimal and hex. Works
// on bytes and spans; no String is made on the way, and nothing here knows a locale.

/// Predicates and conversions on single bytes and short runs of them.
public enum ASCII {
  // One bit per byte value below 128: RFC 9110 section 5.6.2, tchar.
  @usableFromInline static var tokenBitsLow: UInt64 { 0x03ff_6cfa_0000_0000 }
  @usableFromInline static var tokenBitsHigh: UInt64 { 0x57ff_ffff_c7ff_fffe }

  /// A byte of a token: method, field name, protocol name (RFC 9110 section 5.6.2).
  @inlinable public static func isTokenByte(_ byte: UInt8) -> Bool {
    let bits = byte < 64 ? tokenBitsLow : byte < 128 ? tokenBitsHigh : 0
    return bits >> UInt64(byte & 63) & 1 == 1
  }

  /// A byte that may stand in a field value: HTAB, SP, VCHAR and obs-text (RFC 9110 section 5.5).
  @inlinable public static func isFieldValueByte(_ byte: UInt8) -> Bool {
    byte >= 0x20 ? byte != 0x7f : byte == 0x09
  }

  @inlinable public static func isDigit(_ byte: UInt8) -> Bool { byte &- 0x30 < 10 }
  @inlinable public static func isLetter(_ byte: UInt8) -> Bool { (byte | 0x20) &- 0x61 < 26 }
  @inlinable public static func isUpperCase(_ byte: UInt8) -> Bool { byte &- 0x41 < 26 }
  @inlinable public static func isLowerCase(_ byte: UInt8) -> Bool { byte &- 0x61 < 26 }
  /// SP or HTAB, the optional whitespace of RFC 9110 section 5.6.3.
  @inlinable public static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }

  @inlinable public static func lowercased(_ byte: UInt8) -> UInt8 {
    isUpperCase(byte) ? byte | 0x20 : byte
  }

  /// The value of a hexadecimal digit of either case.
  @inlinable public static func hexValue(_ byte: UInt8) -> UInt8? {
    if isDigit(byte) { return byte &- 0x30 }
    let letter = (byte | 0x20) &- 0x61
    return letter < 6 ? letter &+ 10 : nil
  }

  /// Whether all bytes are those of `text`, byte for byte.
  public static func equals(_ bytes: Span<UInt8>, _ text: StaticString) -> Bool {
    isSame(bytes, text, ignoringCase: false)
  }

  /// The same without regard to the case of letters. `text` has to be in lower case.
  public static func equalsIgnoringCase(_ bytes: Span<UInt8>, _ text: StaticString) -> Bool {
    isSame(bytes, text, ignoringCase: true)
  }

  @inline(__always)
  private static func isSame(
    _ bytes: Span<UInt8>, _ text: StaticString, ignoringCase: Bool
  ) -> Bool {
    let count = bytes.count
    guard count == text.utf8CodeUnitCount else { return false }
    // Safety: what is loaded ends within the span and the literal, which have the same length.
    return unsafe bytes.withUnsafeBytes { bytes in
      var index = 0
      while count >= 8, index < count {
        // The last eight overlap what has been compared.
        let at = min(index, count &- 8)
        let word = unsafe bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self)
        let other = unsafe UnsafeRawPointer(text.utf8Start).loadUnaligned(
          fromByteOffset: at, as: UInt64.self)
        if (ignoringCase ? lowercased(word) : word) != other { return false }
        index = at &+ 8
      }
      while index < count {
        let byte = unsafe bytes[index]
        if unsafe (ignoringCase ? lowercased(byte) : byte) != text.utf8Start[index] { return false }
        index &+= 1
      }
      return true
    }
  }

  /// `bytes` without the blanks at both ends, as a range of indices of `bytes` within `range`.
  public static func trimmed(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Range<Int> {
    var start = range.lowerBound
    var end = range.upperBound
    while start < end, isBlank(bytes[start]) { start += 1 }
    while end > start, isBlank(bytes[end - 1]) { end -= 1 }
    return start..<end
  }

  /// A number of 1 to 19 decimal digits and nothing else; 19 digits always fit 64 bits.
  public static func decimal(_ bytes: Span<UInt8>) -> UInt64? {
    guard !bytes.isEmpty, bytes.count <= 19 else { return nil }
    var value: UInt64 = 0
    for index in 0..<bytes.count {
      guard isDigit(bytes[index]) else { return nil }
      value = value * 10 + UInt64(bytes[index] &- 0x30)
    }
    return value
  }

  /// A port as URIs write it: 1 to 65535, no sign and no leading zero.
  public static func port(_ bytes: Span<UInt8>) -> UInt16? {
    guard bytes.count <= 5, let value = decimal(bytes), bytes[0] != 0x30 else { return nil }
    return UInt16(exactly: value)
  }

  /// Appends `value` in decimal digits.
  public static func appendDecimal(_ value: UInt64, to text: inout [UInt8]) {
    DecimalDigits(value).withSpan { append($0, to: &text) }
  }

  /// Appends the lowest `digits` hexadecimal digits of `value`, in lower case; 1 to 16.
  public static func appendHex(_ value: UInt64, digits: Int, to text: inout [UInt8]) {
    let shifted = value << UInt64(64 - 4 * digits)
    let first = hexDigits(UInt32(truncatingIfNeeded: shifted >> 32))
    let second = hexDigits(UInt32(truncatingIfNeeded: shifted))
    text.append(addingCapacity: digits) { out in
      for digit in 0..<digits {
        let word = digit < 8 ? first : second
        out.append(UInt8(truncatingIfNeeded: word >> UInt64(56 - 8 * (digit & 7))))
      }
    }
  }

  /// The eight digits of `value`, the first one in the highest byte.
  static func hexDigits(_ value: UInt32) -> UInt64 {
    var digits = UInt64(value)
    digits = (digits | digits << 16) & 0x0000_ffff_0000_ffff
    digits = (digits | digits << 8) & 0x00ff_00ff_00ff_00ff
    digits = (digits | digits << 4) & 0x0f0f_0f0f_0f0f_0f0f
    // 1 in each byte from ten up.
    let letters = (digits &+ 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101
    return digits &+ 0x3030_3030_3030_3030 &+ letters &* 0x27
  }

  /// Appends the literal's bytes.
  public static func append(_ literal: StaticString, to text: inout [UInt8]) {
    // Safety: the buffer is the literal's own storage, which lives as long as the process.
    unsafe text.append(
      contentsOf: UnsafeBufferPointer(
        start: literal.utf8Start, count: literal.utf8CodeUnitCount))
  }
}

/// A number as text, without an allocation.
public struct DecimalDigits {
  // 64 bits have at most 20 digits; the last one is found first. One place more for what goes in front.
  private var digits = InlineArray<21, UInt8>(repeating: 0)
  private var start = 21

  /// `lead`: what stands in front of it.
  public init(_ value: UInt64, behind lead: UInt8? = nil) {
    var rest = value
    repeat {
      put(0x30 + UInt8(rest % 10))
      rest /= 10
    } while rest > 0
    if let lead { put(lead) }
  }

  private mutating func put(_ byte: UInt8) {
    start -= 1
    digits[start] = byte
  }

  public func withSpan<Result>(_ body: (Span<UInt8>) -> Result) -> Result {
    body(digits.span.extracting(start..<digits.count))
  }
}

/// Two numbers as 32 hexadecimal digits in lower case, without an allocation.
public struct HexDigits {
  private var words: InlineArray<4, UInt64>

  public init(_ first: UInt64, _ second: UInt64) {
    words = [
      ASCII.hexDigits(UInt32(truncatingIfNeeded: first >> 32)).bigEndian,
      ASCII.hexDigits(UInt32(truncatingIfNeeded: first)).bigEndian,
      ASCII.hexDigits(UInt32(truncatingIfNeeded: second >> 32)).bigEndian,
      ASCII.hexDigits(UInt32(truncatingIfNeeded: second)).bigEndian,
    ]
  }

  public func withSpan<Result>(_ body: (Span<UInt8>) -> Result) -> Result {
    // Safety: the words' own bytes, lent for the call, and bound as bytes for as long.
    unsafe words.span.withUnsafeBytes { bytes in
      unsafe bytes.withMemoryRebound(to: UInt8.self) { body(unsafe $0.span) }
    }
  }
}
