// The keep-alive clock of one side, without a worker.

import Bytes
import Testing

@testable import Gateway

@Suite("Keep-alive")
struct KeepAliveTests {
  private func at(_ seconds: Int64) -> MonotonicTime {
    MonotonicTime(nanoseconds: 0) + .seconds(seconds)
  }
  /// An interval of exactly 22.5 s: no jitter above it.
  private func make() -> KeepAlive {
    KeepAlive(interval: .seconds(25), timeout: .seconds(50), now: at(0), random: 0)
  }

  @Test("the interval varies by a tenth either way")
  func jitter() {
    var shortest = Int64.max
    var longest = Int64.min
    for random in stride(from: UInt64(0), to: 2_500_000_000, by: 10_000_000) {
      let keepAlive = KeepAlive(
        interval: .seconds(25), timeout: .seconds(50), now: at(0), random: random)
      let next = keepAlive.nextDeadline(isListening: true).nanoseconds
      shortest = min(shortest, next)
      longest = max(longest, next)
    }
    #expect(shortest == 22_500_000_000)
    #expect(longest > 27_400_000_000 && longest <= 27_500_000_000)
  }

  @Test("a Ping is due when either direction has been silent, and none is while one is owed")
  func due() {
    var keepAlive = make()
    #expect(keepAlive.due(at(22), isListening: true) == .nothing)
    #expect(keepAlive.due(at(23), isListening: true) == .ping)
    keepAlive.sent(at(22))
    #expect(keepAlive.due(at(23), isListening: true) == .ping)
    keepAlive.oweThePing()
    #expect(keepAlive.due(at(500), isListening: true) == .nothing)
    #expect(keepAlive.nextDeadline(isListening: true) == .never)
  }

  @Test("gone after the timeout, not before, and never while nobody listens")
  func gone() {
    var keepAlive = make()
    _ = keepAlive.beginPing(at(23))
    keepAlive.pingHasLeft(at(23), backlog: 10)
    #expect(keepAlive.due(at(49), isListening: true) == .ping)
    #expect(keepAlive.due(at(55), isListening: true) == .gone)
    #expect(keepAlive.due(at(55), isListening: false) != .gone)
    keepAlive.received(at(54))
    #expect(keepAlive.due(at(56), isListening: true) != .gone)
  }

  @Test("a peer that still takes what lies before the Ping is slow, not gone")
  func stillTaking() {
    var keepAlive = make()
    _ = keepAlive.beginPing(at(23))
    keepAlive.pingHasLeft(at(23), backlog: 1_000)
    let isTaking = keepAlive.isStillTaking(at(55), backlog: 400)
    #expect(isTaking)
    #expect(keepAlive.due(at(56), isListening: true) != .gone)
    #expect(keepAlive.due(at(106), isListening: true) == .gone)
    let hasStopped = keepAlive.isStillTaking(at(106), backlog: 400)
    #expect(!hasStopped)
    let hasTakenAll = keepAlive.isStillTaking(at(106), backlog: 0)
    #expect(!hasTakenAll)
  }

  @Test("a Pong answers each Ping once, and only those that were sent")
  func answers() {
    var keepAlive = make()
    let number = keepAlive.beginPing(at(23))
    keepAlive.pingHasLeft(at(23), backlog: 10)
    let unsent = keepAlive.answers(number + 1, now: at(24))
    #expect(!unsent)
    let first = keepAlive.answers(number, now: at(25))
    #expect(first)
    #expect(keepAlive.lastRoundTrip == .seconds(2))
    let second = keepAlive.answers(number, now: at(26))
    #expect(!second)
  }
}
