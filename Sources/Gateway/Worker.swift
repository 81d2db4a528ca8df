// A worker: one thread, one epoll, and every connection it has accepted or opened, for their whole
// lives. Nothing in it is shared; other threads reach it through its mailbox only. Generic over the
// kernel, so that all of it also runs on a simulated one.

import Configuration
import Bytes
import Kernel
import Synchronization
import TLS
import Telemetry
import Wire

struct Worker<K: Kernel & ~Copyable>: ~Copyable {
  /// In front of received bytes, for what was held back of the stream before.
  static var headroom: Int { HeldBytes.capacity }
  /// One read on a flowing bridge, and one otherwise.
  static var largeRead: Int { 256 * 1024 }
  static var smallRead: Int { 64 * 1024 }
  /// Unsent bytes at which a direction's source is no longer read, and at which it is again.
  static var outputHighMark: Int { 64 * 1024 }
  static var outputLowMark: Int { 16 * 1024 }
  /// Reads from a peer that takes nothing more.
  static var lastReadsMax: Int { 64 }
  static var eventsPerTurn: Int { 512 }
  static var acceptsPerTurn: Int { 16 }

  /// Never used. A struct that holds one has a place; without it the compiler copies all of the worker
  /// for each call of a method that does not change it.
  private let place = Atomic(false)
  var kernel: K
  var shared: SharedState
  let index: Int
  let metrics: WorkerMetrics
  let mailbox: Mailbox
  let wakeup: Descriptor
  var accessLog: AccessLog
  var errorLog: ErrorLog

  var connections: Slab<Connection>
  var exchanges: Slab<Exchange>
  var listeners: [Listener]
  var timers: Timers
  /// The time of this turn; the clock is read once per turn.
  var now: MonotonicTime
  let pingTag: PingTag

  let inbound = SharedBuffer(capacity: HeldBytes.capacity + 256 * 1024)
  let plaintext = SharedBuffer(capacity: 64 * 1024)
  let outbound = SharedBuffer(capacity: 64 * 1024)
  let scratch = SharedBuffer(capacity: 256)
  /// HTTP/2 frames on their way out, before encryption.
  let frames = SharedBuffer(capacity: 80 * 1024)
  /// Memory that the next answer's head is read into.
  var headRoom = HeadRoom()
  /// Memory for its fields, where the client is a stream. Empty but during a call.
  var fieldRoom = FieldBlock()
  var spareBytes = SpareBytes()
  var events: [Event] = []
  var casualties: [SlotID] = []
  /// HTTP/2 connections that have something to send: once per turn, so that what many streams have
  /// goes out together.
  var marked: [SlotID] = []
  /// Clients' connections that have requests whose turn comes next.
  var crowded: [SlotID] = []
  var http2Events: [HTTP2Event] = []

  /// Accepted connections that are open, in all and per address when that is limited.
  var clients = 0
  /// Streams with a slot: no more than there may be clients, whose slots they must not take.
  var streams = 0
  var clientsByAddress: [IPAddress: Int] = [:]
  var handshakesInFlight = 0
  var isAccepting = true
  /// Out of descriptors: a timer decides when accepting goes on.
  var isResting = false
  var memory = MemoryPressure.calm
  var pool = Pool()
  var verdicts = VerdictCache()
  /// In the order of the snapshot.
  var upstreams: [WorkerUpstream]
  /// Exchanges in the queues of `upstreams`.
  var waiting = 0
  /// Of the first worker: the checks of endpoints, by their numbers.
  var probes: [UInt64: HealthProbe] = [:]
  /// Of the worker that has the admin listener.
  var admin: AdminDesk?
  var inquiries: [SlotID: AdminInquiry] = [:]
  var nextInquiry: UInt64 = 0
  var reloads = ReloadRequests()
  /// Of the other workers: what it has asked.
  var walks: [ConnectionWalk] = []
  var nextExchange: UInt64 = 0
  var departures = Departures()
  var drainDeadline: MonotonicTime?
  /// What a drain tells bridges.
  var drainFault = Fault.drain
  var isStopped = false

