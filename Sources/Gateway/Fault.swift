// Everything that can go wrong with an exchange, a bridge or a tunnel, and what each side sees of
// it: one table, one row per reason (section 8 of the behaviour page). To add a reason: a case and
// its row. Decides nothing about when; the exchange and the bridge do.

import Telemetry

/// Why an exchange or a bridge ended other than well.
enum Fault: UInt8, Error, Sendable, CaseIterable {
  // The client, before the answer
  case malformedRequest, malformedHandshake, methodNotAllowed, httpVersion
  case http2NotEnabled, notImplemented
  case headTooSlow, bodyTooSlow, expectationFailed, lineTooLong, headTooLarge, bodyTooLarge
  case webSocketVersion, misdirected, noRoute, originRefused
  // Ourselves, before the answer
  case limitReached, memoryShort, refusingWork
  // The backend, before the answer
  case noEndpoint, connectFailed, backendTLSFailed, backendSilent, backendAnswerBroken
  case authorizationFailed
  // A bridge or tunnel
  case clientProtocolError, clientMessageTooBig, clientBadUTF8, clientPingRate
  case backendProtocolError, backendMessageTooBig, backendBadUTF8
  case clientVanished, backendVanished, clientTimedOut, backendTimedOut
  case clientWriteStalled, backendWriteStalled, clientCloseTimedOut, backendCloseTimedOut
  case tunnelIdle
  // At any time
  case drain, superseded, routeChanged, operatorClose, gatewayFault

  /// What the table says about one reason.
  struct Row {
    /// The answer to the client when none has been given yet; nil: the connection just ends, or
    /// (drain) the exchange goes on and ends with `Connection: close`.
    var status: UInt16?
    /// Close codes for the sides of a bridge; nil: none is owed, that side is gone or cut. A Close
    /// owed to a side that stands inside a frame becomes an abortive close.
    var toClient: UInt16?
    var toBackend: UInt16?
    /// Who ended it, as the log says.
    var by: Party
    /// After the answer the client's bytes cannot be trusted to be the next request.
    var closes: Bool
    var word: StaticString
    var counter: Counter

    init(
      _ status: UInt16?, _ toClient: UInt16?, _ toBackend: UInt16?, _ by: Party,
      closes: Bool = false, _ word: StaticString, _ counter: Counter
    ) {
      self.status = status
      self.toClient = toClient
      self.toBackend = toBackend
      self.by = by
      self.closes = closes
      self.word = word
      self.counter = counter
    }
  }

