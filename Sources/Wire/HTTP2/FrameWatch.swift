// Reads the header of every frame before the library does. Here are the budgets of what a peer may
// send, below those of the library, and the rules of RFC 9113 about which the library is silent. It
// keeps no payload, only where a frame ends; what a frame does is the library's matter.

internal import Bytes

/// The types of frames (RFC 9113, section 6).
private enum FrameType {
  static let data: UInt8 = 0
  static let headers: UInt8 = 1
  static let priority: UInt8 = 2
  static let reset: UInt8 = 3
  static let settings: UInt8 = 4
  static let pushPromise: UInt8 = 5
  static let ping: UInt8 = 6
  static let goAway: UInt8 = 7
  static let windowUpdate: UInt8 = 8
  static let continuation: UInt8 = 9
}

private enum FrameFlag {
  static let endStream: UInt8 = 0x1
  static let ack: UInt8 = 0x1
  static let endHeaders: UInt8 = 0x4
  static let padded: UInt8 = 0x8
}

/// One frame header (RFC 9113, section 4.1).
private struct HTTP2FrameHeader {
  var length = 0
  var type: UInt8 = 0
  var flags: UInt8 = 0
  var stream: UInt32 = 0

  func has(_ flag: UInt8) -> Bool { flags & flag != 0 }
}

struct FrameWatch: Sendable {
  static var prefaceBytes: Int { 24 }
  static var headerBytes: Int { 9 }
  /// SETTINGS_MAX_FRAME_SIZE, which we leave at its first value.
  static var frameBytesMax: Int { 16_384 }

  /// The header's bytes that have come, then the first bytes of the payload where they matter.
  private var head = InlineArray<9, UInt8>(repeating: 0)
  private var headCount: UInt8 = 0
  /// How many more bytes are to be passed over.
  private var skipping = FrameWatch.prefaceBytes
  /// The payload bytes still to be looked at, which are put into `head`.
  private var peeking: UInt8 = 0
  private var frame = HTTP2FrameHeader()
  /// The preface ends with a SETTINGS frame (section 3.4), whose header has come.
  private var hasPreface = false
  private var history = StreamHistory()

  /// The stream whose field block goes on in the next frame, or 0.
  private var blockStream: UInt32 = 0
  private var blockBytes = 0
  private var blockFrames = 0

  private let limits: HTTP2Limits
  private var resets: HTTP2Budget
  private var settings: HTTP2Budget
  private var pings: HTTP2Budget
  private var priorities: HTTP2Budget
  private var windowUpdates: HTTP2Budget
  private var emptyFrames: HTTP2Budget
  private var unknownFrames: HTTP2Budget
  /// WINDOW_UPDATE frames that our own frames have earned the peer.
  private var windowUpdateCredit = 0
  /// Bytes of frames that carry or could carry payload, and the payload in them.
  private var totalBytes: UInt64 = 0
  private var payloadBytes: UInt64 = 0

  init(_ limits: HTTP2Limits) {
    self.limits = limits
    resets = HTTP2Budget(limits.clientResets)
    settings = HTTP2Budget(limits.settingsFrames)
    pings = HTTP2Budget(limits.pings)
    priorities = HTTP2Budget(limits.priorities)
    windowUpdates = HTTP2Budget(limits.windowUpdates)
    emptyFrames = HTTP2Budget(limits.emptyFrames)
    unknownFrames = HTTP2Budget(limits.unknownFrames)
  }

  /// The preface or a field block has begun and is not complete: it has to be in its time.
  var isAwaitingBytes: Bool {
    if !hasPreface || blockStream != 0 { return true }
    return skipping > 0 && (frame.type == FrameType.headers || frame.type == FrameType.settings)
  }

  /// We have sent so many frames.
  mutating func sent(_ frames: Int) {
    let earned = min(frames, 1 << 16) * min(limits.windowUpdatesPerFrame, 1 << 8)
    windowUpdateCredit = min(windowUpdateCredit + earned, 1 << 20)
  }

  /// Looks through the next bytes. With a violation, `end` is where its frame begins, or 0 when that
  /// was before: what is in front of it is in order.
  mutating func watch(
    _ bytes: Span<UInt8>, _ now: MonotonicTime
  ) -> (end: Int, violation: HTTP2Violation?) {
    var index = 0
    var frameStart = 0
    while index < bytes.count {
      if skipping > 0, peeking == 0 {
        let count = min(skipping, bytes.count - index)
        skipping -= count
        index += count
        continue
      }
      if headCount == 0, peeking == 0 { frameStart = index }
      head[Int(headCount)] = bytes[index]
      headCount += 1
      index += 1
      if let violation = take(now) { return (frameStart, violation) }
    }
    return (index, nil)
  }

  /// Acts on what is in `head` when that is complete.
  private mutating func take(_ now: MonotonicTime) -> HTTP2Violation? {
    if peeking > 0 {
      skipping -= 1
      guard headCount == peeking else { return nil }
      peeking = 0
      headCount = 0
      return takePayloadHead(now)
    }
    guard Int(headCount) == Self.headerBytes else { return nil }
    headCount = 0
    frame = HTTP2FrameHeader(
      length: Int(head[0]) << 16 | Int(head[1]) << 8 | Int(head[2]), type: head[3],
      flags: head[4], stream: number(at: 5))
    skipping = frame.length
    // The library lets a CONTINUATION be longer.
    guard frame.length <= Self.frameBytesMax else { return .frameSize }
    // Before the stream's state is asked: inside a block that would find its END_STREAM (section 4.3).
    guard blockStream == 0 || frame.type == FrameType.continuation else { return .protocolError }
    return takeFrame(now)
  }

