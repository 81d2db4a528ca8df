// What the log hears of WebSockets that are told to go: the beginning, how it goes, and the end. One line
// for all workers, which only count.

import Bytes
import Configuration
import Kernel
import Telemetry

/// Says when a line is due. Pure.
struct DrainReport {
  /// A line of progress comes this long after the one before, and with so much more to tell.
  static var interval: TimeSpan { .seconds(1) }
  static var percentStep: Int { 10 }

  enum Line: Equatable {
    case progress(told: Int, of: Int)
    case allTold(Int, took: TimeSpan)
  }

  /// Since when the process has been ending; nil while it has not.
  private(set) var beginning: MonotonicTime?
  /// What was due before those of now.
  private var before = 0
  /// Nil while nobody waits for a turn.
  private var last: (time: MonotonicTime, percent: Int)?

  /// The process is to end, for the first reason there is. Whoever was due before is among those that
  /// are told now.
  mutating func begin(_ counts: DepartureTally.Counts, now: MonotonicTime) {
    guard beginning == nil else { return }
    beginning = now
    before = counts.due
    last = nil
  }

  /// What there is to say now. To be called about once a second, or more often.
  mutating func next(_ counts: DepartureTally.Counts, now: MonotonicTime) -> Line? {
    let of = counts.due - before
    let told = max(0, counts.told - before)
    guard of > 0 else { return nil }
    guard told < of else {
      // What ends with the process has a line of its own.
      if beginning != nil { return nil }
      before = counts.due
      last = nil
      return .allTold(of, took: counts.latest - counts.begun)
    }
    let percent = told * 100 / of
    let last = last ?? (counts.begun, 0)
    self.last = last
    guard now - last.time >= Self.interval, percent >= last.percent + Self.percentStep else {
      return nil
    }
    self.last = (now, percent)
    return .progress(told: told, of: of)
  }
}

extension Supervisor {
  /// The line that a drain begins with. To be called before the workers are told.
  mutating func logDrain(_ event: LogEvent, why: StaticString, successor: Int32? = nil) {
    let now = kernel.now()
    let sockets = workers.map(\.metrics).openSockets
    let time = running.timeouts.drain
    if let tally { drain.begin(tally.counts, now: now) }
    log.write(event, now: now, wall: kernel.wallClock()) { line in
      if let successor { line.field("process", UInt64(successor)) }
      line.field("why", word: why)
      line.field("websockets", sockets)
      line.field("over_ms", milliseconds: time)
    }
  }

  /// To be called about once a second, or more often.
  mutating func reportDepartures() {
    let now = kernel.now()
    guard let tally, let next = drain.next(tally.counts, now: now) else { return }
    let open = workers.map(\.metrics).openSockets
    switch next {
    case .progress(let told, let of):
      log.write(.departing, now: now, wall: kernel.wallClock()) { line in
        line.field("percent", UInt64(told * 100 / of))
        line.field("told", UInt64(told))
        line.field("of", UInt64(of))
        line.field("open", open)
      }
    case .allTold(let told, let took):
      log.write(.departed, now: now, wall: kernel.wallClock()) { line in
        line.field("told", UInt64(told))
        line.field("open", open)
        line.field("duration_ms", milliseconds: took)
      }
    }
  }

  /// The line that a drain ends with, when the workers have ended.
  mutating func reportDrain() {
    guard let beginning = drain.beginning, let tally else { return }
    let now = kernel.now()
    let cutOff = tally.counts.cutOff
    log.write(cutOff > 0 ? .drainCutOff : .drained, now: now, wall: kernel.wallClock()) { line in
      line.field("duration_ms", milliseconds: now - beginning)
      line.field("cut_off", UInt64(cutOff))
    }
  }

  private var tally: DepartureTally? { board?.shared.process.departures }
}
