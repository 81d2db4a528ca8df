// The thread that asks again what the names of endpoints resolve to, for a name server may be silent
// for seconds. Workers are told when the answer is another one: containers move, and a gateway that
// remembers their old addresses is the oldest complaint about gateways.

import Bytes
import Configuration
import Kernel
import Synchronization
import Telemetry

/// An upstream whose endpoints have names.
private struct WatchedUpstream {
  let settings: UpstreamSettings
  var names: EndpointNames
  var plans: [EndpointPlan]
  /// Told once, until they resolve again.
  var failing: Set<String> = []
}

/// The configuration that counts, and the endpoints its upstreams have by now. Where the thread of the
/// names and a reload meet: each tells the workers under this lock, so that what a worker hears last
/// is what holds.
final class EndpointBoard: Sendable {
  private struct State {
    var shared: SharedState
    var tables: [String: EndpointTable]
  }

  private let state: Mutex<State>

  init(_ shared: SharedState) {
    state = Mutex(State(shared: shared, tables: shared.tablesByName))
  }

  var shared: SharedState { state.withLock { $0.shared } }

  /// Makes the next configuration from the endpoints of now, and tells of it. Names are not resolved
  /// here: nothing waits for a name server under this lock.
  func change(
    _ make: ([String: EndpointTable]) -> SharedState, _ tell: (SharedState) -> Void
  ) {
    state.withLock { state in
      state.shared = make(state.tables)
      state.tables = state.shared.tablesByName
      tell(state.shared)
    }
  }

  /// Nothing, when a reload has come between.
  fileprivate func publish(
    _ plans: [EndpointPlan], of upstream: String, in shared: SharedState,
    _ tell: (EndpointTable) -> Void
  ) {
    state.withLock { state in
      guard state.shared === shared, let table = state.tables[upstream] else { return }
      let next = table.replacing(with: plans)
      state.tables[upstream] = next
      tell(next)
    }
  }
}

struct NameWatch {
  /// getaddrinfo(3) does not tell how long an answer holds.
  static var interval: TimeSpan { .seconds(10) }

  private let board: EndpointBoard
  private var shared: SharedState
  private var upstreams: [WatchedUpstream] = []
  private var log: ErrorLog
  private let tell: @Sendable (EndpointTable) -> Void

  private init(
    _ board: EndpointBoard, tell: @escaping @Sendable (EndpointTable) -> Void
  ) {
    self.board = board
    self.tell = tell
    shared = board.shared
    log = ErrorLog(ring: shared.errorRing, metrics: WorkerMetrics(), level: shared.logLevel)
    begin()
  }

  /// Starts the thread, which ends with the process. `tell`: called on it with the new table of an
  /// upstream.
  static func start(
    _ board: EndpointBoard, tell: @escaping @Sendable (EndpointTable) -> Void
  ) throws(Errno) {
    _ = try SystemThread.start(name: "names", stackBytes: 512 << 10) {
      var watch = NameWatch(board, tell: tell)
      while true {
        Pause.sleep(Self.interval)
        watch.look()
      }
    }
  }

  private mutating func begin() {
    upstreams = []
    for (settings, plan) in zip(shared.snapshot.upstreams, shared.upstreams)
    where EndpointNames.areIn(settings) {
      upstreams.append(
        WatchedUpstream(settings: settings, names: EndpointNames(), plans: plan.endpoints))
    }
  }

  private mutating func look() {
    let current = board.shared
    if current !== shared {
      shared = current
      begin()
    }
    for index in upstreams.indices {
      let plans = upstreams[index].names.endpoints(of: upstreams[index].settings)
      noteFailures(index)
      // Without any answer so far the one of the start holds.
      let isComplete = upstreams[index].names.failures.isEmpty || !plans.isEmpty
      guard isComplete, plans != upstreams[index].plans else { continue }
      change(index, to: plans)
    }
  }

  private mutating func change(_ index: Int, to plans: [EndpointPlan]) {
    let before = upstreams[index].plans
    upstreams[index].plans = plans
    let name = upstreams[index].settings.name
    log.write(.endpointsChanged, now: SystemClock.now(), wall: SystemClock.wall()) { line in
      line.field("upstream", name)
      line.field("added", Self.list(plans, without: before))
      line.field("removed", Self.list(before, without: plans))
    }
    board.publish(plans, of: name, in: shared, tell)
  }

  private static func list(_ plans: [EndpointPlan], without others: [EndpointPlan]) -> String {
    plans.filter { !others.contains($0) }.map(\.address.description).joined(separator: ", ")
  }

  private mutating func noteFailures(_ index: Int) {
    let failures = upstreams[index].names.failures
    for failure in failures where !upstreams[index].failing.contains(failure.name) {
      log.write(.resolveFailed, now: SystemClock.now(), wall: SystemClock.wall()) { line in
        line.field("name", failure.name)
        line.field("reason", failure.reason.description)
        line.field("note", word: "its last answer holds")
      }
    }
    upstreams[index].failing = Set(failures.map(\.name))
  }
}
