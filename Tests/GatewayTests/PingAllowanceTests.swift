import Bytes
import Testing

@testable import Gateway

@Suite("The allowance of a client's Pings")
struct PingAllowanceTests {
  private let start = MonotonicTime(nanoseconds: 3_600_000_000_000)

  /// How many of `count` Pings read at one moment are allowed; 50 at once, then 10 per second.
  private func taken(_ allowance: inout PingAllowance, _ now: MonotonicTime, of count: Int) -> Int {
    (0..<count).count { _ in allowance.take(now, burst: 50, perSecond: 10) }
  }

  @Test("a burst, then the rate, and never more than a burst at once")
  func rate() {
    var allowance = PingAllowance()
    #expect(taken(&allowance, start, of: 60) == 50)
    #expect(taken(&allowance, start + .seconds(1), of: 60) == 10)
    #expect(taken(&allowance, start + .seconds(3_600), of: 60) == 50)
  }

  @Test("Pings that waited while the gateway did not read are not a flood")
  func pause() {
    var allowance = PingAllowance()
    #expect(taken(&allowance, start, of: 50) == 50)
    allowance.readingPaused(start, burst: 50, perSecond: 10)
    let resumed = start + .seconds(60)
    allowance.readingResumed(resumed)
    // Five a second for a minute, and after more than the rate allows it is one all the same.
    #expect(taken(&allowance, resumed, of: 300) == 300)
    #expect(taken(&allowance, resumed, of: 400) == 300)
  }

  @Test("a short pause after a long silence gives no more than its own time")
  func silence() {
    var allowance = PingAllowance()
    allowance.readingPaused(start, burst: 50, perSecond: 10)
    allowance.readingResumed(start + .seconds(1))
    #expect(taken(&allowance, start + .seconds(1), of: 100) == 60)
  }
}
