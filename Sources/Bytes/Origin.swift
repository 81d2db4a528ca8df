// Web origins: what an Origin field says, what the configuration allows, and whether the two agree.
// One parser serves both, so that they cannot differ. The check is no authentication: only browsers
// are bound to send the truth.

/// An origin in the serialisation of RFC 6454 section 6.2.
public enum Origin: Sendable, Hashable {
  /// The word `null`: an opaque origin (sandboxed frame, some redirects).
  case null
  /// Lower-cased; the port is the written one or the scheme's default, nil where there is neither.
  case tuple(scheme: String, host: String, port: UInt16?)

  /// The whole value must be one origin. A path, even `/`, userinfo, a trailing dot, a port with
  /// leading zeros, `_`, `%` and every byte outside ASCII are refused: no browser sends them.
  public init?(parsing text: Span<UInt8>) {
    if ASCII.equals(text, "null") {
      self = .null
      return
    }
    guard let schemeEnd = Self.schemeEnd(text) else { return nil }
    let scheme = Self.lowercased(text.extracting(0..<schemeEnd))
    let rest = text.extracting((schemeEnd + 3)..<text.count)
    let isWeb = Self.defaultPort(scheme) != nil
    if rest.isEmpty {
      // `file://`; a web scheme needs its host.
      guard !isWeb else { return nil }
      self = .tuple(scheme: scheme, host: "", port: nil)
      return
    }
    let hostEnd = Authority.hostEnd(rest)
    guard hostEnd <= HostText.bytesMax,
      let host = HostText.normalized(rest, 0..<hostEnd, underscore: false, mapped: false)
    else { return nil }
    var port = Self.defaultPort(scheme)
    if hostEnd < rest.count {
      let digits = rest.extracting((hostEnd + 1)..<rest.count)
      guard rest[hostEnd] == UInt8(ascii: ":"), let written = ASCII.port(digits) else { return nil }
      port = written
    }
    self = .tuple(scheme: scheme, host: host, port: port)
  }

  /// The length of a scheme (RFC 3986 section 3.1) that `://` follows.
  private static func schemeEnd(_ text: Span<UInt8>) -> Int? {
    guard !text.isEmpty, ASCII.isLetter(text[0]) else { return nil }
    var end = 1
    while end < text.count, isSchemeByte(text[end]) { end += 1 }
    guard end <= 64, end + 3 <= text.count else { return nil }
    return ASCII.equals(text.extracting(end..<(end + 3)), "://") ? end : nil
  }

  private static func isSchemeByte(_ byte: UInt8) -> Bool {
    ASCII.isLetter(byte) || ASCII.isDigit(byte) || byte == UInt8(ascii: "+")
      || byte == UInt8(ascii: "-") || byte == UInt8(ascii: ".")
  }

  private static func lowercased(_ text: Span<UInt8>) -> String {
    var lowered: [UInt8] = []
    for index in 0..<text.count { lowered.append(ASCII.lowercased(text[index])) }
    return String(decoding: lowered, as: UTF8.self)
  }

  static func defaultPort(_ scheme: String) -> UInt16? {
    switch scheme {
    case "http", "ws": 80
    case "https", "wss": 443
    default: nil
    }
  }

  /// The same host with http and https exchanged, and the default port along with the scheme; nil
  /// for other schemes. What a gateway behind something that ended TLS would have to see.
  var withOtherScheme: Origin? {
    guard case .tuple(let scheme, let host, let port) = self else { return nil }
    switch scheme {
    case "http": return .tuple(scheme: "https", host: host, port: port == 80 ? 443 : port)
    case "https": return .tuple(scheme: "http", host: host, port: port == 443 ? 80 : port)
    default: return nil
    }
  }
}

extension Origin: CustomStringConvertible {
  /// The serialisation, without a default port.
  public var description: String {
    guard case .tuple(let scheme, let host, let port) = self else { return "null" }
    guard let port, port != Self.defaultPort(scheme) else { return "\(scheme)://\(host)" }
    return "\(scheme)://\(host):\(port)"
  }
}