  init(
    kernel: consuming K, shared: SharedState, index: Int, metrics: WorkerMetrics,
    mailbox: Mailbox, wakeup: Descriptor, listeners: [Listener]
  ) {
    self.kernel = kernel
    self.shared = shared
    self.index = index
    self.metrics = metrics
    self.mailbox = mailbox
    self.wakeup = wakeup
    self.listeners = listeners
    accessLog = AccessLog(ring: shared.accessRing, metrics: metrics)
    errorLog = ErrorLog(ring: shared.errorRing, metrics: metrics, level: shared.logLevel)
    // A client, its backend, and a stream between them.
    connections = Slab(capacity: shared.connectionsPerWorker * 3)
    exchanges = Slab(capacity: shared.connectionsPerWorker)
    now = self.kernel.now()
    timers = Timers(now: now)
    pingTag = PingTag(random: self.kernel.random())
    let now = self.now
    upstreams = zip(shared.upstreams, shared.tables).map {
      WorkerUpstream($0, $1, worker: index, now: now)
    }
    events.reserveCapacity(Self.eventsPerTurn)
  }

  /// Watches the mailbox and the listeners. False when the kernel refuses.
  mutating func start() -> Bool {
    guard kernel.watch(wakeup, .read, token: Token.wakeup) else { return false }
    for index in listeners.indices where !watchListener(index) { return false }
    for upstream in upstreams { beginProbes(upstream) }
    return true
  }

  mutating func run() {
    while !isStopped { turn() }
  }

  /// One turn: wait, serve every ready socket, then the timers and the mailbox.
  mutating func turn() {
    kernel.wait(sleep(), into: &events)
    now = kernel.now()
    for index in events.indices { dispatch(events[index]) }
    fireTimers()
    serveCrowded()
    serveQueues()
    continueDepartures()
    sendMarked()
    if !walks.isEmpty { continueWalks() }
    if drainDeadline != nil { continueDrain() }
  }

  private func sleep() -> TimeSpan? {
    guard crowded.isEmpty, walks.isEmpty else { return .zero }
    let timer = timers.sleep(now: now)
    // What comes from other workers, or by its own pace, is looked at this often.
    if waiting > 0 { return min(timer ?? Self.queueLook, Self.queueLook) }
    if !departures.isEmpty { return min(timer ?? Self.departureStep, Self.departureStep) }
    return timer
  }

  private mutating func dispatch(_ event: Event) {
    if Token.isSpecial(event.token) { return dispatchSpecial(event) }
    let id = SlotID(packed: event.token)
    guard connections.contains(id) else { return }
    if event.writable { writeReady(id) }
    if connections.contains(id), connections[id].failure == nil, event.readable || event.broken {
      if connections[id].pauses.isEmpty {
        readReady(id)
      } else {
        readyWhilePaused(id, isBroken: event.broken)
      }
    }
    if !casualties.isEmpty { reapCasualties() }
  }

  private mutating func dispatchSpecial(_ event: Event) {
    if event.token == Token.wakeup {
      kernel.drainWakeups(wakeup)
      for message in mailbox.takeAll() { handle(message) }
    } else if let listener = Token.listener(event.token) {
      acceptReady(listener)
    }
    if !casualties.isEmpty { reapCasualties() }
  }

  private mutating func handle(_ message: WorkerMessage) {
    switch message {
    case .drain(let fault): beginDrain(fault)
    case .dismiss(let percent): dismiss(percent: percent)
    case .stop: stopAtOnce()
    case .endpoints(let table): endpointsChanged(table)
    case .change(let change): apply(change)
    case .walk(let walk): walks.append(walk)
    case .walked(let report): walked(report)
    case .reloadBegins: reloads.reloadBegins()
    case .reloadEnded(let mistakes, let keys): reloadEnded(mistakes, forNextStart: keys)
    case .memory(let pressure): memoryChanged(pressure)
    }
  }

  @inline(__always)
  func route(of exchange: SlotID) -> RoutePlan { exchanges[exchange].route }
}

/// What epoll carries for descriptors that are no connections: an even generation, which no slot
/// that is taken ever has.
enum Token {
  static let wakeup: UInt64 = 0
  static func listener(_ index: Int) -> UInt64 { UInt64(index + 1) }
  static func isSpecial(_ token: UInt64) -> Bool { token >> 32 & 1 == 0 }
  static func listener(_ token: UInt64) -> Int? { token == wakeup ? nil : Int(token) - 1 }
}
