// The timer wheel alone: never early, at most a tick late, and honest about how long to sleep.

import Bytes
import Testing

@testable import Gateway

@Suite("Timers")
struct TimersTests {
  private func at(_ milliseconds: Int64) -> MonotonicTime {
    MonotonicTime(nanoseconds: 1_000_000_000_000) + .milliseconds(milliseconds)
  }

  @Test(
    "an entry fires at its deadline, up to a tick late, and once",
    arguments: [0, 1, 9, 10, 11, 999, 10_239, 10_240, 10_241, 25_000, 3_600_000])
  func fires(after span: Int64) {
    var timers = Timers(now: at(0))
    timers.add(.drain, at: at(span))
    let early = timers.next(now: at(max(span - 1, 0)))?.owner
    #expect(span == 0 || early == nil)
    let fired = timers.next(now: at(span + 10))?.owner ?? early
    #expect(fired == .drain)
    let again = timers.next(now: at(span + 20_000))?.owner
    #expect(again == nil)
    let count = timers.count
    #expect(count == 0)
  }

  @Test(
    "sleeping as long as it says, the loop is there in time, after few turns",
    arguments: [1, 500, 5_000, 75_000])
  func sleeps(span: Int64) {
    var timers = Timers(now: at(0))
    timers.add(.acceptPause, at: at(span))
    var now = at(0)
    var turns = 0
    var fired: TimerOwner?
    while fired == nil, turns < 100, let sleep = timers.sleep(now: now) {
      now = now + sleep
      fired = timers.next(now: now)?.owner
      turns += 1
    }
    #expect(fired == .acceptPause)
    #expect(now >= at(span) && now <= at(span + 11))
    #expect(turns < 12)
    let rest = timers.sleep(now: now)
    #expect(rest == nil)
  }

  @Test("entries of slots that are gone do not add up, and others stay")
  func sweeps() {
    let connections = Slab<Connection>(capacity: 1)
    let exchanges = Slab<Exchange>(capacity: 1)
    var timers = Timers(now: at(0))
    timers.add(.drain, at: at(30_000))
    for index in 0..<20_000 {
      timers.add(.connection(SlotID(packed: 1 << 32)), at: at(60_000 + Int64(index % 100) * 10))
      timers.sweepIfOvergrown(connections, exchanges)
      #expect(timers.count <= 4_097)
    }
    let fired = timers.next(now: at(30_010))?.owner
    #expect(fired == .drain)
    let rest = timers.next(now: at(30_020))?.owner
    #expect(rest == nil)
  }
}
