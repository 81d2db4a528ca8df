// IP addresses and blocks of them: parsed strictly from literals, printed canonically, compared.
// Used for endpoints, trusted proxies and X-Forwarded-For. No names are resolved here, and nothing
// is accepted that inet_aton would guess about (octal, hexadecimal, fewer than four octets).

/// An IPv4 or IPv6 address. An IPv4-mapped IPv6 address (`::ffff:192.0.2.1`) is made `v4`, so that
/// one host has one value; use `init(bits:)` for IPv6 bits that come from elsewhere.
public enum IPAddress: Sendable, Hashable {
  /// In host byte order: 127.0.0.1 is 0x7f00_0001.
  case v4(UInt32)
  /// The first and the last 64 bits, in host byte order: ::1 is (0, 1).
  case v6(high: UInt64, low: UInt64)

  /// 128 bits of an IPv6 address, most significant first.
  public init(bits: UInt128) {
    if bits >> 32 == 0xffff {
      self = .v4(UInt32(truncatingIfNeeded: bits))
    } else {
      self = .v6(
        high: UInt64(truncatingIfNeeded: bits >> 64), low: UInt64(truncatingIfNeeded: bits))
    }
  }

  /// A whole literal: dotted decimal without leading zeros (RFC 3986 section 3.2.2), or IPv6
  /// (RFC 4291 section 2.2) without brackets and without zone.
  public init?(parsing text: Span<UInt8>) {
    if let value = dottedDecimal(text, from: 0) {
      self = .v4(value)
    } else if let bits = colonHexadecimal(text) {
      self = IPAddress(bits: bits)
    } else {
      return nil
    }
  }

  public init?(parsing text: String) {
    self.init(parsing: Array(text.utf8).span)
  }
}

extension IPAddress: CustomStringConvertible {
  /// The literal: dotted decimal, or RFC 5952 without brackets.
  public var description: String {
    switch self {
    case .v4(let value): return octets(value)
    case .v6(let high, let low):
      var text: [UInt8] = []
      // The longest literal.
      text.reserveCapacity(39)
      appendIPv6(UInt128(high) << 64 | UInt128(low), to: &text)
      return String(decoding: text, as: UTF8.self)
    }
  }
}

/// A network: all addresses that share the first bits of one. A single address is a block too.
public struct AddressBlock: Sendable, Hashable {
  /// The family decides first: an IPv6 block holds no IPv4 address, not even `::/0`.
  private let isV4: Bool
  /// The shared bits; those beyond the prefix are zero.
  private let network: UInt128
  private let mask: UInt128

  /// `10.0.0.0/8`, `2001:db8::/32`, or an address alone. Bits beyond the prefix are ignored, and a
  /// block of IPv4-mapped addresses (`::ffff:10.0.0.0/104`) is the IPv4 block.
  public init?(parsing text: String) {
    let bytes = Array(text.utf8)
    let slash = bytes.firstIndex(of: UInt8(ascii: "/")) ?? bytes.count
    let address = bytes.span.extracting(0..<slash)
    var prefix: Int?
    if slash < bytes.count {
      let digits = bytes.span.extracting((slash + 1)..<bytes.count)
      guard let (number, end) = decimal(digits, from: 0, max: 128), end == digits.count
      else { return nil }
      prefix = Int(number)
    }
    if let value = dottedDecimal(address, from: 0) {
      self.init(isV4: true, width: 32, bits: UInt128(value), prefix: prefix)
    } else if let bits = colonHexadecimal(address) {
      if bits >> 32 == 0xffff, (prefix ?? 128) >= 96 {
        self.init(isV4: true, width: 32, bits: bits & 0xffff_ffff, prefix: (prefix ?? 128) - 96)
      } else {
        self.init(isV4: false, width: 128, bits: bits, prefix: prefix)
      }
    } else {
      return nil
    }
  }

  private init?(isV4: Bool, width: Int, bits: UInt128, prefix: Int?) {
    let prefix = prefix ?? width
    guard prefix <= width else { return nil }
    self.isV4 = isV4
    // Smart shifts: a shift by the whole width gives zero.
    mask = UInt128.max << UInt128(width - prefix)
    network = bits & mask
  }

  /// How many bits the addresses share.
  public var prefix: Int { (isV4 ? 32 : 128) - mask.trailingZeroBitCount }

  /// The address whose other bits are zero.
  public var first: IPAddress {
    isV4 ? .v4(UInt32(truncatingIfNeeded: network)) : IPAddress(bits: network)
  }

  public func contains(_ address: IPAddress) -> Bool {
    switch address {
    case .v4(let value): isV4 && UInt128(value) & mask == network
    case .v6(let high, let low): !isV4 && (UInt128(high) << 64 | UInt128(low)) & mask == network
    }
  }
}

extension AddressBlock: CustomStringConvertible {
  /// `10.0.0.0/8`, as a whole even for a single address.
  public var description: String { "\(first)/\(prefix)" }
}

