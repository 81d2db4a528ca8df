// When the log hears of WebSockets that are told to go. Lines of a herd are few, and of a few there is
// one.

import Bytes
import Testing

@testable import Gateway

@Suite("Report of a drain")
struct DrainReportTests {
  private func at(_ milliseconds: Int64) -> MonotonicTime {
    MonotonicTime(nanoseconds: 1_000_000_000_000) + .milliseconds(milliseconds)
  }

  /// The lines that come when `report` looks every 20 ms while `count` WebSockets are told evenly.
  private func lines(
    _ report: inout DrainReport, _ tally: DepartureTally, _ count: Int, over seconds: Int64
  ) -> [(millisecond: Int64, line: DrainReport.Line)] {
    var lines: [(Int64, DrainReport.Line)] = []
    var told = 0
    tally.add(due: count, now: at(0))
    for time in stride(from: 0 as Int64, through: seconds * 1000 + 100, by: 20) {
      let due = min(count, Int(time) * count / Int(seconds * 1000))
      tally.add(told: due - told, now: at(time))
      told = due
      if let line = report.next(tally.counts, now: at(time)) { lines.append((time, line)) }
    }
    return lines
  }

  @Test("a long drain has a line for every tenth part")
  func long() {
    var (report, tally) = (DrainReport(), DepartureTally())
    report.begin(tally.counts, now: at(0))
    let lines = lines(&report, tally, 1000, over: 30)
    #expect(lines.map(\.line) == (1...9).map { .progress(told: $0 * 100, of: 1000) })
    #expect(lines.map(\.millisecond) == (1...9).map { $0 * 3000 })
  }

  @Test("a short drain has at most a line a second")
  func short() {
    var (report, tally) = (DrainReport(), DepartureTally())
    report.begin(tally.counts, now: at(0))
    let lines = lines(&report, tally, 1000, over: 3)
    #expect(lines.map(\.millisecond) == [1000, 2000])
  }

  @Test("those who are told at once have no line of progress")
  func few() {
    for isEnd in [false, true] {
      var (report, tally) = (DrainReport(), DepartureTally())
      if isEnd { report.begin(tally.counts, now: at(0)) }
      tally.add(due: 50, now: at(0))
      tally.add(told: 50, now: at(0))
      for time in stride(from: 0 as Int64, through: 5000, by: 1000) {
        let line = report.next(tally.counts, now: at(time))
        #expect(line == (time == 0 && !isEnd ? .allTold(50, took: .zero) : nil))
      }
    }
  }

  @Test("a part that is told to go has its own numbers, and so has the next one")
  func parts() {
    var (report, tally) = (DrainReport(), DepartureTally())
    for count in [200, 100] {
      let lines = lines(&report, tally, count, over: 3)
      #expect(lines.first?.line == .progress(told: count / 3, of: count))
      #expect(lines.last?.line == .allTold(count, took: .seconds(3)))
      #expect(lines.count == 3)
    }
  }

  @Test("whoever waits for a turn when the process is to end counts once")
  func partThenAll() {
    var (report, tally) = (DrainReport(), DepartureTally())
    tally.add(due: 100, now: at(0))
    tally.add(told: 40, now: at(500))
    _ = report.next(tally.counts, now: at(500))
    report.begin(tally.counts, now: at(500))
    // The worker begins again with all that are left, 200 of them.
    tally.add(told: 60, now: at(510))
    tally.add(due: 200, now: at(510))
    tally.add(told: 100, now: at(2000))
    #expect(report.next(tally.counts, now: at(2000)) == .progress(told: 100, of: 200))
    // A second reason to end is no new beginning.
    report.begin(tally.counts, now: at(2000))
    #expect(report.beginning == at(500))
  }
}
