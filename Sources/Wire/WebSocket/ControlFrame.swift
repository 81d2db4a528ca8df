// A Ping, Pong or Close as the scanner found it: where it lies, and how to read it. It holds offsets,
// not bytes, so that reporting one costs nothing; the original bytes are what the bridge forwards.

internal import Bytes

/// A complete, valid control frame (RFC 6455, section 5.5). Offsets are into the scanned span.
public struct ControlFrame: Sendable, Equatable {
  public let opcode: Opcode
  public let start: Int
  public let payloadStart: Int
  public let end: Int
  /// Zero where the frame has no mask.
  let maskKey: UInt32
  /// The status code of a Close; nil for an empty one, and for Ping and Pong.
  public private(set) var closeCode: UInt16?

  init(opcode: Opcode, start: Int, payloadStart: Int, end: Int, maskKey: UInt32) {
    self.opcode = opcode
    self.start = start
    self.payloadStart = payloadStart
    self.end = end
    self.maskKey = maskKey
  }

  /// Octets of payload, 0...125.
  public var payloadCount: Int { end &- payloadStart }

  /// The payload, unmasked. `bytes` is the span in which the frame was found.
  public func payload(in bytes: Span<UInt8>) -> ControlPayload {
    ControlPayload(unmasking: bytes.extracting(payloadStart..<end), key: maskKey)
  }

  /// The reason of a Close, unmasked UTF-8; empty without one.
  public func closeReason(in bytes: Span<UInt8>) -> ControlPayload {
    guard opcode == .close, payloadCount > 2 else { return ControlPayload() }
    // The reason begins two octets into the payload, and so into the key.
    let reason = bytes.extracting(payloadStart &+ 2..<end)
    return ControlPayload(unmasking: reason, key: maskKey << 16 | maskKey >> 16)
  }

  /// Checks a Close and takes its code. The one-octet payload was refused with the header.
  mutating func readClose(in bytes: Span<UInt8>) -> WebSocketViolation? {
    guard opcode == .close, payloadCount >= 2 else { return nil }
    let high = bytes[payloadStart] ^ Mask.octet(maskKey, at: 0)
    let low = bytes[payloadStart &+ 1] ^ Mask.octet(maskKey, at: 1)
    let code = UInt16(high) << 8 | UInt16(low)
    guard CloseCode.maySend(code) else { return .closeCodeInvalid }
    let isText = closeReason(in: bytes).withSpan { UTF8Validator.isValid($0) }
    guard isText else { return .closeReasonNotUTF8 }
    closeCode = code
    return nil
  }
}

/// Up to 125 octets, in place.
public struct ControlPayload: Sendable {
  private var octets = InlineArray<125, UInt8>(repeating: 0)
  public private(set) var count = 0

  init() {}

  init(unmasking bytes: Span<UInt8>, key: UInt32) {
    invariant(bytes.count <= 125, "a control frame's payload is at most 125 octets")
    for index in 0..<bytes.count { octets[index] = bytes[index] ^ Mask.octet(key, at: index) }
    count = bytes.count
  }

  /// Lends the octets. The span ends with `body`.
  public func withSpan<Result>(_ body: (Span<UInt8>) -> Result) -> Result {
    body(octets.span.extracting(0..<count))
  }
}

/// Status codes of Close frames (RFC 6455, section 7.4, and the IANA registry).
public enum CloseCode {
  /// False for the codes that never stand in a frame: below 1000, 1004-1006, and 1015-2999.
  @inlinable
  public static func maySend(_ code: UInt16) -> Bool {
    switch code {
    case 0..<1000, 1004...1006, 1015...2999: false
    default: true
    }
  }
}
