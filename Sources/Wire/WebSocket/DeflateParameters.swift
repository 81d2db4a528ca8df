// The negotiation of permessage-deflate (RFC 7692, section 7.1). The gateway does not compress; it has
// to know what was agreed, because that decides which bits frames may carry. Offers are read, reduced
// to what is well-formed, and written anew, so that no odd bytes of a client reach a backend.

internal import Bytes

/// One permessage-deflate element of Sec-WebSocket-Extensions, as an offer or as an answer.
public struct DeflateParameters: Sendable, Equatable {
  public enum ClientWindow: Sendable, Equatable {
    case absent
    /// The parameter without a value: in offers only.
    case unspecified
    /// 8...15.
    case bits(UInt8)
  }

  public var serverNoContextTakeover = false
  public var clientNoContextTakeover = false
  /// 8...15.
  public var serverMaxWindowBits: UInt8?
  public var clientMaxWindowBits = ClientWindow.absent

  public init() {}

  /// As it stands in Sec-WebSocket-Extensions.
  public var text: [UInt8] {
    var text: [UInt8] = []
    ASCII.append("permessage-deflate", to: &text)
    if serverNoContextTakeover { ASCII.append("; server_no_context_takeover", to: &text) }
    if clientNoContextTakeover { ASCII.append("; client_no_context_takeover", to: &text) }
    if let bits = serverMaxWindowBits {
      ASCII.append("; server_max_window_bits=", to: &text)
      ASCII.appendDecimal(UInt64(bits), to: &text)
    }
    switch clientMaxWindowBits {
    case .absent: break
    case .unspecified: ASCII.append("; client_max_window_bits", to: &text)
    case .bits(let bits):
      ASCII.append("; client_max_window_bits=", to: &text)
      ASCII.appendDecimal(UInt64(bits), to: &text)
    }
    return text
  }

  /// Whether this answer may follow `offer`. A server may add its own no_context_takeover, the
  /// client's, and its own window unasked; what the client asked of the server it must grant, and
  /// the client's window it may set only if the client knows the parameter (7.1.1, 7.1.2).
  public func answers(_ offer: DeflateParameters) -> Bool {
    if offer.serverNoContextTakeover, !serverNoContextTakeover { return false }
    if let most = offer.serverMaxWindowBits {
      guard let bits = serverMaxWindowBits, bits <= most else { return false }
    }
    return clientMaxWindowBits == .absent || offer.clientMaxWindowBits != .absent
  }

  /// The well-formed permessage-deflate offers among the first 16 elements of a request's
  /// Sec-WebSocket-Extensions. All other elements are left out.
  static func offers(in head: RequestHead) -> [DeflateParameters] {
    elements(in: head).compactMap { $0 }
  }

  /// The answer in a response: nil unless there is exactly one element, and that is well-formed.
  static func answer(in head: ResponseHead) -> DeflateParameters? {
    let elements = elements(in: head)
    guard elements.count == 1, let answer = elements[0] else { return nil }
    return answer.clientMaxWindowBits == .unspecified ? nil : answer
  }

  /// One entry per element of the list, at most 16; nil where it is not a permessage-deflate that
  /// can be understood.
  private static func elements(in head: some MessageHead) -> [DeflateParameters?] {
    var elements: [DeflateParameters?] = []
    for range in head.values(of: .secWebSocketExtensions) {
      var cursor = ExtensionCursor(head.bytes, range)
      while elements.count < HandshakeOffer.offersMax, cursor.beginElement() {
        // A copy reads, so that the end is found from the beginning, quotes and all.
        var reader = cursor
        elements.append(DeflateParameters(reading: &reader))
        cursor.skipElement()
      }
    }
    return elements
  }

  /// Unknown parameters, repeated ones and values that are out of place make the element useless:
  /// a server has to decline it (7.1).
  private init?(reading cursor: inout ExtensionCursor) {
    guard let name = cursor.takeToken(), cursor.equals(name, "permessage-deflate") else {
      return nil
    }
    // Four parameters exist and none may come twice: the loop ends with the fifth at the latest.
    while !cursor.isAtElementEnd {
      guard let (name, value) = cursor.takeParameter(), take(name, value, cursor) else {
        return nil
      }
    }
  }

