// The opening handshake (RFC 6455, section 4, and RFC 8441), on the side where we are the server: what
// a request asks for, and the fields of both sides' heads. The gateway answers for itself: a key is
// never passed on, and the backend gets a fresh one. Digests come in as closures; no I/O.

internal import Bytes

/// Why a request that asks for a WebSocket cannot have one.
public enum HandshakeViolation: Error, Sendable, Equatable, CaseIterable {
  /// A method other than GET (4.1).
  case wrongMethod
  /// A body, which would be taken for frames on the one side and skipped on the other.
  case hasBody
  /// No Sec-WebSocket-Version, several, or another than 13 (4.4).
  case wrongVersion
  /// No Sec-WebSocket-Key, several, or one that is not 16 octets in base64 (4.2.1).
  case malformedKey
  /// CONNECT without `:protocol`, which asks for a tunnel to anywhere (RFC 9113, section 8.5).
  case plainConnect
  /// An extended CONNECT for something else than a WebSocket (RFC 8441, section 4).
  case unknownProtocol

  /// 426 goes with `Sec-WebSocket-Version: 13`; after a 400 the connection closes. There is no 426
  /// in HTTP/2: `wrongVersion` is 400 there, with the same field.
  public var status: Int {
    switch self {
    case .wrongVersion: 426
    case .wrongMethod, .hasBody, .malformedKey: 400
    case .plainConnect: 405
    case .unknownProtocol: 501
    }
  }

  /// For log lines.
  public var word: StaticString {
    switch self {
    case .wrongMethod: "websocket-method"
    case .hasBody: "websocket-body"
    case .wrongVersion: "websocket-version"
    case .malformedKey: "websocket-key"
    case .plainConnect: "plain-connect"
    case .unknownProtocol: "connect-protocol"
    }
  }
}

/// What a client offers in its handshake, reduced to what may be passed on to a backend.
public struct HandshakeOffer: Sendable, Equatable {
  /// The client's Sec-WebSocket-Key as it came, 24 octets; empty over HTTP/2, which has none. Only `Handshake.accept` reads it.
  public var key: [UInt8]
  /// In the client's order of preference, at most 16.
  public var subprotocols: [[UInt8]]
  /// The permessage-deflate offers, at most 16. Empty them where compression is off.
  public var deflate: [DeflateParameters]

  public init(key: [UInt8], subprotocols: [[UInt8]] = [], deflate: [DeflateParameters] = []) {
    self.key = key
    self.subprotocols = subprotocols
    self.deflate = deflate
  }

  /// Offers beyond this many are left out.
  public static var offersMax: Int { 16 }
}

public enum Handshake {
  public enum Classification: Sendable, Equatable {
    /// No upgrade to WebSocket: an ordinary request, whose Upgrade field is not passed on.
    case plain
    case webSocket(HandshakeOffer)
    case refused(HandshakeViolation)
  }

  /// What a request asks for (4.2.1). It asks for a WebSocket when it is HTTP/1.1 with `upgrade` in
  /// Connection and exactly `websocket` in Upgrade; only then can it be refused.
  /// Over HTTP/2 it is an extended CONNECT, which needs no key and may leave out the version
  /// (RFC 8441, section 5).
  public static func classify(_ head: RequestHead) -> Classification {
    if head.version == .http2 { return classifyConnect(head) }
    guard head.version == .http11, isUpgrade(head) else { return .plain }
    guard head.isGET else { return .refused(.wrongMethod) }
    guard !head.hasBody else { return .refused(.hasBody) }
    // The version before the key: drafts that had other versions had other keys.
    guard let version = head.onlyValue(of: .secWebSocketVersion), head.equals(version, "13") else {
      return .refused(.wrongVersion)
    }
    let bytes = head.bytes
    guard let key = head.onlyValue(of: .secWebSocketKey), isKey(bytes.span.extracting(key)) else {
      return .refused(.malformedKey)
    }
    return .webSocket(
      HandshakeOffer(
        key: Array(bytes[key]), subprotocols: subprotocols(in: head),
        deflate: DeflateParameters.offers(in: head)))
  }

