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
  /// How short memory is; told again as long as it is critical.
  case memory(MemoryPressure)
  /// End now.
  case stop
}

final class Mailbox: Sendable {
  private let messages = Mutex<[WorkerMessage]>([])

  func post(_ message: WorkerMessage) {
    messages.withLock { $0.append(message) }
  }

  /// Everything posted since the last call, in order.
  func takeAll() -> [WorkerMessage] {
    messages.withLock { list in
      defer { list = [] }
      return list
    }
  }
}
