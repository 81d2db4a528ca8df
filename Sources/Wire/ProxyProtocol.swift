// The PROXY protocol, versions 1 and 2 (haproxy.org, proxy-protocol.txt): the line or block in front of
// a connection's own bytes in which a proxy names the client. Read strictly and within bounds, and
// written. Whether the sender may say such a thing is decided elsewhere.

public import Bytes

/// A header as far as it has come.
public enum ProxyHeaderProgress: Sendable, Equatable {
  case needMore
  /// `source` is the client; nil where the header names none (UNKNOWN, LOCAL, unix sockets), and the
  /// socket's own address counts. `length`: of the header.
  case done(source: SocketAddress?, length: Int)
}

/// No header, or one that no two readers would read the same.
public enum ProxyViolation: Error, Sendable, Equatable, CaseIterable {
  /// Neither version's first bytes.
  case noHeader
  /// A line of version 1 with other parts, other blanks, or addresses of another family.
  case malformedLine
  /// A line of more than 107 bytes, or a block of more than 536.
  case tooLong
  /// A version, command, or family that is not defined.
  case unknownCommand
  /// A block that is too short for its addresses.
  case truncated

  public var word: StaticString {
    switch self {
    case .noHeader: "no-proxy-header"
    case .malformedLine: "malformed-proxy-line"
    case .tooLong: "proxy-header-too-long"
    case .unknownCommand: "unknown-proxy-command"
    case .truncated: "truncated-proxy-header"
    }
  }
}

public enum ProxyProtocol {
  /// With its line end (section 2.1).
  public static var lineBytesMax: Int { 107 }
  /// With its TLVs: what fits every TCP segment (section 2.2).
  public static var blockBytesMax: Int { 536 }

  /// CR LF CR LF NUL CR LF QUIT LF.
  private static var signature: [UInt8] {
    [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]
  }
  private static var blockHeadBytes: Int { 16 }

  /// Reads the header at the beginning of `bytes`, which are all that has come so far. What follows it
  /// is not looked at.
  public static func parse(
    _ bytes: Span<UInt8>
  ) throws(ProxyViolation) -> ProxyHeaderProgress {
    guard !bytes.isEmpty else { return .needMore }
    if bytes[0] == 0x0d { return try parseBlock(bytes) }
    return try parseLine(bytes)
  }

  // MARK: Version 1

  private static func parseLine(
    _ bytes: Span<UInt8>
  ) throws(ProxyViolation) -> ProxyHeaderProgress {
    let word = Array("PROXY ".utf8)
    for index in 0..<min(word.count, bytes.count) where bytes[index] != word[index] {
      throw .noHeader
    }
    var end = word.count
    while end < min(bytes.count, lineBytesMax), bytes[end] != 0x0a { end += 1 }
    guard end < bytes.count, end < lineBytesMax else {
      if bytes.count >= lineBytesMax { throw .tooLong }
      return .needMore
    }
    guard bytes[end - 1] == 0x0d, end - 1 > word.count else { throw .malformedLine }
    let source = try readLine(bytes.extracting(word.count..<(end - 1)))
    return .done(source: source, length: end + 1)
  }

  /// `TCP4 SOURCE DESTINATION PORT PORT`, one blank between each.
  private static func readLine(_ line: Span<UInt8>) throws(ProxyViolation) -> SocketAddress? {
    var parts: [Range<Int>] = []
    var start = 0
    for index in 0...line.count where index == line.count || line[index] == 0x20 {
      parts.append(start..<index)
      start = index + 1
    }
    let family = line.extracting(parts[0])
    // Whatever follows it is to be ignored (section 2.1).
    if ASCII.equals(family, "UNKNOWN") { return nil }
    let isV4 = ASCII.equals(family, "TCP4")
    guard isV4 || ASCII.equals(family, "TCP6"), parts.count == 5,
      let source = address(line.extracting(parts[1]), isV4: isV4),
      address(line.extracting(parts[2]), isV4: isV4) != nil,
      let port = Self.port(line.extracting(parts[3])), Self.port(line.extracting(parts[4])) != nil
    else { throw .malformedLine }
    return .ip(source, port: port)
  }

  private static func address(_ text: Span<UInt8>, isV4: Bool) -> IPAddress? {
    var hasColon = false
    for index in text.indices where text[index] == UInt8(ascii: ":") { hasColon = true }
    return hasColon == isV4 ? nil : IPAddress(parsing: text)
  }

  /// 0 to 65535 without leading zeros.
  private static func port(_ text: Span<UInt8>) -> UInt16? {
    if ASCII.equals(text, "0") { return 0 }
    return ASCII.port(text)
  }

