// Every number the gateway counts. To add one: a case here and its row below; then
// `metrics.add(.x)` where it happens. Names are what operators read: never reuse one for
// something else.

/// A count that only grows, kept per worker in `WorkerMetrics`.
public enum Counter: UInt8, CaseIterable, Sendable {
  // Connections and TLS
  case connectionsAccepted, connectionsClosed, acceptFailures, connectionsTurnedAway
  case proxyRefusals
  case tls12Handshakes, tls12Resumptions, tls13Handshakes, tls13Resumptions, tlsFailures
  case tlsHandshakeTimeouts, backendTLSFailures
  // Requests and handshakes
  case requests, requestsMalformed, requestsTooSlow, requestsTooLarge, requestsNotServed
  case responses2xx, responses3xx, responses4xx, responses5xx
  case handshakesAccepted, handshakesMalformed, handshakesVersion, handshakesMissed
  case handshakesUnserved, handshakesFailed, handshakesAbandoned, handshakesUnauthorized
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
  case clientTextMessages, clientTextBytes, clientBinaryMessages, clientBinaryBytes
  case backendTextMessages, backendTextBytes, backendBinaryMessages, backendBinaryBytes
  case clientPings, clientPongs, clientCloses, backendPings, backendPongs, backendCloses
  case clientTunnelBytes, backendTunnelBytes
  case pingsSent, pongsSwallowed, bytesAfterClose, pauses
  // How bridges end
  case closesByClient, closesByBackend
  case clientViolations, clientMessagesTooBig, clientPingFloods
  case backendViolations, backendMessagesTooBig
  case clientsVanished, backendsVanished, clientTimeouts, backendTimeouts
  case writeStalls, closeTimeouts, tunnelIdleTimeouts, drainCloses, reloadCloses, operatorCloses
  case gatewayFaults
  // Reloads
  case reloadsOK, reloadsFailed
  // Logs
  case logLinesWritten, logLinesDropped

  /// What a counter is called, and where it stands in the metrics.
  public struct Row: Sendable {
    /// In the log, without the program's prefix; with `_total` behind it the name of its metric, unless
    /// it is one of a family.
    public let name: StaticString
    /// One line.
    public let help: StaticString
    public let family: MetricFamily?
    /// Its labels within the family, as they are written.
    public let labels: StaticString

    init(
      _ name: StaticString, _ help: StaticString, in family: MetricFamily? = nil,
      _ labels: StaticString = ""
    ) {
      self.name = name
      self.help = help
      self.family = family
      self.labels = labels
    }
  }

