// Every number the gateway counts. To add one: a case here and its row below; then
// `metrics.add(.x)` where it happens. Names are what operators read: never reuse one for
// something else.

/// A count that only grows, kept per worker in `WorkerMetrics`.
public enum Counter: UInt8, CaseIterable, Sendable {
  // Connections and TLS
  case connectionsAccepted, connectionsClosed, acceptFailures, connectionsTurnedAway
  case proxyRefusals
  case tlsHandshakes, tlsFailures, tlsHandshakeTimeouts, backendTLSFailures
  // Requests and handshakes
  case requests, requestsMalformed, requestsTooSlow, requestsTooLarge, requestsNotServed
  case handshakesAccepted, handshakesMalformed, handshakesVersion
  case routesMissed, originRefusals, originReports
  case limitRefusals, memoryRefusals, memoryCloses, drainRefusals
  case requestsMisdirected
  // HTTP/2
  case http2Connections, http2Streams, http2Violations
  case http2ResetFloods, http2MadeResetFloods, http2ContinuationFloods, http2FieldBlocksTooLarge
  case http2SettingsFloods, http2PingFloods, http2PriorityFloods, http2WindowUpdateFloods
  case http2EmptyFrameFloods, http2UnknownFrameFloods, http2OverheadFloods
  case http2QueuedControlFloods
  // Backends
  case connectAttempts, connectionsReused, retries, connectFailures, endpointsEjected
  case requestsQueued, queueTimeouts, healthChecks, healthChecksFailed
  case endpointsExhausted, backendSilent, backendAnswersBroken
  case backendRefusals
  case authorizationRefusals, authorizationFailures, authorizationsKept
  // Bridges and tunnels
  case bridgesOpened, bridgesClosed, tunnelsOpened, tunnelsClosed
  case clientMessages, clientBytes, backendMessages, backendBytes
  case pingsSent, pongsSwallowed, bytesAfterClose, pauses
  // How bridges end
  case closesByClient, closesByBackend
  case clientViolations, clientMessagesTooBig, clientPingFloods
  case backendViolations, backendMessagesTooBig
  case clientsVanished, backendsVanished, clientTimeouts, backendTimeouts
  case writeStalls, closeTimeouts, tunnelIdleTimeouts, drainCloses, reloadCloses, gatewayFaults
  // Reloads
  case reloadsOK, reloadsFailed
  // Logs
  case logLinesWritten, logLinesDropped

