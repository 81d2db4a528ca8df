// The process: from a checked configuration to running workers, and from a signal to their end. The
// main thread stays here; it never touches a connection.

import Configuration
import Bytes
import Kernel
import Synchronization
import TLS
import Telemetry
import Wire

/// One worker as the supervisor sees it.
private struct WorkerHandle: Sendable {
  let mailbox: Mailbox
  let wakeup: Wakeup
  let metrics: WorkerMetrics
  let thread: SystemThread

  var peer: WorkerPeer { WorkerPeer(mailbox: mailbox, wakeup: wakeup, metrics: metrics) }

  func post(_ message: WorkerMessage) {
    mailbox.post(message)
    wakeup.wake()
  }
}

struct Supervisor: ~Copyable {
  private let prepared: Prepared
  private let isDemo: Bool
  private let services: [ListenerService]
  private let signals: Signals
  private let access: LogWriter
  private let errors: LogWriter
  private let metrics = WorkerMetrics()
  private var log: ErrorLog
  private var kernel: LinuxKernel
  private var workers: [WorkerHandle] = []
  private var admin: AdminThread?
  private let running: RunningCount

  init(
    _ snapshot: Snapshot, services: [ListenerService]? = nil, tls: [TLSContext?]? = nil,
    isDemo: Bool = false
  ) throws(StartFailure) {
    StandardStreams.ensureOpen()
    let signals = try Self.system { () throws(Errno) in try Signals() }
    let errors = try Self.system { () throws(Errno) in
      try LogWriter(output: StandardStreams.error)
    }
    let access =
      snapshot.log.access == .stderr
      ? errors
      : try Self.system { () throws(Errno) in try LogWriter(output: StandardStreams.output) }
    var preflight = Preflight(snapshot)
    guard var prepared = preflight.prepare() else { throw .problems(preflight.mistakes) }
    if let tls { prepared.tls = tls }
    kernel = try Self.system { () throws(Errno) in try LinuxKernel() }
    self.signals = signals
    self.errors = errors
    self.access = access
    self.prepared = prepared
    self.isDemo = isDemo
    self.services = services ?? snapshot.listeners.map { _ in .gateway }
    running = RunningCount()
    log = ErrorLog(ring: errors.ring, metrics: metrics, level: .info)
  }

  private static func system<Value: ~Copyable>(
    _ body: () throws(Errno) -> Value
  ) throws(StartFailure) -> Value {
    do throws(Errno) {
      return try body()
    } catch {
      throw .system("cannot start: \(error.description)")
    }
  }

  /// Runs until a signal ends it. Returns the exit status.
  mutating func run(ready: ([SocketAddress]) -> Void = { _ in }) throws(StartFailure) -> Int32 {
    let bound: [SocketAddress]
    let sets: [[Listener]]
    var adminListener: Descriptor?
    do throws(Errno) {
      if let address = prepared.admin { adminListener = try AdminThread.listen(address) }
      (bound, sets) = try openListeners()
    } catch {
      throw .system("cannot listen: \(error.description)")
    }
    let shared = makeShared(bound)
    log = ErrorLog(ring: errors.ring, metrics: metrics, level: shared.logLevel)
    do throws(Errno) {
      try errors.start(name: "log")
      if access !== errors { try access.start(name: "access-log") }
      try startWorkers(shared, sets)
      admin = try AdminThread.start(
        shared, adminListener, workers: workers.map(\.peer), process: metrics,
        startedAt: UInt64(max(0, kernel.wallClock())) / 1_000_000_000)
      let peers = workers.map(\.peer) + (admin.map { [$0.desk.own] } ?? [])
      try NameWatch.start(shared) { upstream, table in
        for peer in peers { peer.post(.endpoints(upstream, table)) }
      }
      announce(bound)
      ready(bound)
    } catch {
      throw .system("cannot start: \(error.description)")
    }
    waitForTheEnd()
    if running.hasFailed { throw .system("cannot start: a worker could not watch its sockets") }
    return 0
  }

