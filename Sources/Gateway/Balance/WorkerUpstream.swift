// An upstream as one worker sees it: the endpoints it knows of, its own place in the rotation, and the
// requests that wait for one with room. Exchanges hold it, so that what they have taken goes back where
// it came from, whatever the configuration says by then.

import Bytes

final class WorkerUpstream {
  private(set) var plan: UpstreamPlan
  private(set) var table: EndpointTable
  // As in HTTP2Front.
  @safe @exclusivity(unchecked) var turn: BalanceTurn
  /// In the order of their coming; some may have ended since.
  @safe @exclusivity(unchecked) var waiting: [SlotID] = []
  private let worker: Int

  init(_ plan: UpstreamPlan, _ table: EndpointTable, worker: Int, now: MonotonicTime) {
    self.plan = plan
    self.table = table
    self.worker = worker
    turn = table.makeTurn(worker: worker, now: now)
  }

  var name: String { table.upstream }

  /// Returns the endpoints that are gone. `plan`: after a reload.
  func change(
    to next: EndpointTable, _ plan: UpstreamPlan? = nil, now: MonotonicTime
  ) -> [Endpoint] {
    let gone = table.endpoints.filter { !next.holds($0) }
    let isSame = gone.isEmpty && next.endpoints.count == table.endpoints.count
    table = next
    if let plan { self.plan = plan }
    if !isSame { turn = next.makeTurn(worker: worker, now: now) }
    return gone
  }
}
