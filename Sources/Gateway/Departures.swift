// WebSockets that are told to go, spread evenly over a time, so that their clients do not all come back
// at the same moment.

import Bytes
import Configuration
import Synchronization

/// Waves of departures, each with its own pace. Pure: it says who is due.
struct Departures {
  /// So few are no herd: they are told at once.
  static var fewMax: Int { 50 }

  /// So many in a hundred, rounded up.
  static func part<Count: BinaryInteger>(_ count: Count, _ percent: Int) -> Count {
    (count * Count(percent) + 99) / 100
  }

  private struct Wave {
    var sockets: [SlotID]
    var told = 0
    var begun: MonotonicTime
    var length: TimeSpan
    var fault: Fault

    /// How many should have been told by now.
    func due(_ now: MonotonicTime) -> Int {
      guard sockets.count > Departures.fewMax, length > .zero else { return sockets.count }
      let elapsed = max(0, (now - begun).milliseconds)
      let total = max(1, length.milliseconds)
      return Int(min(Int64(sockets.count), elapsed * Int64(sockets.count) / total + 1))
    }
  }

  private var waves: [Wave] = []

  var isEmpty: Bool { waves.isEmpty }
  /// Those whose turn is to come.
  var waiting: Int { waves.reduce(0) { $0 + $1.sockets.count - $1.told } }
  var waitingSockets: Set<SlotID> {
    Set(waves.lazy.flatMap { $0.sockets[$0.told...] })
  }

  /// The last tenth of `time` is for those who were told last.
  mutating func add(
    _ sockets: [SlotID], over time: TimeSpan, now: MonotonicTime, _ fault: Fault
  ) {
    guard !sockets.isEmpty else { return }
    let length = TimeSpan(nanoseconds: time.nanoseconds / 10 * 9)
    waves.append(Wave(sockets: sockets, begun: now, length: length, fault: fault))
  }

  /// Those whose turn it is, each once.
  mutating func next(_ now: MonotonicTime) -> [(SlotID, Fault)] {
    var due: [(SlotID, Fault)] = []
    for index in waves.indices {
      let end = waves[index].due(now)
      for socket in waves[index].sockets[waves[index].told..<max(end, waves[index].told)] {
        due.append((socket, waves[index].fault))
      }
      waves[index].told = max(end, waves[index].told)
    }
    waves.removeAll { $0.told == $0.sockets.count }
    return due
  }
}

/// How far all workers of a process are with telling WebSockets to go. What is counted only grows.
final class DepartureTally: Sendable {
  struct Counts: Equatable {
    /// Were to be told.
    var due = 0
    /// Their turn has come. Who had left by then counts as well.
    var told = 0
    /// Were open when their worker ended.
    var cutOff = 0
    /// When the first of those was due that have been due since all were told.
    var begun = MonotonicTime(nanoseconds: 0)
    /// When the last one was told.
    var latest = MonotonicTime(nanoseconds: 0)
  }

  private let state = Mutex(Counts())

  var counts: Counts { state.withLock { $0 } }

  func add(due count: Int, now: MonotonicTime) {
    state.withLock { counts in
      if counts.told == counts.due { counts.begun = now }
      counts.due += count
    }
  }

  func add(told count: Int, now: MonotonicTime) {
    guard count > 0 else { return }
    state.withLock { counts in
      counts.told += count
      counts.latest = now
    }
  }

  func add(cutOff count: Int) { state.withLock { $0.cutOff += count } }
}

extension Worker where K: ~Copyable {
  /// Tells them to go, evenly over the time of a drain.
  mutating func sendAway(_ sockets: [SlotID], _ fault: Fault) {
    shared.process.departures.add(due: sockets.count, now: now)
    departures.add(sockets, over: shared.snapshot.timeouts.drain, now: now, fault)
    continueDepartures()
  }

  /// Tells nobody more, but those who are sent away from now on.
  mutating func abandonDepartures() {
    shared.process.departures.add(told: departures.waiting, now: now)
    departures = Departures()
  }

  /// How closely the pace is kept.
  static var departureStep: TimeSpan { .milliseconds(20) }

  /// Tells those who are due. Once per turn while there are any.
  mutating func continueDepartures() {
    guard !departures.isEmpty else { return }
    let due = departures.next(now)
    shared.process.departures.add(told: due.count, now: now)
    for (exchange, fault) in due where exchanges.contains(exchange) {
      switch exchanges[exchange].phase {
      case .bridge: endBridge(exchange, fault)
      case .tunnel: endTunnel(exchange, fault)
      case .connecting, .awaitingAnswer, .relayingResponse: break
      }
    }
    reapCasualties()
  }
}
