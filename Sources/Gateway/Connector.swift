// Dialling a backend for an exchange: endpoints in turn, the next one when one cannot be reached and
// nothing has been sent, TLS where the upstream asks for it.

import Configuration
import Bytes
import Kernel
import TLS
import Telemetry
import Wire

extension Worker where K: ~Copyable {
  /// Dials the next endpoint of the exchange's upstream; 503 when all have been tried.
  mutating func dial(_ exchange: SlotID) {
    guard let attempt = exchanges[exchange].attempt else { return }
    // The last sweep of a drain must not open anything.
    if isStopped { return refuse(exchange, .refusingWork) }
    if let question = attempt.authorizes, now >= question.deadline {
      return refuse(exchange, .connectFailed)
    }
    let upstream = exchanges[exchange].upstream
    while let endpoint = takeEndpoint(exchange, attempt, of: upstream) {
      if let host = endpoint.plan.host { UpstreamRequest.setHost(host, in: &attempt.request) }
      if let forwarding = exchanges[exchange].forwarding, forwarding.usesPool,
        upstream.plan.proxyProtocol == .off,
        let idle = takeIdle(endpoint, isFresh: needsFreshConnection(forwarding, attempt))
      {
        return reuse(exchange, idle, forwarding)
      }
      makeRoomForBackend()
      metrics.add(.connectAttempts)
      let isUpgrade = exchanges[exchange].forwarding == nil
      switch kernel.connect(endpoint.plan.address, delayingAck: isUpgrade) {
      case .connected(let descriptor), .inProgress(let descriptor):
        return adopt(exchange, descriptor, upstream.plan, endpoint)
      case .failed(let errno):
        metrics.add(.connectFailures)
        logEvent(.connectFailed, errno: errno, endpoint: attempt.facts.endpoint)
        endpointFailed(exchange, errno)
      }
    }
    if waitForRoom(exchange, attempt) { return }
    guard attempt.tried.isEmpty else { return refuse(exchange, .connectFailed) }
    refuse(exchange, .noEndpoint, detail: exchanges[exchange].upstream.table.shortage)
  }

  private mutating func adopt(
    _ exchange: SlotID, _ descriptor: Descriptor, _ upstream: UpstreamPlan, _ endpoint: Endpoint
  ) {
    let id: SlotID
    do throws(Fault) {
      let role = ConnectionRole.upstream(ResponseParser(limits: shared.responseLimits))
      id = try open(descriptor, to: endpoint.plan, of: upstream, role)
    } catch {
      return refuse(exchange, error)
    }
    connections[id].exchange = exchange
    metrics.change(.backendConnections, by: 1)
    exchanges[exchange].setConnection(.backend, id)
    exchanges[exchange].phase = .connecting
    let question = exchanges[exchange].attempt?.authorizes
    let deadline = now + route(of: exchange).timeouts.connect
    setTimeout(exchange: exchange, .connect, at: min(deadline, question?.deadline ?? .never))
    guard let attempt = exchanges[exchange].attempt else { return }
    begin(id, header: proxyHeader(exchange, upstream)) { attempt.request }
    if exchanges.contains(exchange), connections.contains(id), connections[id].tls == nil {
      startRequestBody(exchange)
    }
    if connections.contains(id) { updateInterest(id) }
  }

  /// A connection for a socket that connects; the socket is closed when there can be none.
  mutating func open(
    _ descriptor: Descriptor, to endpoint: EndpointPlan, of upstream: UpstreamPlan,
    _ role: ConnectionRole
  ) throws(Fault) -> SlotID {
    var session: TLSSession?
    if let context = upstream.tls {
      guard let made = TLSSession(client: context, serverName: endpoint.serverName) else {
        kernel.close(descriptor)
        throw .backendTLSFailed
      }
      session = consume made
    }
    let connection = Connection(
      descriptor: descriptor, peer: endpoint.address, listener: nil, role: role, tls: session,
      interest: [])
    guard let id = connections.insert(connection) else {
      kernel.close(descriptor)
      throw .limitReached
    }
    connections[id].isUnwatched = true
    return id
  }