  /// Columns: status, Close to the client, Close to the backend, who, log word, counter. A backend
  /// that fails before its answer makes a 502 or 504; on a bridge the same reason makes a Close.
  var row: Row {
    switch self {
    case .malformedRequest:
      Row(400, nil, nil, .client, closes: true, "malformed_request", .requestsMalformed)
    case .malformedHandshake:
      Row(400, nil, nil, .client, closes: true, "malformed_handshake", .handshakesMalformed)
    case .methodNotAllowed:
      Row(405, nil, nil, .client, closes: true, "method_not_allowed", .requestsMalformed)
    case .httpVersion:
      Row(505, nil, nil, .client, closes: true, "http_version", .requestsMalformed)
    case .http2NotEnabled:
      Row(400, nil, nil, .client, closes: true, "http2_not_enabled", .requestsMalformed)
    case .notImplemented:
      Row(501, nil, nil, .client, closes: true, "not_implemented", .requestsNotServed)
    case .headTooSlow:
      Row(408, nil, nil, .client, closes: true, "head_too_slow", .requestsTooSlow)
    case .bodyTooSlow:
      Row(408, nil, nil, .client, closes: true, "body_too_slow", .requestsTooSlow)
    case .expectationFailed:
      Row(417, nil, nil, .client, closes: true, "expectation_failed", .requestsNotServed)
    case .lineTooLong:
      Row(414, nil, nil, .client, closes: true, "line_too_long", .requestsTooLarge)
    case .headTooLarge:
      Row(431, nil, nil, .client, closes: true, "head_too_large", .requestsTooLarge)
    case .bodyTooLarge:
      Row(413, nil, nil, .client, closes: true, "body_too_large", .requestsTooLarge)
    case .webSocketVersion:
      Row(426, nil, nil, .client, "websocket_version", .handshakesVersion)
    case .misdirected:
      Row(421, nil, nil, .client, "misdirected", .requestsMisdirected)
    case .noRoute:
      Row(404, nil, nil, .client, "no_route", .routesMissed)
    case .originRefused:
      Row(403, nil, nil, .client, "origin_refused", .originRefusals)

    case .limitReached:
      Row(503, nil, nil, .gateway, "limit_reached", .limitRefusals)
    case .memoryShort:
      Row(503, nil, nil, .gateway, closes: true, "memory_short", .memoryRefusals)
    case .refusingWork:
      Row(503, nil, nil, .gateway, closes: true, "refusing_work", .drainRefusals)

    case .noEndpoint:
      Row(503, nil, nil, .gateway, "no_endpoint", .endpointsExhausted)
    case .connectFailed:
      Row(503, nil, nil, .backend, "connect_failed", .endpointsExhausted)
    case .backendTLSFailed:
      Row(503, 1014, nil, .backend, "backend_tls_failed", .backendTLSFailures)
    case .backendSilent:
      Row(504, nil, nil, .backend, "backend_silent", .backendSilent)
    case .backendAnswerBroken:
      Row(502, nil, nil, .backend, "backend_answer_broken", .backendAnswersBroken)
    case .authorizationFailed:
      Row(503, nil, nil, .backend, "authorization_failed", .authorizationFailures)

    case .clientProtocolError:
      Row(nil, 1002, 1001, .gateway, "client_protocol_error", .clientViolations)
    case .clientMessageTooBig:
      Row(nil, 1009, 1001, .gateway, "client_message_too_big", .clientMessagesTooBig)
    case .clientBadUTF8:
      Row(nil, 1007, 1001, .gateway, "client_bad_utf8", .clientViolations)
    case .clientPingRate:
      Row(nil, 1008, 1001, .gateway, "client_ping_rate", .clientPingFloods)
    case .backendProtocolError:
      Row(nil, 1014, 1002, .gateway, "backend_protocol_error", .backendViolations)
    case .backendMessageTooBig:
      Row(nil, 1014, 1009, .gateway, "backend_message_too_big", .backendMessagesTooBig)
    case .backendBadUTF8:
      Row(nil, 1014, 1007, .gateway, "backend_bad_utf8", .backendViolations)

    case .clientVanished:
      Row(nil, nil, 1001, .client, "client_vanished", .clientsVanished)
    case .backendVanished:
      Row(502, 1014, nil, .backend, "backend_vanished", .backendsVanished)
    case .clientTimedOut:
      Row(nil, nil, 1001, .gateway, "client_timed_out", .clientTimeouts)
    case .backendTimedOut:
      Row(nil, 1014, nil, .gateway, "backend_timed_out", .backendTimeouts)
    case .clientWriteStalled:
      Row(nil, nil, 1001, .gateway, "client_write_stalled", .writeStalls)
    case .backendWriteStalled:
      Row(504, 1014, nil, .gateway, "backend_write_stalled", .writeStalls)
    case .clientCloseTimedOut:
      Row(nil, nil, nil, .gateway, "client_close_timed_out", .closeTimeouts)
    case .backendCloseTimedOut:
      Row(nil, nil, nil, .gateway, "backend_close_timed_out", .closeTimeouts)
    case .tunnelIdle:
      Row(nil, nil, nil, .gateway, "tunnel_idle", .tunnelIdleTimeouts)

    case .drain:
      Row(nil, 1001, 1001, .gateway, "drain", .drainCloses)
    case .superseded:
      Row(nil, 1012, 1001, .gateway, "superseded", .drainCloses)
    case .routeChanged:
      Row(nil, 1001, 1001, .gateway, "route_changed", .reloadCloses)
    case .operatorClose:
      Row(nil, 1001, 1001, .gateway, "operator_close", .operatorCloses)
    case .gatewayFault:
      Row(500, 1011, 1011, .gateway, closes: true, "gateway_fault", .gatewayFaults)
    }
  }

  var status: UInt16? { row.status }
  var closeToClient: UInt16? { row.toClient }
  var closeToBackend: UInt16? { row.toBackend }
  var closedBy: Party { row.by }
  var closesConnection: Bool { row.closes }
  var word: StaticString { row.word }
  var counter: Counter { row.counter }
}
