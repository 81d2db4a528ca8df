// Starts the worker that has the admin listener, and ends it behind the others: also while they drain
// it says how they are.

import Bytes
import Configuration
import Kernel
import Synchronization
import Telemetry

/// Once up, never down.
private final class Flag: Sendable {
  private let value = Atomic(false)
  var isRaised: Bool { value.load(ordering: .relaxed) }
  func raise() { value.store(true, ordering: .relaxed) }
}

struct AdminThread: Sendable {
  let desk: AdminDesk
  let bound: SocketAddress
  /// For a successor.
  let socket: Descriptor
  private let isHandedOver = Flag()
  private let thread: SystemThread

  /// Before the other listeners, so that whoever can reach them can ask how they are.
  static func listen(_ address: SocketAddress) throws(Errno) -> Descriptor {
    try Listening.open(address, backlog: AdminDesk.connectionsMax, mode: 0o600)
  }

  /// Nil without an `admin` section, and so without a descriptor.
  static func start(
    _ shared: SharedState, _ descriptor: Descriptor?, workers: [WorkerPeer],
    process: WorkerMetrics, startedAt: UInt64
  ) throws(Errno) -> AdminThread? {
    guard let settings = shared.snapshot.admin, let descriptor,
      let bound = Listening.localAddress(of: descriptor)
    else { return nil }
    let own = WorkerPeer(mailbox: Mailbox(), wakeup: try Wakeup(), metrics: WorkerMetrics())
    let desk = AdminDesk(
      settings, bound: bound, workers: workers, own: own, process: process, startedAt: startedAt
    ) { command in
      switch command {
      case .drain: Signals.raiseTerminate()
      case .reload: Signals.raiseHangUp()
      }
    }
    let thread = try SystemThread.start(name: "admin") {
      defer { own.mailbox.end() }
      guard let kernel = try? LinuxKernel() else { return }
      var worker = Worker(
        kernel: kernel, shared: shared, index: workers.count, metrics: own.metrics,
        mailbox: own.mailbox, wakeup: own.wakeup.descriptor,
        listeners: [Listener(sockets: [descriptor], service: .admin, port: bound.port ?? 0)])
      worker.admin = desk
      if worker.start() { worker.run() }
    }
    own.wakeup.wake()
    return AdminThread(desk: desk, bound: bound, socket: descriptor, thread: thread)
  }

  /// Its listener is watched, or never will be.
  var hasStarted: Bool { desk.own.mailbox.hasLooked(since: 0) }

  func post(_ message: WorkerMessage) { desk.own.post(message) }

  /// Another process answers from here on.
  func handOver() {
    isHandedOver.raise()
    desk.beginDraining()
    post(.drain(.superseded))
  }

  /// When the workers have ended.
  func stop() {
    post(.stop)
    thread.join()
    if case .unix(let path) = bound, !isHandedOver.isRaised { Files.removeSocket(path) }
  }
}
