// What an exchange does with the endpoints of its upstream: takes one, tells how connecting to it
// went, and gives it back.

import Bytes
import Configuration
import Kernel
import TLS
import Telemetry
import Wire

extension Worker where K: ~Copyable {
  /// Takes an endpoint that the exchange has not tried yet, in place of the one it has; nil when
  /// there is none.
  mutating func takeEndpoint(
    _ exchange: SlotID, _ attempt: Attempt, of upstream: WorkerUpstream
  ) -> Endpoint? {
    giveBackEndpoint(exchange)
    let table = upstream.table
    let index = table.take(
      attempt.affinity(in: table), besides: attempt.triedIndices(in: table), &upstream.turn,
      now: now, random: kernel.random())
    guard let index else { return nil }
    let endpoint = table.endpoints[index]
    attempt.tried.append(endpoint)
    attempt.facts.endpoint = endpoint.name
    exchanges[exchange].endpoint = endpoint
    return endpoint
  }

  /// The exchange has nothing more to do with its endpoint.
  mutating func giveBackEndpoint(_ exchange: SlotID) {
    exchanges[exchange].endpoint?.giveBack()
    exchanges[exchange].endpoint = nil
  }

  /// For the answer to the client: the cookie that brings it back here, where it has none that does.
  func stickyCookie(_ exchange: SlotID) -> [UInt8]? {
    let table = exchanges[exchange].upstream.table
    guard table.setsCookies, let attempt = exchanges[exchange].attempt,
      let endpoint = exchanges[exchange].endpoint,
      let index = table.endpoints.firstIndex(where: { $0 === endpoint })
    else { return nil }
    return table.setCookie(for: index, attempt.affinity(in: table))
  }

  /// The names of an upstream resolve to other addresses than before. Exchanges keep what they have;
  /// what waits for a next request does not.
  mutating func endpointsChanged(_ table: EndpointTable) {
    guard let upstream = upstreams.first(where: { $0.name == table.upstream }) else { return }
    for endpoint in upstream.change(to: table, now: now) { closeIdle(endpoint) }
    beginProbes(upstream)
  }

  /// What waits for a next request to an endpoint that is gone.
  mutating func closeIdle(_ endpoint: Endpoint) {
    for id in pool.takeAll(endpoint) {
      if connections.contains(id), connections[id].exchange == nil { closeNow(id) }
    }
  }

  // MARK: Health

  mutating func endpointConnected(_ exchange: SlotID) {
    guard let endpoint = exchanges[exchange].endpoint else { return }
    note(endpoint.connected(now), exchanges[exchange].upstream, endpoint)
  }

  /// `errno`: why, when a system call says it. A shortage of our own says nothing about the endpoint.
  mutating func endpointFailed(_ exchange: SlotID, _ errno: Errno? = nil) {
    guard let endpoint = exchanges[exchange].endpoint, errno?.isOwnShortage != true else { return }
    note(endpoint.failed(now), exchanges[exchange].upstream, endpoint)
  }

  /// What the backend has said shows whether it is in order.
  mutating func endpointAnswered(_ exchange: SlotID, well: Bool) {
    guard let endpoint = exchanges[exchange].endpoint else { return }
    let mayEject = !well && exchanges[exchange].upstream.table.hasOther(than: endpoint, now)
    let change =
      well ? endpoint.answeredWell(now) : endpoint.answeredBadly(now, mayEject: mayEject)
    // Mostly there is none.
    if let change { note(change, exchanges[exchange].upstream, endpoint) }
  }

  /// A backend has ended a bridge. One that goes soon, with 1011 or without a Close, is not in order;
  /// one that closes normally (1000, 1001, no code) is, however soon.
  mutating func backendEnded(_ exchange: SlotID, hasClosed: Bool) {
    let isEarly = now - exchanges[exchange].startedAt <= Endpoint.earlyEnd
    let code = exchanges[exchange].bridge.from[Leg.backend.index].closeCode
    endpointAnswered(exchange, well: !isEarly || hasClosed && code != 1011)
  }

  mutating func note(
    _ change: EndpointChange?, _ upstream: WorkerUpstream, _ endpoint: Endpoint,
    detail: String? = nil
  ) {
    guard let change else { return }
    switch change {
    case .ejected, .ejectedForAnswers, .down: metrics.add(.endpointsEjected)
    case .back, .up: break
    }
    errorLog.write(change.event, now: now, wall: kernel.wallClock()) { line in
      line.field("upstream", upstream.name)
      line.field("endpoint", endpoint.name)
      line.field("reason", word: change.reason)
      if let detail { line.field("detail", detail) }
      guard let span = change.span else { return }
      line.field("seconds", UInt64(clamping: span.milliseconds / 1000))
    }
  }
}

extension EndpointChange {
  fileprivate var event: LogEvent {
    switch self {
    case .ejected, .ejectedForAnswers, .down: .endpointEjected
    case .back, .up: .endpointBack
    }
  }

  fileprivate var reason: StaticString {
    switch self {
    case .ejected: "connects failed"
    case .ejectedForAnswers: "bad answers"
    case .back: "in order again"
    case .down: "health checks failed"
    case .up: "health checks passed"
    }
  }

  fileprivate var span: TimeSpan? {
    switch self {
    case .ejected(let span), .ejectedForAnswers(let span): span
    case .back, .down, .up: nil
    }
  }
}

extension Errno {
  var isOwnShortage: Bool {
    switch self {
    case .tooManyFiles, .noMemory, .addressNotAvailable: true
    case .connectionRefused, .connectionReset, .brokenPipe, .timedOut, .hostUnreachable,
      .networkUnreachable, .addressInUse, .permissionDenied, .notFound, .noSpace, .fileTooLarge,
      .other:
      false
    }
  }
}