  private mutating func makeShared(_ bound: [SocketAddress]) -> SharedState {
    var upstreams = prepared.upstreams
    // The demo's echo backend listens on a port that nobody knew before.
    if isDemo, let echo = bound.last { upstreams[0].endpoints = [EndpointPlan(address: echo)] }
    return SharedState(
      snapshot: prepared.snapshot, upstreams: upstreams,
      demo: isDemo ? DemoPorts(http: bound[0].port ?? 0, https: bound[1].port ?? 0) : nil,
      workerCount: prepared.workerCount, connections: prepared.connections,
      accessRing: access.ring, errorRing: errors.ring,
      processTag: UInt32(truncatingIfNeeded: kernel.random()), processSecret: makeSecret())
  }

  /// 32 random bytes.
  private mutating func makeSecret() -> [UInt8] {
    var secret: [UInt8] = []
    for _ in 0..<4 {
      let word = kernel.random()
      for shift in stride(from: 0 as UInt64, to: 64, by: 8) {
        secret.append(UInt8(truncatingIfNeeded: word >> shift))
      }
    }
    return secret
  }

  // MARK: Start

  private func openListeners() throws(Errno) -> ([SocketAddress], [[Listener]]) {
    var bound = prepared.addresses
    var sets: [[Listener]] = []
    for worker in 0..<prepared.workerCount {
      var set: [Listener] = []
      for index in bound.indices {
        set.append(try listener(index, worker: worker, first: sets.first, &bound))
      }
      sets.append(set)
    }
    return (bound, sets)
  }

  private mutating func startWorkers(
    _ shared: SharedState, _ sets: [[Listener]]
  ) throws(Errno) {
    for worker in 0..<prepared.workerCount {
      workers.append(try startWorker(worker, shared, sets[worker]))
      running.add(1)
    }
  }

  private func listener(
    _ index: Int, worker: Int, first: [Listener]?, _ bound: inout [SocketAddress]
  ) throws(Errno) -> Listener {
    let settings = prepared.snapshot.listeners[index]
    var listener = Listener(
      descriptor: .none, service: services[index], tls: prepared.tls[index],
      protocols: settings.protocols, expectsProxyHeader: settings.proxyProtocol == .accept)
    if case .unix = bound[index] {
      // One socket for all workers; each wake-up goes to one of them (EPOLLEXCLUSIVE).
      listener.isShared = prepared.workerCount > 1
      listener.descriptor =
        if let first { try Listening.duplicate(first[index].descriptor) } else {
          try Listening.open(bound[index], backlog: settings.backlog)
        }
      return listener
    }
    listener.descriptor = try Listening.open(bound[index], backlog: settings.backlog)
    if let address = Listening.localAddress(of: listener.descriptor) { bound[index] = address }
    listener.port = bound[index].port ?? 0
    return listener
  }

  private func startWorker(
    _ index: Int, _ shared: SharedState, _ listeners: [Listener]
  ) throws(Errno) -> WorkerHandle {
    let mailbox = Mailbox()
    let wakeup = try Wakeup()
    let metrics = WorkerMetrics()
    let running = self.running
    let thread = try SystemThread.start(name: "worker-\(index)") {
      defer { running.add(-1) }
      guard let kernel = try? LinuxKernel() else { return running.noteFailure() }
      var worker = Worker(
        kernel: kernel, shared: shared, index: index, metrics: metrics, mailbox: mailbox,
        wakeup: wakeup.descriptor, listeners: listeners)
      if worker.start() { worker.run() } else { running.noteFailure() }
    }
    return WorkerHandle(mailbox: mailbox, wakeup: wakeup, metrics: metrics, thread: thread)
  }

