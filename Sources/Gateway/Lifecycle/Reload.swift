// SIGHUP: everything is read, checked and opened before anything changes. A mistake leaves the running
// configuration as it is; without one, what is new counts from the next request on.

import Bytes
public import Configuration
import Kernel
import TLS
import Telemetry

/// What came of loading the configuration, and which files and directories it was in.
public struct LoadedConfiguration: Sendable {
  public var result: ConfigurationResult
  public var files: Set<String>

  public init(_ result: ConfigurationResult, files: Set<String>) {
    self.result = result
    self.files = files
  }
}

/// A listener as all workers know it, by its place in their lists.
struct ListenerSlot {
  var settings: ListenerSettings
  var bound: SocketAddress
  var isOpen = true
  /// Each once, however many workers share it. Theirs, and open as long as this is.
  let sockets: [Descriptor]
  /// They were open before this process was.
  var isInherited = false
  /// What their owner calls them, where no gateway has opened them.
  var foreignName: String?

  init(_ settings: ListenerSettings, _ bound: SocketAddress, _ sockets: [Descriptor]) {
    self.settings = settings
    self.bound = bound
    self.sockets = sockets
  }

  /// What a successor is told of them.
  var name: String { foreignName ?? Inheritance.name(of: settings.bind) }

  /// What `bind` has left in the file system, when it was ours.
  func removeFile() {
    if case .unix(let path) = bound, foreignName == nil { Files.removeSocket(path) }
  }
}

/// What a reload has found and opened, before anybody is told.
private struct NextListeners {
  var slots: [ListenerSlot]
  var kept: [Int: Listener] = [:]
  var removed: [Int] = []
  /// Per new listener, one for each worker.
  var added: [[Listener]] = []

  func change(_ shared: SharedState, worker: Int) -> WorkerChange {
    WorkerChange(
      shared: shared, kept: kept, removed: removed, added: added.map { $0[worker] })
  }

  func closeAdded() {
    for socket in added.joined().flatMap(\.sockets) { Listening.close(socket) }
  }
}

extension Supervisor {
  /// Diagnostics that one failed reload writes into the log.
  private static var mistakesMax: Int { 20 }

  mutating func reload() {
    if isEnding { return ignoreReload("this process is ending") }
    guard let load else { return ignoreReload("this command has no configuration file") }
    if succession.isUnderWay {
      return ignoreReload("a successor is starting, which reads the configuration")
    }
    let failures = metrics.value(.reloadsFailed)
    service.isReloading(kernel.now())
    defer { service.hasReloaded(metrics.value(.reloadsFailed) == failures) }
    log.write(.reloading, now: kernel.now(), wall: kernel.wallClock())
    admin?.post(.reloadBegins)
    lastMistakes = []
    defer {
      admin?.post(
        .reloadEnded(
          mistakes: lastMistakes.map(\.description), forNextStart: startOnlyChanges(running)))
    }
    let loaded = load()
    // What was wrong may be put right in any of them.
    fileWatch.watch(loaded.files.union(secretFiles))
    switch loaded.result {
    case .failure(let mistakes, _): reloadFailed(mistakes)
    case .success(let snapshot): change(to: snapshot, loaded.files)
    }
  }

  /// Whoever has asked for it through the admin listener waits for an answer.
  private mutating func ignoreReload(_ reason: String) {
    logIgnored("SIGHUP: \(reason)")
    admin?.post(.reloadBegins)
    admin?.post(.reloadEnded(mistakes: [reason], forNextStart: startOnlyChanges(running)))
  }

