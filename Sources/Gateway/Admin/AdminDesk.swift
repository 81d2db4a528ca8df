// What the admin listener knows of the process: its workers, what they count, and how to tell the
// supervisor to do something. Its connections are carried by a worker of its own, so that parsing,
// time-outs and limits are those of every listener, and no scrape takes a moment of traffic.

import Bytes
import Configuration
import Kernel
import Synchronization
import Telemetry

/// What an operator may tell the process.
enum AdminCommand: Sendable {
  /// What SIGTERM does.
  case drain
  /// What SIGHUP does.
  case reload
}

/// A worker as other threads see it.
struct WorkerPeer: Sendable {
  let mailbox: Mailbox
  let wakeup: Wakeup
  let metrics: WorkerMetrics

  func post(_ message: WorkerMessage) {
    mailbox.post(message)
    wakeup.wake()
  }
}

final class AdminDesk: Sendable {
  /// Clients of the admin listener at once.
  static var connectionsMax: Int { 64 }

  let settings: AdminSettings
  let protection: AdminProtection
  /// Those that carry traffic, by their index.
  let workers: [WorkerPeer]
  /// The admin listener's own.
  let own: WorkerPeer
  /// What the supervisor counts.
  let process: WorkerMetrics
  /// Seconds since 1970.
  let startedAt: UInt64
  private let draining = Atomic(false)
  private let hasAskedForDrain = Atomic(false)
  private let command: @Sendable (AdminCommand) -> Void

  init(
    _ settings: AdminSettings, bound: SocketAddress, workers: [WorkerPeer], own: WorkerPeer,
    process: WorkerMetrics, startedAt: UInt64, command: @escaping @Sendable (AdminCommand) -> Void
  ) {
    self.settings = settings
    protection = AdminProtection(settings, bound: bound)
    self.workers = workers
    self.own = own
    self.process = process
    self.startedAt = startedAt
    self.command = command
  }

  var isDraining: Bool { draining.load(ordering: .relaxed) }
  /// The supervisor has told the workers to drain.
  func beginDraining() { draining.store(true, ordering: .relaxed) }

  var hasBeenAskedToDrain: Bool { hasAskedForDrain.load(ordering: .relaxed) }

  func perform(_ command: AdminCommand) {
    switch command {
    case .drain:
      // A second SIGTERM would stop at once.
      if isDraining || hasAskedForDrain.exchange(true, ordering: .relaxed) { return }
    case .reload: break
    }
    self.command(command)
  }
}
