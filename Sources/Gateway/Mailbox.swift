// How other threads talk to a worker: a list under a lock, swapped out whole once per turn, and an
// eventfd that wakes the loop. Not for the data path.

import Synchronization

/// What a worker can be told from outside.
enum WorkerMessage: Sendable {
  /// Stop accepting, close every bridge with 1001, end when nothing is left or time is up.
  case drain
  /// The upstream of that number has other endpoints.
  case endpoints(Int, EndpointTable)
  /// The admin listener asks about connections, and is told.
  case walk(ConnectionWalk)
  case walked(WalkReport)
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