  /// Name without the program's prefix, and one line of help.
  public var row: (name: StaticString, help: StaticString) {
    switch self {
    case .connectionsAccepted: ("connections_accepted", "Connections taken from listeners.")
    case .connectionsClosed: ("connections_closed", "Accepted connections that have ended.")
    case .proxyRefusals:
      ("proxy_refusals", "Connections refused for their PROXY header or for who they come from.")
    case .acceptFailures:
      ("accept_failures", "accept() calls that failed, for want of descriptors.")
    case .connectionsTurnedAway:
      ("connections_turned_away", "Connections closed at once for want of a descriptor.")
    case .tlsHandshakes: ("tls_handshakes", "TLS handshakes with clients that completed.")
    case .tlsFailures: ("tls_failures", "TLS sessions with clients that broke.")
    case .tlsHandshakeTimeouts: ("tls_handshake_timeouts", "TLS handshakes given up as too slow.")
    case .backendTLSFailures: ("backend_tls_failures", "TLS sessions with backends that broke.")
    case .requests: ("requests", "Complete request heads received.")
    case .requestsMalformed: ("requests_malformed", "Requests answered 400, 405 or 505.")
    case .requestsTooSlow: ("requests_too_slow", "Request heads that took too long: 408.")
    case .requestsTooLarge: ("requests_too_large", "Request heads over a limit: 414, 431.")
    case .requestsNotServed: ("requests_not_served", "Requests for what is not supported: 501.")
    case .handshakesAccepted: ("handshakes_accepted", "WebSocket handshakes answered 101.")
    case .handshakesMalformed: ("handshakes_malformed", "WebSocket handshakes refused with 400.")
    case .handshakesVersion: ("handshakes_version", "WebSocket versions other than 13: 426.")
    case .routesMissed: ("routes_missed", "Requests that no route matches: 404.")
    case .originRefusals: ("origin_refusals", "Handshakes refused for their Origin: 403.")
    case .originReports: ("origin_reports", "Origins let through by report_only.")
    case .limitRefusals: ("limit_refusals", "Requests refused by a limit of ours: 503.")
    case .memoryRefusals:
      ("memory_refusals", "Requests refused because memory is short: 503, REFUSED_STREAM.")
    case .memoryCloses: ("memory_closes", "Idle connections closed because memory is short.")
    case .drainRefusals: ("drain_refusals", "Requests refused while draining: 503.")
    case .requestsMisdirected:
      ("requests_misdirected", "Requests for a name the connection is not for: 421.")
    case .http2Connections: ("http2_connections", "Clients' connections over HTTP/2.")
    case .http2Streams: ("http2_streams", "Streams opened by clients.")
    case .http2Violations: ("http2_violations", "Connections ended for an HTTP/2 error.")
    case .http2ResetFloods: ("http2_reset_floods", "Clients that reset too many streams.")
    case .http2MadeResetFloods:
      ("http2_made_reset_floods", "Clients that made us reset too many streams.")
    case .http2ContinuationFloods:
      ("http2_continuation_floods", "Field blocks in too many CONTINUATION frames.")
    case .http2FieldBlocksTooLarge:
      ("http2_field_blocks_too_large", "Field blocks of too many encoded bytes.")
    case .http2SettingsFloods: ("http2_settings_floods", "Too many SETTINGS, or too long ones.")
    case .http2PingFloods: ("http2_ping_floods", "Too many PING frames.")
    case .http2PriorityFloods: ("http2_priority_floods", "Too many PRIORITY frames.")
    case .http2WindowUpdateFloods: ("http2_window_update_floods", "Too many WINDOW_UPDATE frames.")
    case .http2EmptyFrameFloods: ("http2_empty_frame_floods", "Too many frames that carry nothing.")
    case .http2UnknownFrameFloods:
      ("http2_unknown_frame_floods", "Too many frames of no known type.")
    case .http2OverheadFloods: ("http2_overhead_floods", "Too much framing for what it carries.")
    case .http2QueuedControlFloods:
      ("http2_queued_control_floods", "Clients that do not read our answers to control frames.")
    case .connectAttempts: ("connect_attempts", "Connections to backends begun.")
    case .connectionsReused:
      ("connections_reused", "Requests sent on a connection that had served before.")
    case .retries: ("retries", "Requests sent again because a reused connection had closed.")
    case .connectFailures: ("connect_failures", "Connections to backends that did not come about.")
    case .healthChecks: ("health_checks", "Checks of endpoints begun.")
    case .healthChecksFailed: ("health_checks_failed", "Checks that an endpoint did not pass.")
    case .requestsQueued: ("requests_queued", "Requests that waited for an endpoint with room.")
    case .queueTimeouts: ("queue_timeouts", "Requests that waited for room in vain: 503.")
    case .endpointsEjected:
      ("endpoints_ejected", "Times an endpoint was taken out for failing connects.")
    case .endpointsExhausted: ("endpoints_exhausted", "Requests no endpoint could take: 503.")
    case .backendSilent: ("backend_silent", "Backends that did not answer in time: 504.")
    case .backendAnswersBroken: ("backend_answers_broken", "Broken answers of backends: 502.")
    case .backendRefusals: ("backend_refusals", "Upgrades a backend answered with no 101.")
    case .authorizationRefusals:
      ("authorization_refusals", "Requests an authorization service refused.")
    case .authorizationFailures:
      ("authorization_failures", "Requests an authorization service gave no verdict on.")
    case .authorizationsKept:
      ("authorizations_kept", "Requests let through by a verdict that was kept.")
    case .bridgesOpened: ("bridges_opened", "WebSockets bridged.")
    case .bridgesClosed: ("bridges_closed", "Bridged WebSockets that have ended.")
    case .tunnelsOpened: ("tunnels_opened", "WebSockets tunnelled.")
    case .tunnelsClosed: ("tunnels_closed", "Tunnelled WebSockets that have ended.")
    case .clientMessages: ("client_messages", "Messages from clients.")
    case .clientBytes: ("client_bytes", "Payload bytes from clients.")
    case .backendMessages: ("backend_messages", "Messages from backends.")
    case .backendBytes: ("backend_bytes", "Payload bytes from backends.")
    case .pingsSent: ("pings_sent", "Keep-alive Pings sent by the gateway.")
    case .pongsSwallowed: ("pongs_swallowed", "Answers to the gateway's own Pings.")
    case .bytesAfterClose: ("bytes_after_close", "Bytes discarded because they followed a Close.")
    case .pauses: ("pauses", "Times a direction stopped reading because its reader is slow.")
    case .closesByClient: ("closes_by_client", "Bridges the client closed.")
    case .closesByBackend: ("closes_by_backend", "Bridges the backend closed.")
    case .clientViolations: ("client_violations", "Clients that broke RFC 6455: 1002, 1007.")
    case .clientMessagesTooBig: ("client_messages_too_big", "Clients over max_message: 1009.")
    case .clientPingFloods: ("client_ping_floods", "Clients over the ping rate: 1008.")
    case .backendViolations: ("backend_violations", "Backends that broke RFC 6455.")
    case .backendMessagesTooBig: ("backend_messages_too_big", "Backends over max_message.")
    case .clientsVanished: ("clients_vanished", "Clients gone without a Close.")
    case .backendsVanished: ("backends_vanished", "Backends gone without a Close.")
    case .clientTimeouts: ("client_timeouts", "Clients silent beyond the keep-alive timeout.")
    case .backendTimeouts: ("backend_timeouts", "Backends silent beyond the keep-alive timeout.")
    case .writeStalls: ("write_stalls", "Peers that took nothing for write_stall.")
    case .closeTimeouts: ("close_timeouts", "Close handshakes a peer did not finish.")
    case .tunnelIdleTimeouts: ("tunnel_idle_timeouts", "Tunnels idle beyond tunnel_idle.")
    case .drainCloses: ("drain_closes", "Bridges ended by a drain.")
    case .reloadCloses: ("reload_closes", "WebSockets told to go by a reload: 1001.")
    case .reloadsOK: ("reload_ok", "Reloads that took effect.")
    case .reloadsFailed: ("reload_failed", "Reloads refused for their mistakes.")
    case .gatewayFaults: ("gateway_faults", "Faults of the gateway's own.")
    case .logLinesWritten: ("log_lines_written", "Log lines handed to the writer.")
    case .logLinesDropped: ("log_lines_dropped", "Log lines lost because the log was full.")
    }
  }
}