  private mutating func take(
    _ name: Range<Int>, _ value: Range<Int>?, _ cursor: ExtensionCursor
  ) -> Bool {
    if cursor.equals(name, "server_no_context_takeover") {
      guard value == nil, !serverNoContextTakeover else { return false }
      serverNoContextTakeover = true
    } else if cursor.equals(name, "client_no_context_takeover") {
      guard value == nil, !clientNoContextTakeover else { return false }
      clientNoContextTakeover = true
    } else if cursor.equals(name, "server_max_window_bits") {
      guard let value, let bits = cursor.windowBits(value), serverMaxWindowBits == nil else {
        return false
      }
      serverMaxWindowBits = bits
    } else if cursor.equals(name, "client_max_window_bits") {
      guard clientMaxWindowBits == .absent else { return false }
      guard let value else {
        clientMaxWindowBits = .unspecified
        return true
      }
      guard let bits = cursor.windowBits(value) else { return false }
      clientMaxWindowBits = .bits(bits)
    } else {
      return false
    }
    return true
  }
}

/// Reads one Sec-WebSocket-Extensions value from left to right, every byte at most twice
/// (RFC 6455, section 9.1).
private struct ExtensionCursor {
  private let bytes: [UInt8]
  private var at: Int
  private let end: Int

  /// `bytes` is shared, not copied.
  init(_ bytes: [UInt8], _ range: Range<Int>) {
    self.bytes = bytes
    at = range.lowerBound
    end = range.upperBound
  }

  /// Moves to the next element that is not empty; false at the end.
  mutating func beginElement() -> Bool {
    while at < end, bytes[at] == UInt8(ascii: ",") || ASCII.isBlank(bytes[at]) { at += 1 }
    return at < end
  }

  /// Moves behind the comma that ends the element; commas in quoted strings do not.
  mutating func skipElement() {
    var isQuoted = false
    while at < end {
      let byte = bytes[at]
      at += 1
      if isQuoted, byte == UInt8(ascii: "\\"), at < end {
        at += 1
      } else if byte == UInt8(ascii: "\"") {
        isQuoted.toggle()
      } else if byte == UInt8(ascii: ","), !isQuoted {
        return
      }
    }
  }

  /// Skips blanks as it looks.
  var isAtElementEnd: Bool {
    mutating get {
      skipBlanks()
      return at == end || bytes[at] == UInt8(ascii: ",")
    }
  }

  mutating func takeToken() -> Range<Int>? {
    skipBlanks()
    let start = at
    while at < end, ASCII.isTokenByte(bytes[at]) { at += 1 }
    return start < at ? start..<at : nil
  }

  /// `; name`, `; name=token` or `; name="token"`.
  mutating func takeParameter() -> (name: Range<Int>, value: Range<Int>?)? {
    guard take(UInt8(ascii: ";")), let name = takeToken() else { return nil }
    guard take(UInt8(ascii: "=")) else { return (name, nil) }
    guard take(UInt8(ascii: "\"")) else { return takeToken().map { (name, $0) } }
    guard let value = takeToken(), take(UInt8(ascii: "\"")) else { return nil }
    return (name, value)
  }

  func equals(_ range: Range<Int>, _ text: StaticString) -> Bool {
    ASCII.equals(bytes.span.extracting(range), text)
  }

  /// 8 to 15 without leading zeros (RFC 7692, section 7.1.2).
  func windowBits(_ range: Range<Int>) -> UInt8? {
    let digits = bytes.span.extracting(range)
    guard digits.count <= 2, digits[0] != UInt8(ascii: "0"),
      let bits = ASCII.decimal(digits), (8...15).contains(bits)
    else { return nil }
    return UInt8(bits)
  }

  private mutating func skipBlanks() {
    while at < end, ASCII.isBlank(bytes[at]) { at += 1 }
  }

  private mutating func take(_ byte: UInt8) -> Bool {
    skipBlanks()
    guard at < end, bytes[at] == byte else { return false }
    at += 1
    return true
  }
}
