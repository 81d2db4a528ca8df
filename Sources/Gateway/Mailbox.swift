// How other threads talk to a worker: a list under a lock, swapped out whole once per turn, and an
// eventfd that wakes the loop. Not for the data path.

import Synchronization

/// What a worker can be told from outside.
enum WorkerMessage: Sendable {
  /// Stop accepting, tell every bridge to go, end when nothing is left or time is up. With what: 1001
  /// or, when another process has taken over, 1012.
  case drain(Fault)
  /// Tell so many in a hundred to go.
  case dismiss(percent: Int)
  /// An upstream has other endpoints.
  case endpoints(EndpointTable)
  /// A reload: what is new counts for what begins from here on.
  case change(WorkerChange)
  /// The admin listener asks about connections, and is told.
  case walk(ConnectionWalk)
  case walked(WalkReport)
  /// For the admin listener: a reload has begun, and what it has come to.
  case reloadBegins
  case reloadEnded(mistakes: [String], forNextStart: [String])
  /// How short memory is; told again as long as it is critical.
  case memory(MemoryPressure)
  /// End now.
  case stop
}

final class Mailbox: Sendable {
  private struct State {
    var messages: [WorkerMessage] = []
    var looks: UInt64 = 0
    var isOver = false
  }

  private let state = Mutex(State())

  func post(_ message: WorkerMessage) {
    state.withLock { $0.messages.append(message) }
  }

  /// How often its worker has looked in; each time it is woken.
  var looks: UInt64 { state.withLock { $0.looks } }

  /// Whether the worker has looked in since then, or has ended, so that nothing is to be expected.
  func hasLooked(since looks: UInt64) -> Bool {
    state.withLock { $0.isOver || $0.looks > looks }
  }

  /// The worker has ended.
  func end() { state.withLock { $0.isOver = true } }

  /// Everything posted since the last call, in order.
  func takeAll() -> [WorkerMessage] {
    state.withLock { state in
      state.looks += 1
      defer { state.messages = [] }
      return state.messages
    }
  }
}
