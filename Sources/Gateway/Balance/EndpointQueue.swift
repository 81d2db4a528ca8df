// Requests that wait because every endpoint they may go to is full (`max_connections`). A short time in
// a short queue is what a burst needs; whoever waits longer is better told.

import Bytes
import Configuration
import Telemetry

extension Worker where K: ~Copyable {
  /// Room that another worker's exchange has left is seen this soon.
  static var queueLook: TimeSpan { .milliseconds(10) }

  /// Lets the exchange wait, if it may and is not waiting already.
  mutating func waitForRoom(_ exchange: SlotID, _ attempt: Attempt) -> Bool {
    let upstream = exchanges[exchange].upstream
    let table = upstream.table
    let isFull = table.isFull(
      attempt.affinity(in: table), besides: attempt.triedIndices(in: table), &upstream.turn,
      now: now)
    // Nobody looks after the queue of an upstream that a reload has removed.
    guard isFull, !refusesNewWork, upstreams.contains(where: { $0 === upstream }) else {
      return false
    }
    if exchanges[exchange].timeout != .queue {
      let limit = (upstream.plan.queue + shared.workerCount - 1) / shared.workerCount
      guard upstream.waiting.count < limit else { return false }
      metrics.add(.requestsQueued)
      setTimeout(exchange: exchange, .queue, after: route(of: exchange).timeouts.queue)
      // So that it is seen when its client leaves; what else comes is kept, up to a bound.
      if exchanges[exchange].forwarding != nil, let client = exchanges[exchange].client {
        readOnUnlessFull(client)
      }
    }
    upstream.waiting.append(exchange)
    waiting += 1
    return true
  }

  /// Once per turn, in the order of their coming.
  mutating func serveQueues() {
    guard waiting > 0 else { return }
    for upstream in upstreams where !upstream.waiting.isEmpty {
      var queue: [SlotID] = []
      swap(&queue, &upstream.waiting)
      waiting -= queue.count
      for exchange in queue where exchanges.contains(exchange) {
        if exchanges[exchange].timeout == .queue { dial(exchange) }
      }
    }
  }

  mutating func queueTimedOut(_ exchange: SlotID) {
    metrics.add(.queueTimeouts)
    refuse(exchange, .noEndpoint, detail: "queue-timeout")
  }
}
