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

  /// Checks a Close and takes its code.
  mutating func readClose(in bytes: Span<UInt8>) throws(WebSocketViolation) {
    guard opcode == .close else { return }
    closeCode = try payload(in: bytes).withSpan { (octets) throws(WebSocketViolation) in
      try CloseCode.read(octets)
    }
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

  /// A copy, for what outlives the call.
  public var bytes: [UInt8] { (0..<count).map { octets[$0] } }

  /// Lends the octets. The span ends with `body`.
  public func withSpan<Result, Failure: Error>(
    _ body: (Span<UInt8>) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try body(octets.span.extracting(0..<count))
  }
}