  private static func classifyConnect(_ head: RequestHead) -> Classification {
    guard let name = head.protocolName else {
      return head.equals(head.method, "CONNECT") ? .refused(.plainConnect) : .plain
    }
    guard head.equals(name, "websocket") else { return .refused(.unknownProtocol) }
    if head.count(of: .secWebSocketVersion) > 0 {
      guard let version = head.onlyValue(of: .secWebSocketVersion), head.equals(version, "13")
      else { return .refused(.wrongVersion) }
    }
    return .webSocket(
      HandshakeOffer(
        key: [], subprotocols: subprotocols(in: head),
        deflate: DeflateParameters.offers(in: head)))
  }

  /// The Sec-WebSocket-Accept that answers `key` (4.2.2).
  public static func accept(
    key: Span<UInt8>, sha1: (Span<UInt8>) -> [UInt8], base64: (Span<UInt8>) -> [UInt8]
  ) -> [UInt8] {
    var text: [UInt8] = []
    for index in 0..<key.count { text.append(key[index]) }
    ASCII.append("258EAFA5-E914-47DA-95CA-C5AB0DC85B11", to: &text)
    let digest = sha1(text.span)
    return base64(digest.span)
  }

  /// Appends the fields that ask a server for a WebSocket. `key` is 16 random octets in base64, fresh
  /// for every request; the one in `offer` is not used. Names in the case that old servers compare.
  public static func appendRequestFields(
    key: Span<UInt8>, offer: HandshakeOffer, to head: inout HeadWriter
  ) {
    head.field("Upgrade", literal: "websocket")
    head.field("Connection", literal: "Upgrade")
    head.field("Sec-WebSocket-Key", key)
    head.field("Sec-WebSocket-Version", literal: "13")
    if !offer.subprotocols.isEmpty {
      let list = Array(offer.subprotocols.joined(separator: Array(", ".utf8)))
      head.field("Sec-WebSocket-Protocol", list.span)
    }
    if !offer.deflate.isEmpty {
      let list = Array(offer.deflate.map(\.text).joined(separator: Array(", ".utf8)))
      head.field("Sec-WebSocket-Extensions", list.span)
    }
  }

  /// Appends the fields that go with a 101. `accept` answers the key of this very client.
  public static func appendAnswerFields(
    accept: Span<UInt8>, agreement: HandshakeAgreement, to head: inout HeadWriter
  ) {
    head.field("Upgrade", literal: "websocket")
    head.field("Connection", literal: "Upgrade")
    head.field("Sec-WebSocket-Accept", accept)
    if let subprotocol = agreement.subprotocol {
      head.field("Sec-WebSocket-Protocol", subprotocol.span)
    }
    if let deflate = agreement.deflate {
      let text = deflate.text
      head.field("Sec-WebSocket-Extensions", text.span)
    }
  }

  /// `Connection` holds `upgrade` and `Upgrade` holds `websocket` and nothing else. Several protocols
  /// are a choice that two servers could make differently.
  static func isUpgrade(_ head: some MessageHead) -> Bool {
    let protocols = head.elements(of: .upgrade)
    return protocols.count == 1 && head.equalsIgnoringCase(protocols[0], "websocket")
      && head.hasToken("upgrade", in: .connection)
  }

  /// 16 octets in base64: 22 digits and `==`. The four bits of the last digit that mean nothing may
  /// be anything, as decoders have it.
  private static func isKey(_ text: Span<UInt8>) -> Bool {
    guard text.count == 24, text[22] == UInt8(ascii: "="), text[23] == UInt8(ascii: "=") else {
      return false
    }
    for index in 0..<22 {
      let byte = text[index]
      let isDigit = ASCII.isLetter(byte) || ASCII.isDigit(byte) || byte == UInt8(ascii: "+")
      guard isDigit || byte == UInt8(ascii: "/") else { return false }
    }
    return true
  }

  /// The first 16 elements of all Sec-WebSocket-Protocol fields, without those that are no tokens.
  private static func subprotocols(in head: RequestHead) -> [[UInt8]] {
    head.elements(of: .secWebSocketProtocol).prefix(HandshakeOffer.offersMax)
      .map { Array(head.bytes[$0]) }
      .filter { $0.allSatisfy(ASCII.isTokenByte) }
  }
}