  // MARK: Version 2

  private static func parseBlock(
    _ bytes: Span<UInt8>
  ) throws(ProxyViolation) -> ProxyHeaderProgress {
    let signature = signature
    for index in 0..<min(signature.count, bytes.count) where bytes[index] != signature[index] {
      throw .noHeader
    }
    guard bytes.count >= blockHeadBytes else { return .needMore }
    guard bytes[12] == 0x20 || bytes[12] == 0x21 else { throw .unknownCommand }
    let length = blockHeadBytes + Int(bytes[14]) << 8 + Int(bytes[15])
    guard length <= blockBytesMax else { throw .tooLong }
    let addressBytes = try addressBytes(family: bytes[13])
    let isLocal = bytes[12] == 0x20
    guard isLocal || length - blockHeadBytes >= addressBytes else { throw .truncated }
    guard bytes.count >= length else { return .needMore }
    let source = isLocal ? nil : source(bytes.extracting(blockHeadBytes..<length), bytes[13])
    return .done(source: source, length: length)
  }

  /// Of a family and protocol. Streams only: nothing else can be in front of a stream's bytes.
  private static func addressBytes(family: UInt8) throws(ProxyViolation) -> Int {
    switch family {
    case 0x00: 0
    case 0x11: 12
    case 0x21: 36
    case 0x31: 216
    default: throw .unknownCommand
    }
  }

  private static func source(_ block: Span<UInt8>, _ family: UInt8) -> SocketAddress? {
    switch family {
    case 0x11:
      return .ip(
        .v4(UInt32(truncatingIfNeeded: number(block, 0..<4))),
        port: UInt16(truncatingIfNeeded: number(block, 8..<10)))
    case 0x21:
      return .ip(
        IPAddress(bits: number(block, 0..<16)),
        port: UInt16(truncatingIfNeeded: number(block, 32..<34)))
    default: return nil
    }
  }

  /// Big-endian; at most 16 bytes.
  private static func number(_ bytes: Span<UInt8>, _ range: Range<Int>) -> UInt128 {
    var value: UInt128 = 0
    for index in range { value = value << 8 | UInt128(bytes[index]) }
    return value
  }
}

// MARK: - Writing

extension ProxyProtocol {
  public enum Version: Sendable { case v1, v2 }

  /// A header of ours. Without a source it names nobody; a destination that is no IP address is written
  /// as the unspecified one. Where the two are of different families both are written as IPv6.
  public static func header(
    _ version: Version, source: SocketAddress?, destination: SocketAddress?
  ) -> [UInt8] {
    guard case .ip(let from, let fromPort)? = source else {
      return version == .v1 ? Array("PROXY UNKNOWN\r\n".utf8) : block(family: 0x00, [])
    }
    var (to, toPort) = (IPAddress.v4(0), UInt16(0))
    if case .v6 = from { to = .v6(high: 0, low: 0) }
    if case .ip(let address, let port)? = destination { (to, toPort) = (address, port) }
    var isV4 = false
    if case (.v4, .v4) = (from, to) { isV4 = true }
    if version == .v1 {
      let addresses = "\(text(from, isV4: isV4)) \(text(to, isV4: isV4))"
      let line = "PROXY \(isV4 ? "TCP4" : "TCP6") \(addresses) \(fromPort) \(toPort)\r\n"
      return Array(line.utf8)
    }
    var payload: [UInt8] = []
    append(from, isV4: isV4, to: &payload)
    append(to, isV4: isV4, to: &payload)
    for port in [fromPort, toPort] {
      payload.append(UInt8(port >> 8))
      payload.append(UInt8(port & 0xff))
    }
    return block(family: isV4 ? 0x11 : 0x21, payload)
  }

  /// `payload` has at most 36 bytes.
  private static func block(family: UInt8, _ payload: [UInt8]) -> [UInt8] {
    signature + [0x21, family, 0, UInt8(truncatingIfNeeded: payload.count)] + payload
  }

  private static func text(_ address: IPAddress, isV4: Bool) -> String {
    if case .v4 = address, !isV4 { return "::ffff:\(address)" }
    return address.description
  }

  private static func append(_ address: IPAddress, isV4: Bool, to bytes: inout [UInt8]) {
    let bits: UInt128 =
      switch address {
      case .v4(let value): isV4 ? UInt128(value) : 0xffff_0000_0000 | UInt128(value)
      case .v6(let high, let low): UInt128(high) << 64 | UInt128(low)
      }
    for shift in stride(from: isV4 ? 24 : 120, through: 0, by: -8) {
      bytes.append(UInt8(truncatingIfNeeded: bits >> UInt128(shift)))
    }
  }
}
