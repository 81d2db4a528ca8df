// The thread that asks again what the names of endpoints resolve to, for a name server may be silent
// for seconds. Workers are told when the answer is another one: containers move, and a gateway that
// remembers their old addresses is the oldest complaint about gateways.

import Bytes
import Configuration
import Kernel
import Telemetry

/// An upstream whose endpoints have names.
private struct WatchedUpstream {
  let index: Int
  let settings: UpstreamSettings
  var names: EndpointNames
  var plans: [EndpointPlan]
  var table: EndpointTable
  /// Told once, until they resolve again.
  var failing: Set<String> = []
}

struct NameWatch: ~Copyable {
  /// getaddrinfo(3) does not tell how long an answer holds.
  static var interval: TimeSpan { .seconds(10) }

  private var upstreams: [WatchedUpstream] = []
  private var kernel: LinuxKernel
  private var log: ErrorLog
  private let publish: @Sendable (Int, EndpointTable) -> Void

  /// `publish`: called on this thread with the number of an upstream and its new table.
  init(
    _ shared: SharedState, kernel: consuming LinuxKernel,
    publish: @escaping @Sendable (Int, EndpointTable) -> Void
  ) {
    self.kernel = kernel
    self.publish = publish
    log = ErrorLog(ring: shared.errorRing, metrics: WorkerMetrics(), level: shared.logLevel)
    for (index, settings) in shared.snapshot.upstreams.enumerated()
    where EndpointNames.areIn(settings) {
      upstreams.append(
        WatchedUpstream(
          index: index, settings: settings, names: EndpointNames(),
          plans: shared.upstreams[index].endpoints, table: shared.tables[index]))
    }
  }

  /// Starts the thread, where there is a name at all. It ends with the process.
  static func start(
    _ shared: SharedState, publish: @escaping @Sendable (Int, EndpointTable) -> Void
  ) throws(Errno) {
    guard shared.snapshot.upstreams.contains(where: EndpointNames.areIn) else { return }
    _ = try SystemThread.start(name: "names", stackBytes: 512 << 10) {
      guard let kernel = try? LinuxKernel() else { return }
      var watch = NameWatch(shared, kernel: kernel, publish: publish)
      while true {
        Pause.sleep(Self.interval)
        watch.look()
      }
    }
  }

  private mutating func look() {
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
    upstreams[index].table = upstreams[index].table.replacing(with: plans)
    let name = upstreams[index].settings.name
    log.write(.endpointsChanged, now: kernel.now(), wall: kernel.wallClock()) { line in
      line.field("upstream", name)
      line.field("added", Self.list(plans, without: before))
      line.field("removed", Self.list(before, without: plans))
    }
    publish(upstreams[index].index, upstreams[index].table)
  }

  private static func list(_ plans: [EndpointPlan], without others: [EndpointPlan]) -> String {
    plans.filter { !others.contains($0) }.map(\.address.description).joined(separator: ", ")
  }

  private mutating func noteFailures(_ index: Int) {
    let failures = upstreams[index].names.failures
    for failure in failures where !upstreams[index].failing.contains(failure.name) {
      log.write(.resolveFailed, now: kernel.now(), wall: kernel.wallClock()) { line in
        line.field("name", failure.name)
        line.field("reason", failure.reason.description)
        line.field("note", word: "its last answer holds")
      }
    }
    upstreams[index].failing = Set(failures.map(\.name))
  }
}
