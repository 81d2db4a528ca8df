// WebSockets that are told to go, spread evenly over a time, so that their clients do not all come back
// at the same moment.

import Bytes
import Configuration

/// Waves of departures, each with its own pace. Pure: it says who is due.
struct Departures {
  /// So few are no herd: they are told at once.
  static var fewMax: Int { 50 }

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

extension Worker where K: ~Copyable {
  /// How closely the pace is kept.
  static var departureStep: TimeSpan { .milliseconds(20) }

  /// Tells those who are due. Once per turn while there are any.
  mutating func continueDepartures() {
    guard !departures.isEmpty else { return }
    for (exchange, fault) in departures.next(now) where exchanges.contains(exchange) {
      switch exchanges[exchange].phase {
      case .bridge: endBridge(exchange, fault)
      case .tunnel: endTunnel(exchange, fault)
      case .connecting, .awaitingAnswer, .relayingResponse: break
      }
    }
    reapCasualties()
  }
}
