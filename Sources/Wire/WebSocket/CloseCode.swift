// What a Close frame carries: a status code and a reason (RFC 6455, sections 5.5.1 and 7.4). The bridge
// and endpoints read it with the same code.

internal import Bytes

/// Status codes of Close frames.
public enum CloseCode {
  /// False for the codes that never stand in a frame: below 1000, 1004-1006, and 1015-2999.
  @inlinable
  public static func maySend(_ code: UInt16) -> Bool {
    switch code {
    case 0..<1000, 1004...1006, 1015...2999: false
    default: true
    }
  }

  /// Checks the unmasked payload of a Close. Returns its code; nil for an empty payload.
  static func read(_ payload: Span<UInt8>) throws(WebSocketViolation) -> UInt16? {
    guard !payload.isEmpty else { return nil }
    guard payload.count >= 2 else { throw .closePayloadTooShort }
    let code = UInt16(payload[0]) << 8 | UInt16(payload[1])
    guard maySend(code) else { throw .closeCodeInvalid }
    guard UTF8Validator.isValid(payload.extracting(2...)) else { throw .closeReasonNotUTF8 }
    return code
  }
}
