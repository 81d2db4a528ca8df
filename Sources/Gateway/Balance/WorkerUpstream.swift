// An upstream as one worker sees it: the endpoints it knows of, its own place in the rotation, and the
// requests that wait for one with room. Exchanges hold it, so that what they have taken goes back where
// it came from, whatever the configuration says by then.

import Bytes

final class WorkerUpstream {
  let plan: UpstreamPlan
  private(set) var table: EndpointTable
  var turn: BalanceTurn
  /// In the order of their coming; some may have ended since.
  var waiting: [SlotID] = []
  private let worker: Int

  init(_ plan: UpstreamPlan, _ table: EndpointTable, worker: Int, now: MonotonicTime) {
    self.plan = plan
    self.table = table
    self.worker = worker
    turn = table.makeTurn(worker: worker, now: now)
  }

  var name: String { table.upstream }

  /// Returns the endpoints that are gone.
  func change(to next: EndpointTable, now: MonotonicTime) -> [Endpoint] {
    let gone = table.endpoints.filter { !next.holds($0) }
    table = next
    turn = next.makeTurn(worker: worker, now: now)
    return gone
  }
}
