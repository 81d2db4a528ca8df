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
struct WorkerHandle: Sendable {
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
  let prepared: Prepared
  private let isDemo: Bool
  let services: [ListenerService]
  private let signals: Signals
  /// Without work while no access lines are written, or where they go to standard error.
  let access: LogWriter
  let errors: LogWriter
  /// Reads the configuration again; nil where there is no file.
  let load: (() -> LoadedConfiguration)?
  let metrics = WorkerMetrics()
  var log: ErrorLog
  var kernel: LinuxKernel
  private(set) var workers: [WorkerHandle] = []
  let alive = RunningCount()
  /// Once it has started.
  private(set) var board: EndpointBoard?
  /// As loaded last.
  var running: Snapshot
  var slots: [ListenerSlot] = []
  var fileWatch = FileWatch()
  var memory = MemoryWatch()
  /// Certificates and keys that the running configuration names.
  var secretFiles: Set<String>
  private var ticketKeyMade: MonotonicTime
  /// Of the last reload that failed.
  var lastMistakes: [Diagnostic] = []
  private(set) var admin: AdminThread?
  let service = ServiceManager.ofThisProcess()
  var inheritance: Inheritance
  var succession = Succession.ofThisProcess()
  var drain = DrainReport()
  /// A signal has told this process to end.
  private(set) var isDraining = false

  init(
    _ snapshot: Snapshot, services: [ListenerService]? = nil, tls: [TLSContext?]? = nil,
    isDemo: Bool = false, load: (() -> LoadedConfiguration)? = nil, files: Set<String> = []
  ) throws(StartFailure) {
    StandardStreams.ensureOpen()
    inheritance = Inheritance.ofThisProcess()
    let signals = try Self.system { () throws(Errno) in try Signals() }
    let errors = try Self.system { () throws(Errno) in
      try LogWriter(output: StandardStreams.error)
    }
    let access = try Self.system { () throws(Errno) in
      try LogWriter(output: StandardStreams.output)
    }
    // Before there are keys in the memory.
    try Self.system { () throws(Errno) in
      try Hardening.hideMemory(allowsDumps: snapshot.coreDumps)
    }
    var preflight = Preflight(snapshot, inherited: inheritance)
    guard var prepared = preflight.prepare() else { throw .problems(preflight.mistakes) }
    if let tls { prepared.tls = tls }
    if let file = try Self.openAccessFile(prepared) { access.turn(to: file) }
    kernel = try Self.system { () throws(Errno) in try LinuxKernel() }
    ticketKeyMade = kernel.now()
    self.signals = signals
    self.errors = errors
    self.access = access
    self.prepared = prepared
    self.isDemo = isDemo
    self.services = services ?? snapshot.listeners.map { _ in .gateway }
    self.load = load
    running = snapshot
    secretFiles = preflight.filesRead
    fileWatch.watch(files.union(secretFiles))
    log = ErrorLog(ring: errors.ring, metrics: metrics, level: .info)
  }

  static func system<Value: ~Copyable>(
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
    let sets: [[Listener]]
    var adminListener: Descriptor?
    do throws(Errno) {
      if let address = prepared.admin { adminListener = try adminSocket(address) }
      sets = try openListeners()
    } catch {
      throw .system("cannot listen: \(error.description)")
    }
    let bound = slots.map(\.bound)
    let shared = makeShared(bound)
    let board = EndpointBoard(shared)
    self.board = board
    log = ErrorLog(ring: errors.ring, metrics: metrics, level: shared.logLevel)
    try giveUpRights()
    do throws(Errno) {
      try errors.start(name: "log")
      try access.start(name: "access-log")
      try startWorkers(shared, sets)
      admin = try AdminThread.start(
        shared, adminListener, workers: workers.map(\.peer), process: metrics,
        startedAt: UInt64(max(0, kernel.wallClock())) / 1_000_000_000)
      try service.watch(workers)
      let peers = self.peers
      try NameWatch.start(board) { table in
        for peer in peers { peer.post(.endpoints(table)) }
      }
      announce(bound)
      ready(bound)
    } catch {
      throw .system("cannot start: \(error.description)")
    }
    waitForTheEnd()
    if alive.hasFailed { throw .system("cannot start: a worker could not watch its sockets") }
    return 0
  }