/// Decimal digits from `start` without a leading zero, at most `max`; the value and where it ends.
func decimal(_ text: Span<UInt8>, from start: Int, max: UInt32) -> (value: UInt32, end: Int)? {
  var value: UInt32 = 0
  var index = start
  while index < text.count, text[index] &- UInt8(ascii: "0") < 10 {
    // No overflow: value <= max, and every max here is below 65,536.
    value = value * 10 + UInt32(text[index] - UInt8(ascii: "0"))
    if value > max { return nil }
    index += 1
  }
  if index == start { return nil }
  if text[start] == UInt8(ascii: "0"), index - start > 1 { return nil }
  return (value, index)
}

private func dottedDecimal(_ text: Span<UInt8>, from start: Int) -> UInt32? {
  var value: UInt32 = 0
  var index = start
  for octet in 0..<4 {
    if octet > 0 {
      guard index < text.count, text[index] == UInt8(ascii: ".") else { return nil }
      index += 1
    }
    guard let (number, end) = decimal(text, from: index, max: 255) else { return nil }
    value = value << 8 | number
    index = end
  }
  return index == text.count ? value : nil
}

/// RFC 4291 section 2.2: eight groups; `::` once for one or more zero groups; the last two groups
/// may be dotted decimal.
private func colonHexadecimal(_ text: Span<UInt8>) -> UInt128? {
  let colon = UInt8(ascii: ":")
  var bits: UInt128 = 0
  var groups = 0
  var gap: Int?
  var index = 0
  if text.count >= 2, text[0] == colon, text[1] == colon {
    gap = 0
    index = 2
  }
  while index < text.count {
    guard let (group, end) = hexadecimalGroup(text, from: index) else { return nil }
    if end < text.count, text[end] == UInt8(ascii: ".") {
      guard groups <= 6, let tail = dottedDecimal(text, from: index) else { return nil }
      bits = bits << 32 | UInt128(tail)
      groups += 2
      break
    }
    guard groups < 8 else { return nil }
    bits = bits << 16 | UInt128(group)
    groups += 1
    index = end
    if index == text.count { break }
    guard text[index] == colon, index + 1 < text.count else { return nil }
    index += 1
    if text[index] == colon {
      guard gap == nil else { return nil }
      gap = groups
      index += 1
    }
  }
  guard let gap else { return groups == 8 ? bits : nil }
  guard groups < 8 else { return nil }
  // Move the groups before the gap to the front; those behind it stay at the end.
  let behind = UInt128(16 * (groups - gap))
  let front = (bits >> behind) << UInt128(16 * (8 - gap))
  return front | bits & ~(UInt128.max << behind)
}

private func hexadecimalGroup(
  _ text: Span<UInt8>, from start: Int
) -> (value: UInt16, end: Int)? {
  var value: UInt16 = 0
  var index = start
  while index < text.count {
    let digit: UInt8
    switch text[index] {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = text[index] - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = text[index] - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): digit = text[index] - UInt8(ascii: "A") + 10
    default: return index > start ? (value, index) : nil
    }
    guard index - start < 4 else { return nil }
    value = value << 4 | UInt16(digit)
    index += 1
  }
  return index > start ? (value, index) : nil
}

/// Every request has its client's address as text, so this makes no array on the way.
private func octets(_ value: UInt32) -> String {
  // Safety: four octets of three digits and three dots are the 15 bytes there is room for.
  unsafe String(unsafeUninitializedCapacity: 15) { text in
    var end = 0
    for shift in stride(from: 24, through: 0, by: -8) {
      let octet = UInt8(truncatingIfNeeded: value >> UInt32(shift))
      if octet >= 100 {
        unsafe text[end] = UInt8(ascii: "0") + octet / 100
        end += 1
      }
      if octet >= 10 {
        unsafe text[end] = UInt8(ascii: "0") + octet / 10 % 10
        end += 1
      }
      unsafe text[end] = UInt8(ascii: "0") + octet % 10
      end += 1
      if shift > 0 {
        unsafe text[end] = UInt8(ascii: ".")
        end += 1
      }
    }
    return end
  }
}

private func appendHexadecimal(_ value: UInt16, to text: inout [UInt8]) {
  if value >= 16 { appendHexadecimal(value >> 4, to: &text) }
  let digit = UInt8(value & 15)
  text.append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
}

/// RFC 5952 section 4: lower case, no leading zeros, `::` for the first longest run of two or more.
private func appendIPv6(_ bits: UInt128, to text: inout [UInt8]) {
  func group(_ index: Int) -> UInt16 {
    UInt16(truncatingIfNeeded: bits >> UInt128(112 - 16 * index))
  }
  var gap = 0..<0
  var index = 0
  while index < 8 {
    let start = index
    while index < 8, group(index) == 0 { index += 1 }
    if index - start >= 2, index - start > gap.count { gap = start..<index }
    index += 1
  }
  index = 0
  while index < 8 {
    if !gap.isEmpty, index == gap.lowerBound {
      text.append(contentsOf: [UInt8(ascii: ":"), UInt8(ascii: ":")])
      index = gap.upperBound
      continue
    }
    if index > 0, index != gap.upperBound { text.append(UInt8(ascii: ":")) }
    appendHexadecimal(group(index), to: &text)
    index += 1
  }
}