  /// The first bytes are offered at once: on a fast network the connection is often there already,
  /// which saves a wait and an SO_ERROR; otherwise they wait until the socket is writable. Under TLS
  /// `request` comes after the handshake.
  mutating func begin(_ id: SlotID, header: [UInt8], request: () -> [UInt8]) {
    guard connections[id].tls != nil else {
      let request = request()
      return send(id, header.isEmpty ? request : header + request)
    }
    let outbound = self.outbound
    outbound.reset()
    outbound.append(header)
    _ = connections[id].tls?.start(output: outbound)
    outbound.withSpan { put(id, $0) }
  }

  /// A backend's socket has taken its first bytes of the request.
  mutating func exchangeConnected(_ exchange: SlotID) {
    guard exchanges.contains(exchange), case .connecting = exchanges[exchange].phase,
      let id = exchanges[exchange].backend
    else { return }
    // Under TLS the first bytes are the handshake's.
    if connections[id].tls != nil, !connections[id].isTLSEstablished { return }
    endpointConnected(exchange)
    awaitAnswer(exchange)
  }

  /// A stray answer on a connection that has waited must not become a verdict, nor the answer to a
  /// request that cannot be sent twice.
  private func needsFreshConnection(_ forwarding: Forwarding, _ attempt: Attempt) -> Bool {
    !forwarding.isRepeatable || attempt.authorizes != nil
  }

  /// Of a request that is still being sent no answer is due: its client has `request_body` and its
  /// backend `write_stall` until it is complete.
  mutating func awaitAnswer(_ exchange: SlotID) {
    let timeouts = route(of: exchange).timeouts
    let isPlain = exchanges[exchange].forwarding != nil
    exchanges[exchange].phase = .awaitingAnswer
    if exchanges[exchange].forwarding?.isRequestComplete == false {
      exchanges[exchange].timeout = .none
      exchanges[exchange].deadline = .never
      return
    }
    let wait = isPlain ? timeouts.response : timeouts.upgrade
    let question = exchanges[exchange].attempt?.authorizes
    setTimeout(exchange: exchange, .answer, at: question?.deadline ?? now + wait)
  }

  /// A TLS handshake is complete: a client's request may come, or ours may go to the backend.
  mutating func tlsEstablished(_ id: SlotID) {
    guard let exchange = connections[id].exchange else {
      if case .probe(let probe, _) = connections[id].role { return probeEstablished(id, probe) }
      countHandshake(id)
      if speaksHTTP2(id) { return beginHTTP2(id) }
      return setTimeout(id, .requestHead, after: shared.timeouts.requestHead)
    }
    if let attempt = exchanges[exchange].attempt { send(id, attempt.request) }
    startRequestBody(exchange)
  }

  private mutating func countHandshake(_ id: SlotID) {
    guard let version = connections[id].tls?.version else { return }
    metrics.count(version, isResumed: connections[id].tls?.isResumed == true)
  }

  mutating func connectTimedOut(_ exchange: SlotID) {
    guard let id = exchanges[exchange].backend else { return refuse(exchange, .connectFailed) }
    detach(exchange, .backend)
    closeNow(id)
    connectFailed(exchange, .timedOut)
  }

  /// An endpoint could not be reached. Nothing has been sent to it: the next one is tried.
  mutating func connectFailed(_ exchange: SlotID, _ loss: ConnectionLoss) {
    metrics.add(.connectFailures)
    let endpoint = exchanges[exchange].attempt?.facts.endpoint
    switch loss {
    case .tls(let failure):
      logEvent(.backendTLSFailed, reason: failure.reason, endpoint: endpoint)
      endpointFailed(exchange)
      return refuse(exchange, .backendTLSFailed)
    case .failed(let errno):
      logEvent(.connectFailed, errno: errno, endpoint: endpoint)
      endpointFailed(exchange, errno)
    case .endOfStream:
      logEvent(.connectFailed, reason: "closed", endpoint: endpoint)
      endpointFailed(exchange)
    case .writeStalled, .timedOut:
      logEvent(.connectFailed, reason: "timed out", endpoint: endpoint)
      endpointFailed(exchange)
    }
    dial(exchange)
  }
}
