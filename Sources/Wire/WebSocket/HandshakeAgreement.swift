// A backend's answer to our handshake (RFC 6455, section 4.1, "the server's response"). A 101 counts
// only if it answers our key and takes up nothing that was not offered; otherwise what follows it is
// not what the client thinks it is talking to, and no byte of it may pass.

internal import Bytes

/// What client and server agreed on.
public struct HandshakeAgreement: Sendable, Equatable {
  /// One of those offered.
  public var subprotocol: [UInt8]?
  /// Set when permessage-deflate is in use: RSV1 is legal then.
  public var deflate: DeflateParameters?

  public init(subprotocol: [UInt8]? = nil, deflate: DeflateParameters? = nil) {
    self.subprotocol = subprotocol
    self.deflate = deflate
  }
}

/// Why a 101 does not count. The client gets a 502.
public enum AnswerViolation: Error, Sendable, Equatable, CaseIterable {
  /// A status other than 101. The caller relays those as ordinary responses.
  case notSwitching
  /// No `Upgrade: websocket` with `upgrade` in Connection.
  case notUpgraded
  /// No Sec-WebSocket-Accept, several, or not the one that answers our key.
  case wrongAccept
  /// A subprotocol that was not offered, or more than one.
  case subprotocolNotOffered
  /// An extension that was not offered, or parameters that answer no offer.
  case extensionNotOffered

  /// For log lines.
  public var word: StaticString {
    switch self {
    case .notSwitching: "not-switching"
    case .notUpgraded: "not-upgraded"
    case .wrongAccept: "wrong-accept"
    case .subprotocolNotOffered: "subprotocol-not-offered"
    case .extensionNotOffered: "extension-not-offered"
    }
  }
}

extension Handshake {
  /// Checks an answer against what was sent. `expectedAccept` is the accept value of our own key;
  /// `offer` is what went to the backend.
  public static func validateAnswer(
    _ head: ResponseHead, expectedAccept: Span<UInt8>, offer: HandshakeOffer
  ) throws(AnswerViolation) -> HandshakeAgreement {
    guard head.status == 101 else { throw .notSwitching }
    guard isUpgrade(head) else { throw .notUpgraded }
    guard let accept = head.onlyValue(of: .secWebSocketAccept),
      areEqual(head.bytes.span.extracting(accept), expectedAccept)
    else { throw .wrongAccept }
    return HandshakeAgreement(
      subprotocol: try subprotocol(in: head, of: offer), deflate: try deflate(in: head, of: offer))
  }

  private static func subprotocol(
    in head: ResponseHead, of offer: HandshakeOffer
  ) throws(AnswerViolation) -> [UInt8]? {
    guard head.count(of: .secWebSocketProtocol) > 0 else { return nil }
    guard let range = head.onlyValue(of: .secWebSocketProtocol) else {
      throw .subprotocolNotOffered
    }
    // Offers are tokens, so a list or an empty value matches none.
    let chosen = Array(head.bytes[range])
    guard offer.subprotocols.contains(chosen) else { throw .subprotocolNotOffered }
    return chosen
  }

  private static func deflate(
    in head: ResponseHead, of offer: HandshakeOffer
  ) throws(AnswerViolation) -> DeflateParameters? {
    guard head.count(of: .secWebSocketExtensions) > 0 else { return nil }
    guard let chosen = DeflateParameters.answer(in: head),
      offer.deflate.contains(where: { chosen.answers($0) })
    else { throw .extensionNotOffered }
    return chosen
  }

  private static func areEqual(_ left: Span<UInt8>, _ right: Span<UInt8>) -> Bool {
    guard left.count == right.count else { return false }
    for index in 0..<left.count where left[index] != right[index] { return false }
    return true
  }
}
