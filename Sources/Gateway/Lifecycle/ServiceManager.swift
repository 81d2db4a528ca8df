// What a service manager such as systemd is told about this process (sd_notify(3)), if there is one.

import Bytes
import Kernel
import Synchronization

final class ServiceManager: Sendable {
  /// Of its socket.
  private let name: String?
  /// How long it waits for a sign of life before it ends this process.
  private let watchdog: TimeSpan?
  private let isSilent = Mutex(false)

  private init(name: String?, watchdog: TimeSpan?) {
    self.name = name
    self.watchdog = watchdog
  }

  static func ofThisProcess() -> ServiceManager {
    let microseconds = Environment.value("WATCHDOG_USEC").flatMap { Int64($0) } ?? 0
    let isOurs =
      Environment.value("WATCHDOG_PID").map { Int32($0) == ProcessIdentity.id } ?? true
    let (nanoseconds, overflow) = microseconds.multipliedReportingOverflow(by: 1_000)
    return ServiceManager(
      name: Environment.value("NOTIFY_SOCKET").flatMap { $0.isEmpty ? nil : $0 },
      watchdog: microseconds > 0 && isOurs && !overflow
        ? TimeSpan(nanoseconds: nanoseconds) : nil)
  }

  /// `replacing`: this process takes the place of the one that the manager knows.
  func isReady(replacing: Bool) {
    tell((replacing ? ["MAINPID=\(ProcessIdentity.id)"] : []) + ["READY=1", "STATUS=serving"])
  }

  func isReloading(_ now: MonotonicTime) {
    tell(["RELOADING=1", "MONOTONIC_USEC=\(now.nanoseconds / 1_000)", "STATUS=reloading"])
  }

  func hasReloaded(_ succeeded: Bool) {
    let note = succeeded ? "" : "; the last reload found mistakes, which are in the log"
    tell(["READY=1", "STATUS=serving\(note)"])
  }

  func isStopping() { tell(["STOPPING=1", "STATUS=draining"]) }

  /// Nothing is told any more: another process is the service now.
  func fallSilent() { isSilent.withLock { $0 = true } }

  /// Gives signs of life for as long as all workers do. On a thread of its own: a reload may wait for a
  /// name server.
  func watch(_ workers: [WorkerHandle]) throws(Errno) {
    guard name != nil, let watchdog else { return }
    let pause = TimeSpan(nanoseconds: watchdog.nanoseconds / 2)
    _ = try SystemThread.start(name: "watchdog", stackBytes: 256 << 10) {
      while true {
        Pause.sleep(pause)
        Self.waitForAll(workers)
        self.tell(["WATCHDOG=1"])
      }
    }
  }

  /// Wakes each worker and waits until each has looked into its mailbox, however long that takes.
  static func waitForAll(_ workers: [WorkerHandle]) {
    let before = workers.map(\.mailbox.looks)
    for worker in workers { worker.wakeup.wake() }
    while !zip(workers, before).allSatisfy({ $0.mailbox.hasLooked(since: $1) }) {
      Pause.sleep(.milliseconds(20))
    }
  }

  private func tell(_ lines: [String]) {
    guard let name, !isSilent.withLock({ $0 }) else { return }
    // A manager that is gone, or that does not listen, changes nothing here.
    _ = ServiceSocket.send(lines.joined(separator: "\n"), to: name)
  }
}