  private mutating func takeFrame(_ now: MonotonicTime) -> HTTP2Violation? {
    switch frame.type {
    case FrameType.data: return takeData(now)
    case FrameType.headers: return takeHeaders()
    case FrameType.continuation: return takeContinuation()
    case FrameType.priority:
      guard frame.stream != 0 else { return .protocolError }
      // So that there is something to look at.
      guard frame.length == 5 else { return .frameSize }
      peeking = 4
      return priorities.take(now) ? nil : .priorityFlood
    case FrameType.reset:
      history.end(frame.stream)
      return resets.take(now) ? nil : .resetFlood
    case FrameType.settings:
      hasPreface = true
      guard frame.length <= limits.settingsEntries * 6 else { return .settingsTooLarge }
      return settings.take(now) ? nil : .settingsFlood
    case FrameType.goAway: return settings.take(now) ? nil : .settingsFlood
    case FrameType.ping: return pings.take(now) ? nil : .pingFlood
    case FrameType.windowUpdate:
      // Another length is the library's matter.
      peeking = frame.length == 4 ? 4 : 0
      if windowUpdateCredit > 0 {
        windowUpdateCredit -= 1
        return nil
      }
      return windowUpdates.take(now) ? nil : .windowUpdateFlood
    // The library knows what to say to it.
    case FrameType.pushPromise: return nil
    default: return unknownFrames.take(now) ? nil : .unknownFrameFlood
    }
  }

  private mutating func takeData(_ now: MonotonicTime) -> HTTP2Violation? {
    if let violation = closedStream() { return violation }
    if frame.has(FrameFlag.endStream) { history.end(frame.stream) }
    if frame.has(FrameFlag.padded), frame.length > 0 {
      peeking = 1
      return nil
    }
    return takeData(carrying: frame.length, now)
  }

  private mutating func takeData(carrying count: Int, _ now: MonotonicTime) -> HTTP2Violation? {
    if count == 0, !frame.has(FrameFlag.endStream), !emptyFrames.take(now) {
      return .emptyFrameFlood
    }
    return weigh(payload: count)
  }

  /// DATA and HEADERS may not follow what ended the peer's side of the stream (section 5.1).
  private func closedStream() -> HTTP2Violation? {
    switch history.state(of: frame.stream) {
    case .ended: .streamClosed
    // For HEADERS that is an identifier out of order (section 5.1.1).
    case .skipped: frame.type == FrameType.headers ? .streamIdentifier : .streamClosed
    case .idle, .open, .unknown: nil
    }
  }

  private mutating func takeHeaders() -> HTTP2Violation? {
    if let violation = closedStream() { return violation }
    if history.state(of: frame.stream) == .idle { history.open(frame.stream) }
    if frame.has(FrameFlag.endStream) { history.end(frame.stream) }
    blockBytes = 0
    blockFrames = 0
    return takeBlock()
  }

  private mutating func takeContinuation() -> HTTP2Violation? {
    blockFrames += 1
    guard blockFrames <= limits.continuations else { return .continuationFlood }
    return takeBlock()
  }

  private mutating func takeBlock() -> HTTP2Violation? {
    blockStream = frame.has(FrameFlag.endHeaders) ? 0 : frame.stream
    blockBytes += frame.length
    guard blockBytes <= limits.headerListBytes else { return .fieldBlockTooLarge }
    return weigh(payload: frame.length)
  }

  /// nginx's rule: the bytes of frames may be eight times their payload, and some more.
  private mutating func weigh(payload count: Int) -> HTTP2Violation? {
    totalBytes &+= UInt64(frame.length + Self.headerBytes)
    payloadBytes &+= UInt64(count)
    return totalBytes / 8 > payloadBytes &+ UInt64(max(limits.overheadBytes, 0))
      ? .overheadFlood : nil
  }

  /// The first bytes of the payload are in `head`.
  private mutating func takePayloadHead(_ now: MonotonicTime) -> HTTP2Violation? {
    if frame.type == FrameType.data {
      // Padding that does not fit is the library's matter.
      return takeData(carrying: max(frame.length - 1 - Int(head[0]), 0), now)
    }
    let number = number(at: 0)
    // A stream that is raised by nothing and gone already is one about which the library is silent
    // (section 6.9). For PRIORITY it is the stream to depend on (section 5.3.1).
    let isBroken = frame.type == FrameType.windowUpdate ? number == 0 : number == frame.stream
    return isBroken ? .protocolError : nil
  }

  /// A stream identifier or an increment in `head`: 31 bits behind a reserved one.
  private func number(at start: Int) -> UInt32 {
    var value: UInt32 = 0
    for index in start..<(start + 4) { value = value << 8 | UInt32(head[index]) }
    return value & 0x7fff_ffff
  }
}
