// Which fault an event is. The table itself is in `Fault.swift`.

import Kernel
import TLS
import Wire

extension Fault {
  static func of(_ violation: WebSocketViolation, by leg: Leg) -> Fault {
    switch (violation.closeCode, leg) {
    case (1009, .client): .clientMessageTooBig
    case (1009, .backend): .backendMessageTooBig
    case (1007, .client): .clientBadUTF8
    case (1007, .backend): .backendBadUTF8
    case (_, .client): .clientProtocolError
    case (_, .backend): .backendProtocolError
    }
  }

  /// A leg of a bridge or tunnel has gone.
  static func lost(_ leg: Leg, _ loss: ConnectionLoss) -> Fault {
    switch (loss, leg) {
    case (.writeStalled, .client): .clientWriteStalled
    case (.writeStalled, .backend): .backendWriteStalled
    case (.timedOut, _): .drain
    case (.endOfStream, .client), (.failed, .client), (.tls, .client): .clientVanished
    case (.endOfStream, .backend), (.failed, .backend), (.tls, .backend): .backendVanished
    }
  }

  /// A drain may take its time: a Close that is owed waits for the frame's end.
  var waitsForFrameEnd: Bool { self == .drain }

  static func of(_ violation: HTTPViolation) -> Fault {
    switch violation.status {
    case 405: .methodNotAllowed
    case 414: .lineTooLong
    case 431: .headTooLarge
    case 501: .notImplemented
    case 505: .httpVersion
    default: .malformedRequest
    }
  }
}
