// What the metrics count of frames, ends and answers, from what the data path knows of them.

import TLS
import Telemetry
import Wire

extension WorkerMetrics {
  /// What a scan has let pass.
  func add(_ tally: FrameTally, since before: FrameTally, _ leg: Leg) {
    let textMessages = tally.textMessages &- before.textMessages
    let textBytes = tally.textBytes &- before.textBytes
    let binaryMessages = tally.binaryMessages &- before.binaryMessages
    let binaryBytes = tally.binaryBytes &- before.binaryBytes
    if leg == .client {
      add(.clientTextMessages, textMessages)
      add(.clientTextBytes, textBytes)
      add(.clientBinaryMessages, binaryMessages)
      add(.clientBinaryBytes, binaryBytes)
    } else {
      add(.backendTextMessages, textMessages)
      add(.backendTextBytes, textBytes)
      add(.backendBinaryMessages, binaryMessages)
      add(.backendBinaryBytes, binaryBytes)
    }
  }

  /// A bridge has ended.
  func count(_ end: CloseFacts) {
    record(.bridgeDuration, end.duration)
    add(CloseSeries(side: .client, code: end.client.closeCode, closedBy: end.closedBy))
    add(CloseSeries(side: .backend, code: end.backend.closeCode, closedBy: end.closedBy))
  }

  /// A response to something that became no WebSocket, ours or a backend's.
  func count(_ response: ResponseFacts) {
    if let duration = response.duration { record(.requestDuration, duration) }
    switch response.status ?? 0 {
    case 200...299: add(.responses2xx)
    case 300...399: add(.responses3xx)
    case 400...499: add(.responses4xx)
    case 500...599: add(.responses5xx)
    default: break
    }
  }

  /// An exchange ends with `fault` in place of an answer of its backend.
  func count(handshakeFailed fault: Fault) {
    switch fault {
    case .clientVanished, .clientTimedOut, .clientWriteStalled: add(.handshakesAbandoned)
    case .limitReached, .refusingWork, .drain: add(.handshakesUnserved)
    default: add(.handshakesFailed)
    }
  }

  func count(_ version: TLSVersion, isResumed: Bool) {
    switch version {
    case .tls12: add(isResumed ? .tls12Resumptions : .tls12Handshakes)
    case .tls13: add(isResumed ? .tls13Resumptions : .tls13Handshakes)
    }
  }
}

extension Sequence<WorkerMetrics> {
  /// WebSockets that are open now.
  var openSockets: UInt64 {
    open(.bridgesOpened, .bridgesClosed) &+ open(.tunnelsOpened, .tunnelsClosed)
  }

  /// What two counters leave open between them.
  func open(_ opened: Counter, _ closed: Counter) -> UInt64 {
    // What has closed is read first: nothing closes that has not been opened.
    let gone = reduce(UInt64(0)) { $0 &+ $1.value(closed) }
    let begun = reduce(UInt64(0)) { $0 &+ $1.value(opened) }
    return begun > gone ? begun - gone : 0
  }
}

extension Opcode {
  func counter(from leg: Leg) -> Counter {
    switch (self, leg) {
    case (.ping, .client): .clientPings
    case (.ping, .backend): .backendPings
    case (.pong, .client): .clientPongs
    case (.pong, .backend): .backendPongs
    // A scan reports control frames only.
    case (_, .client): .clientCloses
    case (_, .backend): .backendCloses
    }
  }
}