  public var row: Row {
    switch self {
    case .connectionsAccepted: Row("connections_accepted", "Connections taken from listeners.")
    case .connectionsClosed: Row("connections_closed", "Accepted connections that have ended.")
    case .proxyRefusals:
      Row("proxy_refusals", "Connections refused for their PROXY header or for who they come from.")
    case .acceptFailures:
      Row("accept_failures", "accept() calls that failed, for want of descriptors.")
    case .connectionsTurnedAway:
      Row("connections_turned_away", "Connections closed at once for want of a descriptor.")
    case .tls12Handshakes:
      Row(
        "tls12_handshakes", "Full handshakes of TLS 1.2.", in: .tlsHandshakes,
        #"version="1.2",resumed="false""#)
    case .tls12Resumptions:
      Row(
        "tls12_resumptions", "Resumptions of TLS 1.2.", in: .tlsHandshakes,
        #"version="1.2",resumed="true""#)
    case .tls13Handshakes:
      Row(
        "tls13_handshakes", "Full handshakes of TLS 1.3.", in: .tlsHandshakes,
        #"version="1.3",resumed="false""#)
    case .tls13Resumptions:
      Row(
        "tls13_resumptions", "Resumptions of TLS 1.3.", in: .tlsHandshakes,
        #"version="1.3",resumed="true""#)
    case .tlsFailures: Row("tls_failures", "TLS sessions with clients that broke.")
    case .tlsHandshakeTimeouts:
      Row("tls_handshake_timeouts", "TLS handshakes given up as too slow.")
    case .backendTLSFailures: Row("backend_tls_failures", "TLS sessions with backends that broke.")
    case .requests: Row("requests", "Complete request heads received.")
    case .requestsMalformed: Row("requests_malformed", "Requests answered 400, 405 or 505.")
    case .requestsTooSlow: Row("requests_too_slow", "Request heads that took too long: 408.")
    case .requestsTooLarge: Row("requests_too_large", "Request heads over a limit: 414, 431.")
    case .requestsNotServed: Row("requests_not_served", "Requests for what is not supported: 501.")
    case .responses2xx:
      Row("responses_2xx", "Responses with a status 2xx.", in: .responses, #"class="2xx""#)
    case .responses3xx:
      Row("responses_3xx", "Responses with a status 3xx.", in: .responses, #"class="3xx""#)
    case .responses4xx:
      Row("responses_4xx", "Responses with a status 4xx.", in: .responses, #"class="4xx""#)
    case .responses5xx:
      Row("responses_5xx", "Responses with a status 5xx.", in: .responses, #"class="5xx""#)
    case .handshakesAccepted:
      Row(
        "handshakes_accepted", "WebSocket handshakes answered 101.", in: .handshakes,
        #"result="accepted""#)
    case .handshakesMalformed:
      Row(
        "handshakes_malformed", "WebSocket handshakes refused with 400.", in: .handshakes,
        #"result="malformed""#)
    case .handshakesVersion:
      Row(
        "handshakes_version", "WebSocket versions other than 13: 426.", in: .handshakes,
        #"result="version""#)
    case .handshakesMissed:
      Row(
        "handshakes_missed", "WebSocket handshakes that no route matches.", in: .handshakes,
        #"result="no_route""#)
    case .handshakesUnserved:
      Row(
        "handshakes_unserved", "Handshakes refused by a limit of ours or while draining.",
        in: .handshakes, #"result="unavailable""#)
    case .handshakesFailed:
      Row(
        "handshakes_failed", "Handshakes that failed for their backend: 502, 503, 504.",
        in: .handshakes, #"result="backend_failed""#)
    case .handshakesUnauthorized:
      Row(
        "handshakes_unauthorized", "Handshakes an authorization service refused.",
        in: .handshakes, #"result="unauthorized""#)
    case .handshakesAbandoned:
      Row(
        "handshakes_abandoned", "Clients gone before their handshake was answered.",
        in: .handshakes, #"result="abandoned""#)
    case .routesMissed: Row("routes_missed", "Requests that no route matches: 404.")
    case .originRefusals:
      Row(
        "origin_refusals", "Handshakes refused for their Origin: 403.", in: .handshakes,
        #"result="origin_refused""#)
    case .originReports: Row("origin_reports", "Origins let through by report_only.")
    case .limitRefusals: Row("limit_refusals", "Requests refused by a limit of ours: 503.")
    case .memoryRefusals:
      Row("memory_refusals", "Requests refused because memory is short: 503, REFUSED_STREAM.")
    case .memoryCloses:
      Row("memory_closes", "Idle connections closed because memory is short.")
    case .drainRefusals: Row("drain_refusals", "Requests refused while draining: 503.")
    case .requestsMisdirected:
      Row("requests_misdirected", "Requests for a name the connection is not for: 421.")
    case .http2Connections: Row("http2_connections", "Clients' connections over HTTP/2.")
    case .http2Streams: Row("http2_streams", "Streams opened by clients.")
    case .http2Violations: Row("http2_violations", "Connections ended for an HTTP/2 error.")
    case .http2ResetFloods:
      Row(
        "http2_reset_floods", "Clients that reset too many streams.", in: .http2BudgetsExceeded,
        #"budget="resets""#)
    case .http2MadeResetFloods:
      Row(
        "http2_made_reset_floods", "Clients that made us reset too many streams.",
        in: .http2BudgetsExceeded,
        #"budget="own_resets""#)
    case .http2ContinuationFloods:
      Row(
        "http2_continuation_floods", "Field blocks in too many CONTINUATION frames.",
        in: .http2BudgetsExceeded,
        #"budget="continuations""#)
    case .http2FieldBlocksTooLarge:
      Row(
        "http2_field_blocks_too_large", "Field blocks of too many encoded bytes.",
        in: .http2BudgetsExceeded,
        #"budget="field_block""#)
    case .http2SettingsFloods:
      Row(
        "http2_settings_floods", "Too many SETTINGS, or too long ones.", in: .http2BudgetsExceeded,
        #"budget="settings""#)
    case .http2PingFloods:
      Row(
        "http2_ping_floods", "Too many PING frames.", in: .http2BudgetsExceeded,
        #"budget="pings""#)
    case .http2PriorityFloods:
      Row(
        "http2_priority_floods", "Too many PRIORITY frames.", in: .http2BudgetsExceeded,
        #"budget="priorities""#)
    case .http2WindowUpdateFloods:
      Row(
        "http2_window_update_floods", "Too many WINDOW_UPDATE frames.", in: .http2BudgetsExceeded,
        #"budget="window_updates""#)
    case .http2EmptyFrameFloods:
      Row(
        "http2_empty_frame_floods", "Too many frames that carry nothing.",
        in: .http2BudgetsExceeded,
        #"budget="empty_frames""#)
    case .http2UnknownFrameFloods:
      Row(
        "http2_unknown_frame_floods", "Too many frames of no known type.",
        in: .http2BudgetsExceeded,
        #"budget="unknown_frames""#)
    case .http2OverheadFloods:
      Row(
        "http2_overhead_floods", "Too much framing for what it carries.", in: .http2BudgetsExceeded,
        #"budget="overhead""#)
    case .http2QueuedControlFloods:
      Row(
        "http2_queued_control_floods", "Clients that do not read our answers to control frames.",
        in: .http2BudgetsExceeded,
        #"budget="queued_control""#)
    case .connectAttempts: Row("connect_attempts", "Connections to backends begun.")
    case .connectionsReused:
      Row("connections_reused", "Requests sent on a connection that had served before.")
    case .retries: Row("retries", "Requests sent again because a reused connection had closed.")
    case .connectFailures:
      Row("connect_failures", "Connections to backends that did not come about.")
    case .healthChecks: Row("health_checks", "Checks of endpoints begun.")
    case .healthChecksFailed: Row("health_checks_failed", "Checks that an endpoint did not pass.")
    case .requestsQueued: Row("requests_queued", "Requests that waited for an endpoint with room.")
    case .queueTimeouts: Row("queue_timeouts", "Requests that waited for room in vain: 503.")
    case .endpointsEjected:
      Row(
        "endpoints_ejected", "Times an endpoint was taken out: connects, answers or checks failed.")
    case .endpointsExhausted: Row("endpoints_exhausted", "Requests no endpoint could take: 503.")
    case .backendSilent: Row("backend_silent", "Backends that did not answer in time: 504.")
    case .backendAnswersBroken: Row("backend_answers_broken", "Broken answers of backends: 502.")
    case .backendRefusals:
      Row(
        "backend_refusals", "Upgrades a backend answered with no 101.", in: .handshakes,
        #"result="backend_refused""#)
    case .authorizationRefusals:
      Row("authorization_refusals", "Requests an authorization service refused.")
    case .authorizationFailures:
      Row("authorization_failures", "Requests an authorization service gave no verdict on.")
    case .authorizationsKept:
      Row("authorizations_kept", "Requests let through by a verdict that was kept.")
    case .bridgesOpened: Row("bridges_opened", "WebSockets bridged.")
    case .bridgesClosed: Row("bridges_closed", "Bridged WebSockets that have ended.")
    case .tunnelsOpened: Row("tunnels_opened", "WebSockets tunnelled.")
    case .tunnelsClosed: Row("tunnels_closed", "Tunnelled WebSockets that have ended.")
    case .clientTextMessages:
      Row(
        "client_text_messages", "Text messages from clients.", in: .messages,
        #"direction="from_client",opcode="text""#)
    case .clientTextBytes:
      Row(
        "client_text_bytes", "Payload bytes of text messages from clients.", in: .messageBytes,
        #"direction="from_client",opcode="text""#)
    case .clientBinaryMessages:
      Row(
        "client_binary_messages", "Binary messages from clients.", in: .messages,
        #"direction="from_client",opcode="binary""#)
    case .clientBinaryBytes:
      Row(
        "client_binary_bytes", "Payload bytes of binary messages from clients.", in: .messageBytes,
        #"direction="from_client",opcode="binary""#)
    case .clientPings:
      Row(
        "client_pings", "Ping frames from clients.", in: .controlFrames,
        #"direction="from_client",opcode="ping""#)
    case .clientPongs:
      Row(
        "client_pongs", "Pong frames from clients.", in: .controlFrames,
        #"direction="from_client",opcode="pong""#)
    case .clientCloses:
      Row(
        "client_closes", "Close frames from clients.", in: .controlFrames,
        #"direction="from_client",opcode="close""#)
    case .clientTunnelBytes:
      Row(
        "client_tunnel_bytes", "Bytes of tunnels from clients.", in: .tunnelBytes,
        #"direction="from_client""#)
    case .backendTextMessages:
      Row(
        "backend_text_messages", "Text messages from backends.", in: .messages,
        #"direction="from_backend",opcode="text""#)
    case .backendTextBytes:
      Row(
        "backend_text_bytes", "Payload bytes of text messages from backends.", in: .messageBytes,
        #"direction="from_backend",opcode="text""#)
    case .backendBinaryMessages:
      Row(
        "backend_binary_messages", "Binary messages from backends.", in: .messages,
        #"direction="from_backend",opcode="binary""#)
    case .backendBinaryBytes:
      Row(
        "backend_binary_bytes", "Payload bytes of binary messages from backends.",
        in: .messageBytes,
        #"direction="from_backend",opcode="binary""#)
    case .backendPings:
      Row(
        "backend_pings", "Ping frames from backends.", in: .controlFrames,
        #"direction="from_backend",opcode="ping""#)
    case .backendPongs:
      Row(
        "backend_pongs", "Pong frames from backends.", in: .controlFrames,
        #"direction="from_backend",opcode="pong""#)
    case .backendCloses:
      Row(
        "backend_closes", "Close frames from backends.", in: .controlFrames,
        #"direction="from_backend",opcode="close""#)
    case .backendTunnelBytes:
      Row(
        "backend_tunnel_bytes", "Bytes of tunnels from backends.", in: .tunnelBytes,
        #"direction="from_backend""#)
    case .pingsSent: Row("pings_sent", "Keep-alive Pings sent by the gateway.")
    case .pongsSwallowed: Row("pongs_swallowed", "Answers to the gateway's own Pings.")
    case .bytesAfterClose:
      Row("bytes_after_close", "Bytes discarded because they followed a Close.")
    case .pauses: Row("pauses", "Times a direction stopped reading because its reader is slow.")
    case .closesByClient: Row("closes_by_client", "Bridges the client closed.")
    case .closesByBackend: Row("closes_by_backend", "Bridges the backend closed.")
    case .clientViolations: Row("client_violations", "Clients that broke RFC 6455: 1002, 1007.")
    case .clientMessagesTooBig: Row("client_messages_too_big", "Clients over max_message: 1009.")
    case .clientPingFloods: Row("client_ping_floods", "Clients over the ping rate: 1008.")
    case .backendViolations: Row("backend_violations", "Backends that broke RFC 6455.")
    case .backendMessagesTooBig: Row("backend_messages_too_big", "Backends over max_message.")
    case .clientsVanished: Row("clients_vanished", "Clients gone without a Close.")
    case .backendsVanished: Row("backends_vanished", "Backends gone without a Close.")
    case .clientTimeouts: Row("client_timeouts", "Clients silent beyond the keep-alive timeout.")
    case .backendTimeouts: Row("backend_timeouts", "Backends silent beyond the keep-alive timeout.")
    case .writeStalls: Row("write_stalls", "Peers that took nothing for write_stall.")
    case .closeTimeouts: Row("close_timeouts", "Close handshakes a peer did not finish.")
    case .tunnelIdleTimeouts: Row("tunnel_idle_timeouts", "Tunnels idle beyond tunnel_idle.")
    case .drainCloses: Row("drain_closes", "Bridges ended by a drain.")
    case .operatorCloses:
      Row("operator_closes", "WebSockets ended through the admin listener.")
    case .reloadCloses: Row("reload_closes", "WebSockets told to go by a reload: 1001.")
    case .reloadsOK: Row("reload_ok", "Reloads that took effect.")
    case .reloadsFailed: Row("reload_failed", "Reloads refused for their mistakes.")
    case .gatewayFaults: Row("gateway_faults", "Faults of the gateway's own.")
    case .logLinesWritten: Row("log_lines_written", "Log lines handed to the writer.")
    case .logLinesDropped:
      Row("log_lines_dropped", "Log lines lost: the log was full or could not be written.")
    }
  }
}

/// A metric that several counters make up, told apart by labels. Labels have few values, all of them
/// in the rows above: nothing that a client says may become one.
public enum MetricFamily: CaseIterable, Sendable {
  case handshakes, responses, tlsHandshakes, http2BudgetsExceeded
  case messages, messageBytes, controlFrames, tunnelBytes

  /// Name without the program's prefix and `_total`, and one line of help.
  public var row: (name: StaticString, help: StaticString) {
    switch self {
    case .handshakes: ("handshakes", "WebSocket handshakes by what came of them.")
    case .responses: ("responses", "Responses to plain requests, and refusals, by status class.")
    case .tlsHandshakes: ("tls_handshakes", "TLS handshakes with clients that completed.")
    case .http2BudgetsExceeded:
      ("http2_budgets_exceeded", "HTTP/2 connections ended for going beyond a bound.")
    case .messages: ("messages", "WebSocket messages on bridges.")
    case .messageBytes: ("message_bytes", "Payload bytes of messages on bridges.")
    case .controlFrames:
      ("control_frames", "Control frames received on bridges, answers to our Pings included.")
    case .tunnelBytes: ("tunnel_bytes", "Bytes of tunnels.")
    }
  }
}
