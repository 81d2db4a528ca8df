// Lines of the error log as a worker writes them.

import TLS
import Bytes
import Kernel
import Telemetry

extension Worker where K: ~Copyable {
  mutating func logEvent(_ event: LogEvent, errno: Errno, endpoint: String? = nil) {
    errorLog.write(event, now: now, wall: kernel.wallClock()) { line in
      line.field("reason", errno.description)
      if let endpoint { line.field("endpoint", endpoint) }
    }
  }

  mutating func logEvent(_ event: LogEvent, reason: String = "", endpoint: String? = nil) {
    errorLog.write(event, now: now, wall: kernel.wallClock()) { line in
      if !reason.isEmpty { line.field("reason", reason) }
      if let endpoint { line.field("endpoint", endpoint) }
    }
  }

  /// A client's connection without an exchange ended by itself.
  mutating func noteLoss(_ id: SlotID, _ loss: ConnectionLoss) {
    if loss == .writeStalled { metrics.add(.writeStalls) }
    guard case .tls(let failure) = loss, connections[id].listener != nil else { return }
    metrics.add(.tlsFailures)
    logTLSFailure(id, failure.reason)
  }

  mutating func logTLSFailure(_ id: SlotID, _ reason: String) {
    let client = connections[id].peer.description
    errorLog.write(.tlsFailed, now: now, wall: kernel.wallClock()) { line in
      line.field("client", client)
      line.field("reason", reason)
    }
  }
}
