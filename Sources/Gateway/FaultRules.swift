// Which fault an event is. The table itself is in `Fault.swift`.

import Kernel
import TLS
import Telemetry
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

  /// The backend has the request, and no answer that is one has come of it.
  var isBadAnswer: Bool {
    switch self {
    case .backendSilent, .backendAnswerBroken, .backendVanished: true
    default: false
    }
  }

  /// There is no hurry: a Close that is owed waits for the frame's end.
  var waitsForFrameEnd: Bool {
    switch self {
    case .drain, .superseded, .routeChanged, .operatorClose: true
    default: false
    }
  }

  static func of(_ violation: HTTPViolation) -> Fault {
    if violation == .http2NotEnabled { return .http2NotEnabled }
    return switch violation.status {
    case 405: .methodNotAllowed
    case 414: .lineTooLong
    case 431: .headTooLarge
    case 501: .notImplemented
    case 505: .httpVersion
    default: .malformedRequest
    }
  }

  static func of(_ violation: HandshakeViolation) -> Fault {
    switch violation {
    case .wrongVersion: .webSocketVersion
    case .plainConnect: .methodNotAllowed
    case .unknownProtocol: .notImplemented
    case .wrongMethod, .hasBody, .malformedKey: .malformedHandshake
    }
  }
}

extension HTTP2Violation {
  /// One for each budget, and one for what is plainly against the RFC.
  var counter: Counter {
    switch self {
    case .badPreface, .protocolError, .flowControl, .frameSize, .compression, .streamClosed,
      .streamIdentifier, .libraryGaveUp, .ended:
      .http2Violations
    case .resetFlood: .http2ResetFloods
    case .madeResetFlood: .http2MadeResetFloods
    case .continuationFlood: .http2ContinuationFloods
    case .fieldBlockTooLarge: .http2FieldBlocksTooLarge
    case .settingsFlood, .settingsTooLarge: .http2SettingsFloods
    case .pingFlood: .http2PingFloods
    case .priorityFlood: .http2PriorityFloods
    case .windowUpdateFlood: .http2WindowUpdateFloods
    case .emptyFrameFlood: .http2EmptyFrameFloods
    case .unknownFrameFlood: .http2UnknownFrameFloods
    case .overheadFlood: .http2OverheadFloods
    case .queuedControlFlood: .http2QueuedControlFloods
    }
  }

  /// A budget was used up; everything else is plainly against the RFC, or our own end.
  var isFlood: Bool { counter != .http2Violations }

  /// The key of the configuration that sets the budget, where there is one.
  var limitKey: StaticString? {
    switch self {
    case .resetFlood: "limits.http2_resets_burst"
    case .madeResetFlood: "limits.http2_own_resets_burst"
    case .continuationFlood: "limits.http2_continuations"
    case .fieldBlockTooLarge: "limits.http2_header_list"
    case .settingsTooLarge: "limits.http2_settings_entries"
    case .queuedControlFlood: "limits.http2_control_frames"
    case .badPreface, .protocolError, .flowControl, .frameSize, .compression, .streamClosed,
      .streamIdentifier, .settingsFlood, .pingFlood, .priorityFlood, .windowUpdateFlood,
      .emptyFrameFlood, .unknownFrameFlood, .overheadFlood, .libraryGaveUp, .ended:
      nil
    }
  }
}