  private mutating func announce(_ bound: [SocketAddress]) {
    let now = kernel.now()
    let wall = kernel.wallClock()
    let workerCount = prepared.workerCount
    let connections = prepared.connections
    log.write(.started, now: now, wall: wall) { line in
      line.field("version", Version.text)
      line.field("libraries", Version.libraries)
      line.field("workers", UInt64(workerCount))
      line.field("connections", UInt64(connections))
    }
    for index in bound.indices { announceListener(index, bound[index], now, wall) }
    if let address = admin?.bound.description {
      log.write(.listening, now: now, wall: wall) { line in
        line.field("address", address)
        line.field("service", word: "admin")
      }
    }
    announceMissingDefences(wall)
    for warning in prepared.warnings { log.remark(warning.message, .warn, wall: wall) }
  }

  private mutating func announceListener(
    _ index: Int, _ address: SocketAddress, _ now: MonotonicTime, _ wall: Int64
  ) {
    let isTLS = prepared.tls[index] != nil
    let isEcho = services[index] == .echo
    let protocols = prepared.snapshot.listeners[index].protocols.map(\.name)
    log.write(.listening, now: now, wall: wall) { line in
      line.field("address", address.description)
      line.field("tls", word: isTLS ? "on" : "off")
      line.field("protocols", protocols.joined(separator: ", "))
      if isEcho { line.field("service", word: "echo backend") }
    }
  }

  /// The library's own limits against floods come behind ours; an old one is worth knowing of.
  private mutating func announceMissingDefences(_ wall: Int64) {
    let missing = HTTP2Session.missingOptions.map(\.description).joined(separator: ", ")
    let speaksHTTP2 = prepared.snapshot.listeners.contains { $0.protocols.contains(.h2) }
    guard speaksHTTP2, !missing.isEmpty else { return }
    log.remark(
      "nghttp2 \(HTTP2Session.libraryVersion) lacks \(missing); the gateway's own limits hold",
      .info, wall: wall)
  }

  // MARK: End

  /// SIGTERM drains, a second one stops at once. The workers end by themselves after a drain.
  private mutating func waitForTheEnd() {
    var isDraining = false
    while running.value > 0 {
      // All or none: fewer workers than configured would go unnoticed.
      if running.hasFailed { for worker in workers { worker.post(.stop) } }
      guard let signal = signals.next(timeout: isDraining ? .milliseconds(20) : .seconds(1)) else {
        continue
      }
      switch signal {
      case .terminate, .interrupt:
        let message: WorkerMessage = isDraining ? .stop : .drain
        let event: LogEvent = isDraining ? .stoppingAtOnce : .draining
        log.write(event, now: kernel.now(), wall: kernel.wallClock())
        isDraining = true
        admin?.desk.beginDraining()
        for worker in workers { worker.post(message) }
      case .hangUp: logIgnored("SIGHUP: restart to apply changes of the configuration")
      case .user1: logIgnored("SIGUSR1: there are no log files to reopen")
      case .user2: logIgnored("SIGUSR2: restart to run another version")
      }
    }
    for worker in workers { worker.thread.join() }
    admin?.stop()
    reportStop()
    removeSockets()
    access.finish(patience: .seconds(1))
    if access !== errors { errors.finish(patience: .seconds(1)) }
  }

  private mutating func logIgnored(_ text: String) {
    log.write(.signalIgnored, now: kernel.now(), wall: kernel.wallClock()) {
      $0.field("note", text)
    }
  }

  /// The last line: what this process has counted, so that a run can be judged by its log.
  private mutating func reportStop() {
    let workers = self.workers
    log.write(.stopped, now: kernel.now(), wall: kernel.wallClock()) { line in
      for counter in Counter.allCases {
        let sum = workers.reduce(UInt64(0)) { $0 &+ $1.metrics.value(counter) }
        if sum > 0 { line.field(counter.row.name, sum) }
      }
    }
  }

  private func removeSockets() {
    for case .unix(let path) in prepared.addresses { Files.removeSocket(path) }
  }
}

/// Workers that have not ended, and whether one could not begin.
private final class RunningCount: Sendable {
  private let count = Mutex(0)
  private let failed = Mutex(false)
  var value: Int { count.withLock { $0 } }
  var hasFailed: Bool { failed.withLock { $0 } }
  func add(_ change: Int) { count.withLock { $0 += change } }
  func noteFailure() { failed.withLock { $0 = true } }
}
