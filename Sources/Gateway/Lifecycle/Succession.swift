// SIGUSR2: another process of the program that lies where this one's did, which may be a newer one, with
// the same arguments. It gets all listening sockets, so that nobody is refused in between. This process
// serves until the other says that it does, and whatever goes wrong there, it goes on.

import Bytes
import Configuration
import Kernel
import Telemetry

/// How far this process is with being replaced.
struct Succession {
  enum Phase {
    case none
    case starting(ChildProcess, ready: Wakeup, until: MonotonicTime)
    /// This process drains.
    case done
  }

  /// For a successor to resolve its names and to start its workers.
  static var patience: TimeSpan { .seconds(60) }

  /// As found at start; nil where it cannot be told.
  let program: String?
  /// Likewise; relative paths among the arguments count from there.
  let directory: String
  var phase = Phase.none

  static func ofThisProcess() -> Succession {
    Succession(
      program: CommandLine.arguments.first.flatMap {
        ProcessIdentity.program(calledAs: $0, path: Environment.value("PATH"))
      }, directory: Files.absolute("."))
  }

  var isUnderWay: Bool { if case .starting = phase { true } else { false } }
  var isDone: Bool { if case .done = phase { true } else { false } }
}

extension Supervisor {
  /// Waits until all of them accept, and tells whoever wants to know. A worker that has looked into
  /// its mailbox watches its listeners.
  mutating func waitForWorkers() {
    while !workers.allSatisfy({ $0.mailbox.hasLooked(since: 0) }) || admin?.hasStarted == false {
      Pause.sleep(.milliseconds(1))
    }
    if !alive.hasFailed { beginServing() }
  }

  private mutating func beginServing() {
    service.isReady(replacing: inheritance.predecessor != nil)
    let wall = kernel.wallClock()
    for socket in inheritance.settle() {
      log.remark(
        socket.isOurs
          ? "\(socket.address) is no listener any more"
          : "\(socket.address) was passed to this process, and no listener has this address",
        socket.isOurs ? .info : .warn, wall: wall)
    }
  }

  // MARK: Being replaced

  mutating func startSuccessor() {
    if let reason = reasonToStay { return logIgnored("SIGUSR2: \(reason)") }
    guard let program = succession.program else {
      return logIgnored("SIGUSR2: where this program lies cannot be told")
    }
    // No other thread of this process has relative paths.
    Hardening.enterDirectory(succession.directory)
    defer { try? Hardening.leaveDirectory() }
    do throws(Errno) {
      let ready = try Wakeup()
      var passed = slots.filter(\.isOpen).flatMap { slot in
        slot.sockets.map { (socket: $0, name: slot.name) }
      }
      if let admin { passed.append((admin.socket, Inheritance.name(of: admin.desk.settings.bind))) }
      let child = try ChildProcess.start(
        program, arguments: CommandLine.arguments,
        environment: environment(names: passed.map(\.name)),
        descriptors: passed.map(\.socket) + [ready.descriptor])
      succession.phase = .starting(
        child, ready: ready, until: kernel.now() + Succession.patience)
      log.write(.successorStarted, now: kernel.now(), wall: kernel.wallClock()) { line in
        line.field("program", program)
        line.field("process", UInt64(child.id))
      }
    } catch {
      successionFailed("cannot run \(program): \(error.description)")
    }
  }

  private var reasonToStay: String? {
    if isEnding { return "this process is ending" }
    if succession.isUnderWay { return "a successor is starting already" }
    if load == nil { return "this command cannot be replaced while it runs" }
    if ProcessIdentity.id == 1 {
      return "process 1 cannot be replaced: start another container, then stop this one"
    }
    return nil
  }

  private func environment(names: [String]) -> [String] {
    let kept = Environment.all().filter { entry in
      !Inheritance.variables.contains { entry.hasPrefix($0 + "=") }
    }
    return kept + [
      "LISTEN_FDS=\(names.count)", "LISTEN_FDNAMES=\(names.joined(separator: ":"))",
      "\(Inheritance.readyVariable)=\(Int(ChildProcess.firstPassed) + names.count)",
    ]
  }

  mutating func lookAfterSuccessor() {
    guard case .starting(let child, let ready, let deadline) = succession.phase else { return }
    if ready.take() {
      ready.close()
      return superseded(by: child)
    }
    if let end = child.end() {
      ready.close()
      return successionFailed(Self.explanation(of: end))
    }
    guard kernel.now() >= deadline else { return }
    child.kill()
    // It must not be left over as a zombie; that takes no time to speak of.
    for _ in 0..<100 where child.end() == nil { Pause.sleep(.milliseconds(10)) }
    ready.close()
    let seconds = Succession.patience.nanoseconds / 1_000_000_000
    successionFailed("it did not serve within \(seconds) s, and has been killed")
  }

  private static func explanation(of end: ChildProcess.End) -> String {
    switch end {
    case .status(78): "it found mistakes in its configuration, which it has told"
    case .status(let status): "it ended with status \(status)"
    case .signal(let number): "signal \(number) ended it"
    }
  }

  private mutating func successionFailed(_ reason: String) {
    succession.phase = .none
    log.write(.successorFailed, now: kernel.now(), wall: kernel.wallClock()) {
      $0.field("reason", reason)
    }
  }

  private mutating func superseded(by child: ChildProcess) {
    succession.phase = .done
    // From here on the service is another process.
    service.fallSilent()
    logDrain(.superseded, why: "upgrade", successor: child.id)
    for worker in workers { worker.post(.drain(.superseded)) }
    admin?.handOver()
  }

  /// This process is to end: one that would take its place is not wanted either.
  func cancelSuccession() {
    if case .starting(let child, _, _) = succession.phase { child.terminate() }
  }
}
