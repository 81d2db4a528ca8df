// Which bytes may stand in a log line as they are. Pure; used by LineBuilder alone.

extension LineBuilder {
  /// Appends the character at `index`, escaped if need be, and returns how many bytes it has in
  /// `value`. Controls, DEL and bytes that are no UTF-8 become \u00xx; so do the characters that
  /// end lines or turn the direction of text in viewers (\u2028, \u202e and their like).
  mutating func appendEscaped(_ value: Span<UInt8>, at index: Int) -> Int {
    let byte = value[index]
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"):
      bytes.append(UInt8(ascii: "\\"))
      bytes.append(byte)
    case 0x20..<0x7f:
      bytes.append(byte)
    case 0x80...:
      return appendMultibyte(value, at: index)
    default:
      appendUnicodeEscape(UInt32(byte))
    }
    return 1
  }

  private mutating func appendMultibyte(_ value: Span<UInt8>, at index: Int) -> Int {
    guard let (scalar, length) = utf8Scalar(value, at: index) else {
      appendUnicodeEscape(UInt32(value[index]))
      return 1
    }
    switch scalar {
    case 0x80...0x9f, 0x200e...0x200f, 0x2028...0x202e, 0x2066...0x2069, 0xfeff:
      appendUnicodeEscape(scalar)
    default:
      for offset in 0..<length { bytes.append(value[index + offset]) }
    }
    return length
  }

  private mutating func appendUnicodeEscape(_ scalar: UInt32) {
    append("\\u")
    for shift: UInt32 in [12, 8, 4, 0] {
      let digit = UInt8(truncatingIfNeeded: scalar >> shift) & 0xf
      bytes.append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
    }
  }
}

/// The scalar of two or more bytes at `index` and its length; nil when they are no UTF-8
/// (RFC 3629).
private func utf8Scalar(_ value: Span<UInt8>, at index: Int) -> (scalar: UInt32, length: Int)? {
  let lead = value[index]
  let length: Int
  let least: UInt32
  var scalar: UInt32
  switch lead {
  case 0xc2...0xdf: (length, least, scalar) = (2, 0x80, UInt32(lead & 0x1f))
  case 0xe0...0xef: (length, least, scalar) = (3, 0x800, UInt32(lead & 0x0f))
  case 0xf0...0xf4: (length, least, scalar) = (4, 0x1_0000, UInt32(lead & 0x07))
  default: return nil
  }
  guard value.count - index >= length else { return nil }
  for offset in 1..<length {
    let byte = value[index + offset]
    guard byte & 0xc0 == 0x80 else { return nil }
    scalar = scalar << 6 | UInt32(byte & 0x3f)
  }
  let surrogate = (0xd800...0xdfff).contains(scalar)
  return scalar >= least && scalar <= 0x10_ffff && !surrogate ? (scalar, length) : nil
}
