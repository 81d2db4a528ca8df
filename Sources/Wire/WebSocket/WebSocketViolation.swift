// Every way a peer can break the framing of RFC 6455, with the Close code it earns. Trivial values:
// the text in a log is `word`, and nothing is allocated on the way there.

/// Why a peer's frames cannot be followed any further.
public enum WebSocketViolation: Error, Sendable, Equatable, CaseIterable {
  /// RSV bits without an extension that owns them (5.2).
  case reservedBits
  /// Opcode 3-7 or 11-15 (5.2).
  case reservedOpcode
  /// A length in more octets than it needs (5.2).
  case lengthNotMinimal
  /// A 64-bit length with its most significant bit set (5.2).
  case lengthTooLong
  /// A control frame without FIN (5.5).
  case controlFragmented
  /// A control frame of more than 125 payload octets (5.5).
  case controlTooLong
  /// A continuation frame while no message is open (5.4).
  case unexpectedContinuation
  /// A text or binary frame while a fragmented message is open (5.4).
  case expectedContinuation
  /// A frame of a client without a mask (5.1).
  case notMasked
  /// A frame of a server with a mask (5.1).
  case masked
  /// A Close frame with a payload of one octet (5.5.1).
  case closePayloadTooShort
  /// A status code that may not be sent (7.4).
  case closeCodeInvalid
  /// A Close reason that is not UTF-8 (5.5.1).
  case closeReasonNotUTF8
  /// A message over the configured limit (10.4).
  case messageTooBig
  /// A text message that is not UTF-8 (8.1). Only endpoints look.
  case textNotUTF8

  /// The status code for the Close that answers it (7.4.1).
  public var closeCode: UInt16 {
    switch self {
    case .messageTooBig: 1009
    case .closeReasonNotUTF8, .textNotUTF8: 1007
    default: 1002
    }
  }

  /// One word for logs.
  public var word: StaticString {
    switch self {
    case .reservedBits: "reserved-bits"
    case .reservedOpcode: "reserved-opcode"
    case .lengthNotMinimal: "length-not-minimal"
    case .lengthTooLong: "length-too-long"
    case .controlFragmented: "control-fragmented"
    case .controlTooLong: "control-too-long"
    case .unexpectedContinuation: "unexpected-continuation"
    case .expectedContinuation: "expected-continuation"
    case .notMasked: "not-masked"
    case .masked: "masked"
    case .closePayloadTooShort: "close-payload-too-short"
    case .closeCodeInvalid: "close-code-invalid"
    case .closeReasonNotUTF8: "close-reason-not-utf8"
    case .messageTooBig: "message-too-big"
    case .textNotUTF8: "text-not-utf8"
    }
  }
}
