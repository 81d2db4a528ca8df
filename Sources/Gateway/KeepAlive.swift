// The gateway's own Pings towards one side of a bridge (behaviour: keep-alive), as a state machine
// without I/O. Cost per message: two stores of the turn's time.

import Bytes
import Wire

/// When to ping one peer, and when it counts as gone.
struct KeepAlive {
  enum Due: Equatable {
    case nothing
    case ping
    case gone
  }

  // These three are what traffic stores to.
  private var lastReceived: MonotonicTime
  private var lastSent: MonotonicTime
  /// When the oldest Ping that nothing has been heard since reached the socket.
  private var oldestPingLeft: MonotonicTime = .never

  /// Jittered by ±10 % per connection so that a burst of arrivals does not ping in step; nil: off.
  private let interval: TimeSpan?
  private let timeout: TimeSpan
  private var lastPing: MonotonicTime
  /// Silence counts from here at the earliest: reading was paused, or bytes were stuck, until then.
  private var silenceSince: MonotonicTime
  /// When the newest Ping reached the socket; `.never` while it waits for a frame to end or behind
  /// unsent bytes.
  private var pingLeft: MonotonicTime = .never
  private(set) var isPingWaiting = false
  /// What the peer's system had not acknowledged when the newest Ping left.
  private var backlog = 0
  /// A Ping is due but cannot be written yet: a frame towards the peer has not ended.
  private var isPingOwed = false

  /// Pings sent, which is also the number the newest one carries.
  private(set) var pingsSent: UInt32 = 0
  private var lastAnswered: UInt32 = 0
  private(set) var lastRoundTrip: TimeSpan?
  private(set) var longestRoundTrip: TimeSpan?

  init(interval: TimeSpan?, timeout: TimeSpan, now: MonotonicTime, random: UInt64) {
    self.interval = interval.map { Self.jittered($0, random: random) }
    self.timeout = timeout
    lastReceived = now
    lastSent = now
    lastPing = now
    silenceSince = now
  }

  private static func jittered(_ interval: TimeSpan, random: UInt64) -> TimeSpan {
    let tenth = max(interval.nanoseconds / 10, 1)
    let offset = Int64(random % UInt64(tenth)) * 2 - tenth
    return TimeSpan(nanoseconds: max(interval.nanoseconds + offset, 1_000_000))
  }

  mutating func received(_ now: MonotonicTime) {
    lastReceived = now
    oldestPingLeft = .never
  }
  mutating func sent(_ now: MonotonicTime) { lastSent = now }
  mutating func readingResumed(_ now: MonotonicTime) { silenceSince = now }

  /// The Ping that is due waits for a frame to end; until then there is nothing to ask the clock.
  mutating func oweThePing() { isPingOwed = true }

  /// The number for the next Ping; it is on its way, or waits to be.
  mutating func beginPing(_ now: MonotonicTime) -> UInt32 {
    pingsSent &+= 1
    lastPing = now
    pingLeft = .never
    isPingWaiting = true
    isPingOwed = false
    return pingsSent
  }

  /// Everything queued towards this side, a waiting Ping included, has reached the socket. What was
  /// never stuck, but sent at the end of its turn, says nothing about the peer.
  mutating func outputDrained(_ now: MonotonicTime, backlog: Int, wasStuck: Bool = true) {
    if wasStuck { silenceSince = now }
    pingHasLeft(now, backlog: backlog)
  }

  /// `backlog`: bytes towards the peer, the Ping's included, that its system has not acknowledged.
  mutating func pingHasLeft(_ now: MonotonicTime, backlog: Int) {
    guard isPingWaiting else { return }
    isPingWaiting = false
    pingLeft = now
    self.backlog = backlog
    if oldestPingLeft == .never { oldestPingLeft = now }
  }

  /// The last word before a peer counts as gone: one that still takes what lies before the Ping is
  /// slow, not dead, and its silence counts from here. A dead one acknowledges nothing.
  mutating func isStillTaking(_ now: MonotonicTime, backlog: Int) -> Bool {
    guard backlog > 0, backlog < self.backlog else { return false }
    self.backlog = backlog
    silenceSince = now
    return true
  }

  /// Whether a Pong with this number answers one of our Pings, and so ends here.
  mutating func answers(_ number: UInt32, now: MonotonicTime) -> Bool {
    guard number > lastAnswered, number <= pingsSent else { return false }
    lastAnswered = number
    if number == pingsSent, pingLeft != .never {
      let roundTrip = now - pingLeft
      lastRoundTrip = roundTrip
      longestRoundTrip = max(longestRoundTrip ?? .zero, roundTrip)
    }
    return true
  }

  /// Of the Ping with that number, which has just been answered; nil where nothing can be told.
  func roundTrip(of number: UInt32) -> TimeSpan? {
    number == pingsSent && pingLeft != .never ? lastRoundTrip : nil
  }

  /// What the clock asks for now. `isListening`: the gateway is taking bytes from this side, and
  /// nothing that it sends there is stuck; otherwise `write_stall` decides.
  func due(_ now: MonotonicTime, isListening: Bool) -> Due {
    guard interval != nil else { return .nothing }
    if isListening, now >= goneAt { return .gone }
    return now >= pingAt ? .ping : .nothing
  }

  /// When `due` should be asked again; `.never` when only traffic can change the answer.
  func nextDeadline(isListening: Bool) -> MonotonicTime {
    guard interval != nil else { return .never }
    return isListening ? min(pingAt, goneAt) : pingAt
  }

  private var pingAt: MonotonicTime {
    guard let interval, !isPingWaiting, !isPingOwed else { return .never }
    return max(min(lastReceived, lastSent), lastPing) + interval
  }

  private var goneAt: MonotonicTime {
    guard let interval, oldestPingLeft != .never else { return .never }
    // Silence counts from the last byte, but the Ping gets the rest of the time for its answer.
    let patience = max(timeout - interval, .zero)
    return max(max(lastReceived, silenceSince) + timeout, oldestPingLeft + patience)
  }
}

extension TimeSpan {
  static func - (a: TimeSpan, b: TimeSpan) -> TimeSpan {
    TimeSpan(nanoseconds: a.nanoseconds - b.nanoseconds)
  }
}