  private mutating func change(to snapshot: Snapshot, _ files: Set<String>) {
    let open = slots.filter(\.isOpen).map(\.bound) + (admin.map { [$0.bound] } ?? [])
    var preflight = Preflight(snapshot, for: .reload(open: open))
    let found = preflight.prepare()
    secretFiles = preflight.filesRead
    fileWatch.watch(files.union(secretFiles))
    guard let next = found else { return reloadFailed(preflight.mistakes) }
    let file: Descriptor?
    do throws(LogFileFailure) {
      file = try openNextAccessFile(snapshot.log)
    } catch {
      return reloadFailed([snapshot.log.mistake(error)])
    }
    do throws(Errno) {
      let listeners = try openNext(next)
      turnAccessLog(to: snapshot.log, file)
      tellWorkers(next, listeners)
      reloaded(snapshot, next.warnings)
    } catch {
      if let file { Files.close(file) }
      reloadFailed([
        Diagnostic(
          snapshot.listeners.first?.location ?? SourceLocation(),
          "cannot listen: \(error.description)")
      ])
    }
  }

  private func openNext(_ next: Prepared) throws(Errno) -> NextListeners {
    var found = NextListeners(slots: slots)
    var used: Set<Int> = []
    for (index, settings) in next.snapshot.listeners.enumerated() {
      let number = slots.indices.first { number in
        slots[number].isOpen && slots[number].settings.bind == settings.bind
          && !used.contains(number)
      }
      if let number {
        used.insert(number)
        found.slots[number].settings = settings
        found.kept[number] = listener(
          settings, next.tls[index], .gateway, found.slots[number].bound)
        continue
      }
      do throws(Errno) {
        let (slot, listeners) = try open(
          settings, next.addresses[index], next.tls[index], .gateway)
        found.slots.append(slot)
        found.added.append(listeners)
      } catch {
        found.closeAdded()
        throw error
      }
    }
    for number in slots.indices where slots[number].isOpen && !used.contains(number) {
      found.removed.append(number)
      found.slots[number].isOpen = false
    }
    return found
  }

  private mutating func tellWorkers(_ next: Prepared, _ listeners: NextListeners) {
    guard let board else { return listeners.closeAdded() }
    for number in listeners.removed {
      slots[number].removeFile()
    }
    slots = listeners.slots
    let process = board.shared.process
    let (workers, admin) = (self.workers, self.admin)
    board.change { tables in
      SharedState(
        snapshot: next.snapshot, upstreams: next.upstreams, process: process, after: tables)
    } _: { shared in
      for (index, worker) in workers.enumerated() {
        worker.post(.change(listeners.change(shared, worker: index)))
      }
      admin?.post(.change(WorkerChange(shared: shared)))
    }
  }

  private mutating func reloaded(_ snapshot: Snapshot, _ warnings: [Diagnostic]) {
    let wall = kernel.wallClock()
    metrics.add(.reloadsOK)
    if let board { log.level = board.shared.logLevel }
    log.write(.reloaded, now: kernel.now(), wall: wall) { line in
      line.field("listeners", UInt64(snapshot.listeners.count))
      line.field("upstreams", UInt64(snapshot.upstreams.count))
      line.field("routes", UInt64(snapshot.routes.count))
    }
    for warning in warnings { log.remark(warning.description, .warn, wall: wall) }
    for key in startOnlyChanges(snapshot) {
      log.remark("\(key) has changed: that takes effect with the next start", .warn, wall: wall)
    }
    running = snapshot
  }

  /// What threads and tables are made by at start.
  private func startOnlyChanges(_ next: Snapshot) -> [String] {
    let started = prepared.snapshot
    let changes = [
      ("workers", next.workers != started.workers),
      ("user", next.user?.name != started.user?.name || next.user?.group != started.user?.group),
      ("core_dumps", next.coreDumps != started.coreDumps),
      ("limits.connections", next.limits.connections != started.limits.connections),
      ("admin", next.admin != started.admin),
    ]
    return changes.filter(\.1).map(\.0)
  }

  private mutating func reloadFailed(_ mistakes: [Diagnostic]) {
    let wall = kernel.wallClock()
    metrics.add(.reloadsFailed)
    log.write(.reloadFailed, now: kernel.now(), wall: wall) { line in
      line.field("mistakes", UInt64(mistakes.count))
    }
    for mistake in mistakes.prefix(Self.mistakesMax) {
      log.remark(mistake.description, .error, wall: wall)
    }
    lastMistakes = mistakes
  }
}