  /// The one of the process before, where there is one: its clients are to find this process behind it.
  private mutating func adminSocket(_ address: SocketAddress) throws(Errno) -> Descriptor {
    guard let bind = prepared.snapshot.admin?.bind,
      let inherited = inheritance.claim(bind, address).first
    else { return try AdminThread.listen(address) }
    return inherited.descriptor
  }

  /// Whoever has to know of another configuration.
  private var peers: [WorkerPeer] {
    workers.map(\.peer) + (admin.map { [$0.desk.own] } ?? [])
  }

  private mutating func makeShared(_ bound: [SocketAddress]) -> SharedState {
    var upstreams = prepared.upstreams
    // The demo's echo backend listens on a port that nobody knew before.
    if isDemo, let echo = bound.last { upstreams[0].endpoints = [EndpointPlan(address: echo)] }
    return SharedState(
      snapshot: prepared.snapshot, upstreams: upstreams,
      demo: isDemo ? DemoPorts(http: bound[0].port ?? 0, https: bound[1].port ?? 0) : nil,
      process: ProcessFacts(
        workerCount: prepared.workerCount, connections: prepared.connections,
        accessRing: access.ring, errorRing: errors.ring,
        tag: UInt32(truncatingIfNeeded: kernel.random()), secret: makeSecret()))
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

  /// One set for each worker.
  private mutating func openListeners() throws(Errno) -> [[Listener]] {
    var sets: [[Listener]] = Array(repeating: [], count: prepared.workerCount)
    for (index, settings) in prepared.snapshot.listeners.enumerated() {
      let address = prepared.addresses[index]
      let inherited = inheritance.claim(settings.bind, address)
      let (slot, listeners) =
        inherited.isEmpty
        ? try open(settings, address, prepared.tls[index], services[index])
        : try adopt(inherited, settings, prepared.tls[index], services[index])
      slots.append(slot)
      for worker in sets.indices { sets[worker].append(listeners[worker]) }
    }
    return sets
  }

  /// A listening socket for each worker. A unix socket is one for all workers; each wake-up goes to one
  /// of them (EPOLLEXCLUSIVE).
  func open(
    _ settings: ListenerSettings, _ address: SocketAddress, _ tls: TLSContext?,
    _ service: ListenerService
  ) throws(Errno) -> (slot: ListenerSlot, listeners: [Listener]) {
    var bound = address
    var sockets: [Descriptor] = []
    var opened: [Listener] = []
    do throws(Errno) {
      for _ in 0..<prepared.workerCount {
        var next = listener(settings, tls, service, bound)
        if next.isShared, let first = sockets.first {
          next.sockets = [try Listening.duplicate(first)]
        } else {
          next.sockets = [try Listening.open(bound, backlog: settings.backlog)]
          sockets += next.sockets
        }
        // Port 0 is a free one for the first, and that one for the others.
        if let actual = sockets.last.flatMap({ Listening.localAddress(of: $0) }) { bound = actual }
        next.port = bound.port ?? 0
        opened.append(next)
      }
      return (ListenerSlot(settings, bound, sockets), opened)
    } catch {
      for socket in opened.flatMap(\.sockets) { Listening.close(socket) }
      throw error
    }
  }

  /// How a listener serves, without its socket.
  func listener(
    _ settings: ListenerSettings, _ tls: TLSContext?, _ service: ListenerService,
    _ bound: SocketAddress
  ) -> Listener {
    var listener = Listener(
      sockets: [], service: service, tls: tls, protocols: settings.protocols,
      expectsProxyHeader: settings.proxyProtocol == .accept, port: bound.port ?? 0)
    if case .unix = bound { listener.isShared = prepared.workerCount > 1 }
    return listener
  }

  private mutating func startWorkers(
    _ shared: SharedState, _ sets: [[Listener]]
  ) throws(Errno) {
    for worker in 0..<prepared.workerCount {
      workers.append(try startWorker(worker, shared, sets[worker]))
      alive.add(1)
      workers[worker].wakeup.wake()
    }
  }

  private func startWorker(
    _ index: Int, _ shared: SharedState, _ listeners: [Listener]
  ) throws(Errno) -> WorkerHandle {
    let mailbox = Mailbox()
    let wakeup = try Wakeup()
    let metrics = WorkerMetrics()
    let alive = self.alive
    let thread = try SystemThread.start(name: "worker-\(index)") {
      defer {
        alive.add(-1)
        mailbox.end()
      }
      guard let kernel = try? LinuxKernel(keepsSpare: true) else { return alive.noteFailure() }
      var worker = Worker(
        kernel: kernel, shared: shared, index: index, metrics: metrics, mailbox: mailbox,
        wakeup: wakeup.descriptor, listeners: listeners)
      if worker.start() { worker.run() } else { alive.noteFailure() }
    }
    return WorkerHandle(mailbox: mailbox, wakeup: wakeup, metrics: metrics, thread: thread)
  }

  // MARK: End

  private static var ticketKeyLife: TimeSpan { .seconds(12 * 3600) }

  private mutating func renewTicketKey() {
    guard kernel.now() - ticketKeyMade >= Self.ticketKeyLife else { return }
    TicketKeys.process.rotate()
    ticketKeyMade = kernel.now()
  }

  /// SIGTERM drains, a second one stops at once. The workers end by themselves after a drain.
  private mutating func waitForTheEnd() {
    waitForWorkers()
    while alive.value > 0 {
      // All or none: fewer workers than configured would go unnoticed.
      if alive.hasFailed { for worker in workers { worker.post(.stop) } }
      lookAfterSuccessor()
      lookAtMemory()
      reportDepartures()
      reportLosses()
      let isSettled = !succession.isUnderWay && !isEnding
      guard let signal = signals.next(timeout: isSettled ? .seconds(1) : .milliseconds(20)) else {
        renewTicketKey()
        if isSettled, running.watchesFiles, fileWatch.hasChanged() { reload() }
        continue
      }
      switch signal {
      case .terminate, .interrupt: end()
      case .hangUp: reload()
      case .user1: reopenAccessFile()
      case .user2: startSuccessor()
      }
    }
    for worker in workers { worker.thread.join() }
    admin?.stop()
    reportDrain()
    reportLosses()
    reportStop()
    removeSockets()
    access.finish(patience: .seconds(1))
    errors.finish(patience: .seconds(1))
  }

  var isEnding: Bool { isDraining || succession.isDone }

  private mutating func end() {
    if isDraining {
      log.write(.stoppingAtOnce, now: kernel.now(), wall: kernel.wallClock())
    } else {
      logDrain(.draining, why: admin?.desk.hasBeenAskedToDrain == true ? "admin" : "signal")
    }
    for worker in workers { worker.post(isDraining ? .stop : .drain(.drain)) }
    admin?.desk.beginDraining()
    if !isDraining {
      service.isStopping()
      cancelSuccession()
    }
    isDraining = true
  }

  mutating func logIgnored(_ text: String) {
    log.write(.signalIgnored, now: kernel.now(), wall: kernel.wallClock()) {
      $0.field("note", text)
    }
  }

  /// The last line: what this process has counted, so that a run can be judged by its log.
  private mutating func reportStop() {
    let workers = self.workers
    let own = metrics
    log.write(.stopped, now: kernel.now(), wall: kernel.wallClock()) { line in
      for counter in Counter.allCases {
        let sum = workers.reduce(own.value(counter)) { $0 &+ $1.metrics.value(counter) }
        if sum > 0 { line.field(counter.row.name, sum) }
      }
    }
  }

  private func removeSockets() {
    if succession.isDone { return }
    for slot in slots where slot.isOpen { slot.removeFile() }
  }
}

/// Workers that have not ended, and whether one could not begin.
final class RunningCount: Sendable {
  private let count = Mutex(0)
  private let failed = Mutex(false)
  var value: Int { count.withLock { $0 } }
  var hasFailed: Bool { failed.withLock { $0 } }
  func add(_ change: Int) { count.withLock { $0 += change } }
  func noteFailure() { failed.withLock { $0 = true } }
}
