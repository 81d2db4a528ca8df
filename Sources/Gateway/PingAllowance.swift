// How many Pings a client may send: a burst, then a rate (Close 1008 beyond). Time in which the
// gateway itself did not read is not held against the client: the Pings of that time then come at
// once, and each was sent at its own moment.

import Bytes

/// A token bucket. Its unit is the nanosecond: a Ping costs a second divided by the rate.
struct PingAllowance {
  private var credit: Int64 = 0
  private var settledAt = MonotonicTime(nanoseconds: 0)

  /// Takes one Ping out of the allowance; false when there is none left.
  mutating func take(_ now: MonotonicTime, burst: Int, perSecond: Int) -> Bool {
    settle(now, burst: burst, perSecond: perSecond)
    let cost = Self.cost(perSecond)
    guard credit >= cost else { return false }
    credit -= cost
    return true
  }

  mutating func readingPaused(_ now: MonotonicTime, burst: Int, perSecond: Int) {
    settle(now, burst: burst, perSecond: perSecond)
  }

  /// The time of the pause counts in full, whatever the burst.
  mutating func readingResumed(_ now: MonotonicTime) {
    credit += (now - settledAt).nanoseconds
    settledAt = now
  }

  /// Adds the time that has passed, up to the burst. What a pause has given stays.
  private mutating func settle(_ now: MonotonicTime, burst: Int, perSecond: Int) {
    let full = Self.cost(perSecond) * Int64(max(burst, 1))
    if credit < full { credit = min(full, credit + min((now - settledAt).nanoseconds, full)) }
    settledAt = now
  }

  private static func cost(_ perSecond: Int) -> Int64 { 1_000_000_000 / Int64(max(perSecond, 1)) }
}
