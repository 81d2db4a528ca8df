// The authority of a request: the host and port a client says it wants (Host, absolute-form). Routes
// and same-origin checks compare it, so it has one spelling per meaning. Nothing is resolved here.

/// `host[:port]` of RFC 3986 section 3.2, without userinfo.
public struct Authority: Sendable, Hashable {
  /// A lower-cased name or IPv4 literal, or a canonical IPv6 literal in brackets.
  public var host: String
  /// Nil when none was written.
  public var port: UInt16?

  public init(host: String, port: UInt16?) {
    self.host = host
    self.port = port
  }

  /// Refuses what two readers could read differently: userinfo, a comma, a trailing dot, empty
  /// labels, percent-encoding, an empty port, zero, leading zeros. `_` is no host name by RFC 1123
  /// but container networks use it, and it can deceive nobody here.
  public init?(parsing text: Span<UInt8>) {
    let hostEnd = Self.hostEnd(text)
    guard hostEnd <= HostText.bytesMax else { return nil }
    guard let host = HostText.normalized(text, 0..<hostEnd, underscore: true, mapped: true) else {
      return nil
    }
    self.host = host
    port = nil
    if hostEnd < text.count {
      let digits = text.extracting((hostEnd + 1)..<text.count)
      guard text[hostEnd] == UInt8(ascii: ":"), let number = ASCII.port(digits) else { return nil }
      port = number
    }
  }

  /// The port that counts: the written one, or the scheme's default.
  public func effectivePort(https: Bool) -> UInt16 { port ?? (https ? 443 : 80) }

  /// Where the host ends: behind the bracket, or at the first colon.
  static func hostEnd(_ text: Span<UInt8>) -> Int {
    let isBracketed = !text.isEmpty && text[0] == UInt8(ascii: "[")
    let stop = isBracketed ? UInt8(ascii: "]") : UInt8(ascii: ":")
    var end = 0
    while end < text.count, text[end] != stop { end += 1 }
    return isBracketed && end < text.count ? end + 1 : end
  }
}

extension Authority: CustomStringConvertible {
  public var description: String { port.map { host + ":" + String($0) } ?? host }
}

/// The rules that hosts of requests and of origins share.
enum HostText {
  /// A DNS name has at most 253 bytes; nothing longer can be a host.
  static var bytesMax: Int { 253 }

  /// The one spelling of the host in `range`, or nil when it is none. `underscore` lets names hold
  /// `_`; `mapped` lets an IPv6 literal hold an IPv4 address.
  static func normalized(
    _ text: Span<UInt8>, _ range: Range<Int>, underscore: Bool, mapped: Bool
  ) -> String? {
    guard !range.isEmpty else { return nil }
    if text[range.lowerBound] == UInt8(ascii: "[") {
      return literal(text.extracting(range), mapped: mapped)
    }
    return name(text.extracting(range), underscore: underscore)
  }

  private static func literal(_ text: Span<UInt8>, mapped: Bool) -> String? {
    let last = text.count - 1
    guard last > 1, text[last] == UInt8(ascii: "]") else { return nil }
    let inside = text.extracting(1..<last)
    var colons = 0
    var dots = 0
    for index in 0..<inside.count {
      if inside[index] == UInt8(ascii: ":") { colons += 1 }
      if inside[index] == UInt8(ascii: ".") { dots += 1 }
    }
    guard colons > 1, mapped || dots == 0, let address = IPAddress(parsing: inside) else {
      return nil
    }
    switch address {
    case .v6: return "[\(address)]"
    // RFC 5952 section 5 writes a mapped address this way.
    case .v4: return mapped ? "[::ffff:\(address)]" : nil
    }
  }

  /// Labels of letters, digits and hyphens, none of them empty.
  private static func name(_ text: Span<UInt8>, underscore: Bool) -> String? {
    guard isName(text, underscore: underscore) else { return nil }
    // Safety: at most `text.count` bytes are written, and so many have room.
    return unsafe String(unsafeUninitializedCapacity: text.count) { lowered in
      for index in text.indices { unsafe lowered[index] = ASCII.lowercased(text[index]) }
      return text.count
    }
  }

  private static func isName(_ text: Span<UInt8>, underscore: Bool) -> Bool {
    var labelIsEmpty = true
    for index in text.indices {
      let byte = text[index]
      if byte == UInt8(ascii: ".") {
        guard !labelIsEmpty else { return false }
        labelIsEmpty = true
      } else {
        guard
          ASCII.isLetter(byte) || ASCII.isDigit(byte) || byte == UInt8(ascii: "-")
            || (underscore && byte == UInt8(ascii: "_"))
        else { return false }
        labelIsEmpty = false
      }
    }
    return !labelIsEmpty
  }
}
