// Where a socket is bound or connected, and the same as people write it in a configuration. Parsed
// once at start, printed in logs. Names are only checked for shape here; resolving is a system call.

/// The address of one end of a socket.
public enum SocketAddress: Sendable, Hashable {
  case ip(IPAddress, port: UInt16)
  /// A path in the file system; empty for the unnamed end of a client.
  case unix(String)

  public var ip: IPAddress? {
    if case .ip(let address, _) = self { address } else { nil }
  }
  public var port: UInt16? {
    if case .ip(_, let port) = self { port } else { nil }
  }
}

extension SocketAddress: CustomStringConvertible {
  /// `127.0.0.1:80`, `[::1]:80` or `unix:/path`.
  public var description: String {
    switch self {
    case .ip(let address, let port): "\(bracketed(address)):\(port)"
    case .unix(let path): "unix:\(path)"
    }
  }
}

/// `host:port` where the host is a DNS name or an IP literal, in brackets when it is IPv6.
public struct HostPort: Sendable, Hashable, CustomStringConvertible {
  /// Lower-cased name or canonical literal, without brackets.
  public let host: String
  public let port: UInt16
  /// The address when `host` is a literal: nothing to resolve.
  public let literal: IPAddress?

  public init(_ address: IPAddress, port: UInt16) {
    literal = address
    host = address.description
    self.port = port
  }

  /// `name:80`, `1.2.3.4:80` or `[::1]:80`. The port is required: decimal, 0 to 65535, without
  /// leading zero.
  public init?(parsing text: String) {
    let bytes = Array(text.utf8)
    guard let colon = bytes.lastIndex(of: UInt8(ascii: ":")) else { return nil }
    let digits = bytes.span.extracting((colon + 1)..<bytes.count)
    guard let (number, end) = decimal(digits, from: 0, max: 65_535), end == digits.count
    else { return nil }
    port = UInt16(number)
    if bytes[0] == UInt8(ascii: "[") {
      guard colon >= 2, bytes[colon - 1] == UInt8(ascii: "]"),
        let address = IPAddress(parsing: bytes.span.extracting(1..<(colon - 1))),
        bytes[1..<colon].contains(UInt8(ascii: ":"))
      else { return nil }
      literal = address
    } else {
      literal = IPAddress(parsing: bytes.span.extracting(0..<colon))
      // IPv6 without brackets: where the port starts would be a guess.
      if bytes[0..<colon].contains(UInt8(ascii: ":")) { return nil }
    }
    if let literal {
      host = literal.description
    } else {
      let name = bytes[0..<colon]
      guard isHostName(name) else { return nil }
      host = String(decoding: name, as: UTF8.self).lowercased()
    }
  }

  public var description: String {
    literal.map { "\(bracketed($0)):\(port)" } ?? "\(host):\(port)"
  }
}

/// What `bind` and `endpoints` name in a configuration: `host:port`, or `unix:/path`.
public enum EndpointAddress: Sendable, Hashable, CustomStringConvertible {
  case hostPort(HostPort)
  case unix(String)

  /// The longest path a socket can be bound to: sun_path without its NUL (unix(7)).
  public static var unixPathBytesMax: Int { 107 }

  public init?(parsing text: String) {
    guard text.hasPrefix("unix:") else {
      guard let hostPort = HostPort(parsing: text) else { return nil }
      self = .hostPort(hostPort)
      return
    }
    let path = text.dropFirst(5)
    guard path.hasPrefix("/"), path.utf8.count > 1, path.utf8.count <= Self.unixPathBytesMax,
      !path.utf8.contains(0)
    else { return nil }
    self = .unix(String(path))
  }

  public var description: String {
    switch self {
    case .hostPort(let hostPort): hostPort.description
    case .unix(let path): "unix:\(path)"
    }
  }
}

private func bracketed(_ address: IPAddress) -> String {
  if case .v6 = address { "[\(address)]" } else { "\(address)" }
}

/// RFC 1123 section 2.1 with `_`, which container networks use, and one trailing dot. A name whose
/// last label is a number is none: resolvers read `127.1` and `0x7f` as addresses.
private func isHostName(_ name: ArraySlice<UInt8>) -> Bool {
  let rooted = name.last == UInt8(ascii: ".")
  let labels = (rooted ? name.dropLast() : name).split(
    separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
  guard name.count <= 254, let last = labels.last, !isNumber(last) else { return false }
  return labels.allSatisfy { label in
    guard let first = label.first, let last = label.last, label.count <= 63 else { return false }
    return first != UInt8(ascii: "-") && last != UInt8(ascii: "-") && label.allSatisfy(isNameByte)
  }
}

private func isNumber(_ label: ArraySlice<UInt8>) -> Bool {
  let digits = String(decoding: label, as: UTF8.self).lowercased()
  if digits.hasPrefix("0x") { return digits.dropFirst(2).allSatisfy(\.isHexDigit) }
  return label.allSatisfy(isDigit)
}

private func isDigit(_ byte: UInt8) -> Bool { byte &- UInt8(ascii: "0") < 10 }

private func isNameByte(_ byte: UInt8) -> Bool {
  byte | 0x20 &- UInt8(ascii: "a") < 26 || isDigit(byte) || byte == UInt8(ascii: "-")
    || byte == UInt8(ascii: "_")
}
