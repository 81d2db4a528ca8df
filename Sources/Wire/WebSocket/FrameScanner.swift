// Walks the frames of one direction of a bridge over the bytes as they arrive, so that the gateway
// always knows where in a frame the stream stands. It reads headers and control frames only; payload
// is counted and passes verbatim, still masked. No allocation; work per frame, not per byte.

internal import Bytes

/// What a scan found. Offsets are into the span that was scanned.
public enum ScanStep: Sendable, Equatable {
  /// `bytes[start..<passable]` may be forwarded. What is left, a partial frame header (at most 13
  /// bytes) or an incomplete control frame (at most 130), must come again at the front of the next
  /// span, with more behind it.
  case needMore(passable: Int)
  /// A complete and valid control frame. `bytes[start..<frame.start]` may be forwarded; the frame
  /// itself is the caller's to forward, answer or swallow. Scan on from `frame.end`, but not after
  /// a Close.
  case control(ControlFrame)
  /// The peer broke the protocol with the frame that begins at `at`; `bytes[start..<at]` may be
  /// forwarded. Nothing more can be read from this direction.
  case violation(WebSocketViolation, at: Int)
}

/// What has passed of one direction, by the kind of message.
public struct FrameTally: Sendable {
  public var textMessages: UInt64
  public var textBytes: UInt64
  public var binaryMessages: UInt64
  public var binaryBytes: UInt64
}

/// Follows the frames of one direction (RFC 6455, section 5).
public struct FrameScanner: Sendable {
  private var rules: FrameRules
  /// Payload of the current data frame that has not arrived yet.
  private var remaining: UInt64 = 0
  private var finalFrames: UInt64 = 0
  private var announcedBytes: UInt64 = 0
  /// Of these two sums, what is text; while text is under way, what they are to be added to. So they
  /// change when the kind does, and not with every frame.
  private var finalTextFrames: UInt64 = 0
  private var announcedTextBytes: UInt64 = 0

  /// - Parameters:
  ///   - expectsMask: true for what a client sends, false for what a backend sends.
  ///   - allowsRSV1: permessage-deflate was negotiated.
  ///   - messageBytesMax: limit of a message in payload bytes on the wire.
  public init(expectsMask: Bool, allowsRSV1: Bool, messageBytesMax: UInt64) {
    rules = FrameRules(
      expectsMask: expectsMask, allowsRSV1: allowsRSV1, messageBytesMax: messageBytesMax)
  }

  /// Everything that may be forwarded so far ends with a whole frame: a frame of our own may follow.
  public var isAtFrameBoundary: Bool { remaining == 0 }
  /// How many payload bytes the frame under way still has; a boundary is right behind them.
  public var payloadRemaining: UInt64 { remaining }

  /// A fragmented message is open. Control frames may come between its fragments.
  public var isInMessage: Bool { rules.isInMessage }

  /// Data messages that have passed completely.
  public var messages: UInt64 {
    lastIsOnItsWay ? finalFrames &- 1 : finalFrames
  }
  private var lastIsOnItsWay: Bool { remaining > 0 && !rules.isInMessage }

  /// Payload of data frames that has passed, in bytes.
  public var payloadBytes: UInt64 { announcedBytes &- remaining }

  /// Both of the above by kind. Moves on with every scan.
  public var tally: FrameTally {
    var textMessages = finalTextFrames
    var textBytes = announcedTextBytes
    if rules.isText {
      textMessages &+= messages
      textBytes &+= payloadBytes
    }
    return FrameTally(
      textMessages: textMessages, textBytes: textBytes, binaryMessages: messages &- textMessages,
      binaryBytes: payloadBytes &- textBytes)
  }

  /// Reads on from `start`, which is 0 or the end of the control frame just reported.
  public mutating func scan(_ bytes: Span<UInt8>, from start: Int) -> ScanStep {
    invariant(start >= 0, "a scan begins before the bytes")
    invariant(start <= bytes.count, "a scan begins behind the bytes")
    var at = start
    do {
      guard let header = try walk(bytes, at: &at) else { return .needMore(passable: at) }
      guard let frame = try control(header, in: bytes, at: at) else {
        return .needMore(passable: at)
      }
      return .control(frame)
    } catch {
      return .violation(error, at: at)
    }
  }

  /// Moves `at` over data frames, up to where the bytes end, a header is incomplete, or a control
  /// frame begins, whose header it returns.
  @_noLocks
  private mutating func walk(
    _ bytes: Span<UInt8>, at: inout Int
  ) throws(WebSocketViolation) -> FrameHeader? {
    at &+= skipPayload(bytes.count &- at)
    while remaining == 0 {
      guard let header = try rules.read(bytes, at: at) else { return nil }
      if header.opcode.isControl { return header }
      let wasText = rules.isText
      rules.enter(header)
      if rules.isText != wasText { kindChanged() }
      if header.isFinal { finalFrames &+= 1 }
      announcedBytes &+= header.payloadCount
      remaining = header.payloadCount
      at &+= header.headerCount
      at &+= skipPayload(bytes.count &- at)
    }
    return nil
  }

  @_noLocks
  private mutating func kindChanged() {
    if rules.isText {
      finalTextFrames &-= finalFrames
      announcedTextBytes &-= announcedBytes
    } else {
      finalTextFrames &+= finalFrames
      announcedTextBytes &+= announcedBytes
    }
  }

  /// Returns how many of the `available` bytes belong to the current frame's payload.
  @_noLocks @inline(always)
  private mutating func skipPayload(_ available: Int) -> Int {
    let count = min(remaining, UInt64(truncatingIfNeeded: available))
    remaining &-= count
    return Int(truncatingIfNeeded: count)
  }

  /// Nil when the frame is not complete.
  private func control(
    _ header: FrameHeader, in bytes: Span<UInt8>, at: Int
  ) throws(WebSocketViolation) -> ControlFrame? {
    let payloadStart = at &+ header.headerCount
    let end = payloadStart &+ Int(truncatingIfNeeded: header.payloadCount)
    guard end <= bytes.count else { return nil }
    var frame = ControlFrame(
      opcode: header.opcode, start: at, payloadStart: payloadStart, end: end,
      maskKey: rules.maskKey(of: header, in: bytes, at: at))
    try frame.readClose(in: bytes)
    return frame
  }
}
