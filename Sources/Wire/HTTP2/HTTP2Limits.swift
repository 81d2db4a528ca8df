// What one HTTP/2 connection may cost us, each bound with its name. The defaults lie below those of
// the library, so that it is we who answer, with ENHANCE_YOUR_CALM.

internal import Bytes

/// So many at once, and then so many per second.
public struct HTTP2Rate: Sendable, Equatable {
  public var burst: Int
  public var perSecond: Int

  public init(burst: Int, perSecond: Int) {
    self.burst = burst
    self.perSecond = perSecond
  }
}

public struct HTTP2Limits: Sendable {
  /// SETTINGS_MAX_CONCURRENT_STREAMS; one more is refused with REFUSED_STREAM.
  public var streams = 100
  /// SETTINGS_INITIAL_WINDOW_SIZE, in bytes.
  public var streamWindow = 65_536
  public var connectionWindow = 1 << 20
  /// Decoded fields of a head with 32 bytes for each (SETTINGS_MAX_HEADER_LIST_SIZE), and the encoded
  /// bytes of a field block.
  public var headerListBytes = 32 * 1024
  /// Fields of a head without the pseudo-fields; each cookie crumb is one.
  public var fieldsMax = 100
  /// The bytes of a path, and of a name with its value.
  public var lineBytesMax = 8 * 1024
  /// CONTINUATION frames of one field block.
  public var continuations = 8
  public var clientResets = HTTP2Rate(burst: 200, perSecond: 20)
  /// Streams that we are made to reset: malformed requests, streams beyond the limit, and the like.
  public var ourResets = HTTP2Rate(burst: 100, perSecond: 10)
  public var settingsFrames = HTTP2Rate(burst: 50, perSecond: 5)
  public var settingsEntries = 32
  /// Questions and answers.
  public var pings = HTTP2Rate(burst: 200, perSecond: 20)
  public var priorities = HTTP2Rate(burst: 500, perSecond: 50)
  /// DATA frames that carry nothing and end nothing.
  public var emptyFrames = HTTP2Rate(burst: 100, perSecond: 10)
  public var unknownFrames = HTTP2Rate(burst: 500, perSecond: 50)
  /// WINDOW_UPDATE frames beyond `windowUpdatesPerFrame` for each frame that we have sent.
  public var windowUpdates = HTTP2Rate(burst: 1_000, perSecond: 100)
  public var windowUpdatesPerFrame = 4
  /// Bytes of frames may be eight times their payload and this many more.
  public var overheadBytes = 1 << 20
  /// Control frames waiting to be sent.
  public var queuedControl = 1_000

  public init() {}
}

/// A token bucket kept as one point in time: the moment at which it is full again.
struct HTTP2Budget: Sendable {
  private let interval: Int64
  private let burst: Int64
  private var fullAt: Int64 = .min

  init(_ rate: HTTP2Rate) {
    interval = 1_000_000_000 / Int64(min(max(rate.perSecond, 1), 1_000_000))
    burst = Int64(min(max(rate.burst, 0), 1_000_000)) * interval
  }

  /// Takes one token; false when there is none.
  mutating func take(_ now: MonotonicTime) -> Bool {
    let start = max(fullAt, now.nanoseconds)
    let (debt, overflow) = start.subtractingReportingOverflow(now.nanoseconds)
    guard !overflow, debt < burst else { return false }
    fullAt = start &+ interval
    return true
  }
}
