// Lines of the error log as a worker writes them.

import TLS
import Bytes
import Kernel
import Telemetry
import Wire

extension Worker where K: ~Copyable {
  /// The end of an exchange that became no WebSocket: its line and its counts.
  mutating func logResponse(
    _ facts: ConnectionFacts, method: @autoclosure () -> [UInt8], _ response: ResponseFacts
  ) {
    metrics.count(response)
    guard accessLog.isOn else { return }
    accessLog.http(facts, method: method, response, wall: kernel.wallClock())
  }

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
      line.field("reason", inPlainWords(reason))
    }
  }

  mutating func logAddressFull(_ peer: SocketAddress) {
    errorLog.write(.addressFull, now: now, wall: kernel.wallClock()) { line in
      line.field("client", peer.description)
      line.field("limit", word: "limits.per_address")
    }
  }

  mutating func logHTTP2Failure(_ client: String, _ violation: HTTP2Violation) {
    let event: LogEvent = violation.isFlood ? .http2Flood : .http2Failed
    errorLog.write(event, now: now, wall: kernel.wallClock()) { line in
      line.field("client", client)
      line.field("reason", word: violation.word)
      if let key = violation.limitKey { line.field("limit", word: key) }
      if violation == .badPreface {
        line.field("note", word: "no HTTP/2; for HTTP/1.1 add http/1.1 to the listener's protocols")
      }
    }
  }
}

/// OpenSSL's words for what operators meet most often say too little.
private func inPlainWords(_ reason: String) -> String {
  switch reason {
  case "http request": "plain HTTP on a TLS port"
  case "no application protocol": "the client speaks none of the listener's protocols"
  default: reason
  }
}
