// The receiving half of a WebSocket endpoint: unmasks, joins fragments, checks text. For the echo
// backend, the demo and the load generator; a bridge forwards frames and never assembles messages.
// One per connection. It holds one message at a time and takes memory only for what has arrived.

internal import Bytes

/// Turns received bytes into messages and control frames, strict in all of RFC 6455 (no extensions).
public struct MessageAssembler: Sendable {
  public enum Step: Sendable, Equatable {
    /// Every byte is taken; nothing is complete.
    case needMore
    /// A text or binary message is complete: it is in `message` until the next call. Go on at `end`.
    case message(Opcode, end: Int)
    /// A Ping, Pong or Close is complete: its payload is in `control`. Go on at `end`, but not after
    /// a Close.
    case control(Opcode, end: Int)
    /// The peer broke the protocol. Nothing more can be received.
    case violation(WebSocketViolation)
  }

  /// The message just reported, unmasked.
  public private(set) var message: [UInt8] = []
  /// The payload of the control frame just reported, unmasked.
  public private(set) var control: [UInt8] = []
  /// The status code of the Close just reported; nil when it has none.
  public private(set) var closeCode: UInt16?

  private var rules: FrameRules
  /// The beginning of a frame header that is not complete, at most 13 octets.
  private var partialHeader: [UInt8] = []
  /// The frame whose payload is being received.
  private var frame: Frame?
  private var messageOpcode = Opcode.binary
  /// Between messages it is complete, so one serves them all.
  private var text = UTF8Validator()
  private var messageIsDelivered = false

  private struct Frame {
    var header: FrameHeader
    var maskKey: UInt32
    /// Octets of payload already taken.
    var taken: UInt64 = 0
    var missing: UInt64 { header.payloadCount - taken }
  }

  /// Room that is kept from one message to the next; a larger one gives its memory back.
  private static var keptBytesMax: Int { 64 << 10 }

  /// - Parameters:
  ///   - expectsMask: true in a server, false in a client.
  ///   - messageBytesMax: limit of a message; each continuation frame costs at least 64 bytes of it.
  public init(expectsMask: Bool, messageBytesMax: UInt64) {
    rules = FrameRules(
      expectsMask: expectsMask, allowsRSV1: false, messageBytesMax: messageBytesMax)
  }

  /// Reads on from `start`: 0, or the `end` of the step before for the same bytes.
  public mutating func receive(_ bytes: Span<UInt8>, from start: Int) -> Step {
    if messageIsDelivered { forgetMessage() }
    var at = start
    do {
      while true {
        if frame == nil { frame = try takeHeader(bytes, at: &at) }
        guard var current = frame else { return .needMore }
        try takePayload(of: &current, bytes, at: &at)
        guard current.missing == 0 else {
          frame = current
          return .needMore
        }
        frame = nil
        if let step = try finish(current.header, end: at) { return step }
      }
    } catch {
      return .violation(error)
    }
  }

  private mutating func forgetMessage() {
    message.removeAll(keepingCapacity: message.capacity <= Self.keptBytesMax)
    messageIsDelivered = false
  }

  /// Nil when the header is not complete; what there is of it is kept.
  private mutating func takeHeader(
    _ bytes: Span<UInt8>, at: inout Int
  ) throws(WebSocketViolation) -> Frame? {
    if partialHeader.isEmpty {
      if let frame = try read(bytes, at: at) {
        at += frame.header.headerCount
        return begin(frame)
      }
      for index in at..<bytes.count { partialHeader.append(bytes[index]) }
      at = bytes.count
      return nil
    }
    while at < bytes.count {
      partialHeader.append(bytes[at])
      at += 1
      if let frame = try read(partialHeader.span, at: 0) {
        partialHeader.removeAll(keepingCapacity: true)
        return begin(frame)
      }
    }
    return nil
  }

  private func read(_ bytes: Span<UInt8>, at: Int) throws(WebSocketViolation) -> Frame? {
    guard let header = try rules.read(bytes, at: at) else { return nil }
    return Frame(header: header, maskKey: rules.maskKey(of: header, in: bytes, at: at))
  }

  private mutating func begin(_ frame: Frame) -> Frame {
    switch frame.header.opcode {
    case .close, .ping, .pong:
      control.removeAll(keepingCapacity: true)
      return frame
    case .text, .binary:
      messageOpcode = frame.header.opcode
    case .continuation: break
    }
    rules.enter(frame.header)
    return frame
  }

  private mutating func takePayload(
    of frame: inout Frame, _ bytes: Span<UInt8>, at: inout Int
  ) throws(WebSocketViolation) {
    let count = Int(min(frame.missing, UInt64(bytes.count - at)))
    guard count > 0 else { return }
    let piece = bytes.extracting(at..<at + count)
    let phase = Int(frame.taken & 3)
    at += count
    frame.taken += UInt64(count)
    if frame.header.opcode.isControl {
      Mask.append(piece, key: frame.maskKey, phase: phase, to: &control)
      return
    }
    let before = message.count
    Mask.append(piece, key: frame.maskKey, phase: phase, to: &message)
    guard messageOpcode == .text else { return }
    var validator = text
    let invalid = validator.firstInvalid(in: message.span.extracting(before...))
    text = validator
    if invalid != nil { throw .textNotUTF8 }
  }

  /// The step that a complete frame makes; nil when its message goes on.
  private mutating func finish(
    _ header: FrameHeader, end: Int
  ) throws(WebSocketViolation) -> Step? {
    switch header.opcode {
    case .ping, .pong:
      return .control(header.opcode, end: end)
    case .close:
      closeCode = try CloseCode.read(control.span)
      return .control(.close, end: end)
    case .continuation, .text, .binary:
      guard header.isFinal else { return nil }
      if messageOpcode == .text, !text.isComplete { throw .textNotUTF8 }
      messageIsDelivered = true
      return .message(messageOpcode, end: end)
    }
  }
}
