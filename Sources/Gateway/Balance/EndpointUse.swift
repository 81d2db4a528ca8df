// What an exchange does with the endpoints of its upstream: takes one, tells how connecting to it
// went, and gives it back.

import Bytes
import Configuration
import Kernel
import TLS
import Telemetry
import Wire

extension Worker where K: ~Copyable {
  func endpoints(of exchange: SlotID) -> EndpointTable {
    shared.endpoints[route(of: exchange).upstream]
  }

  /// Takes an endpoint that the exchange has not tried yet, in place of the one it has; nil when
  /// there is none.
  mutating func takeEndpoint(_ exchange: SlotID) -> Int? {
    giveBackEndpoint(exchange)
    guard let attempt = exchanges[exchange].attempt else { return nil }
    let upstream = route(of: exchange).upstream
    let endpoint = shared.endpoints[upstream].take(
      attempt.affinity, besides: attempt.tried, &turns[upstream], now: now,
      random: kernel.random())
    guard let endpoint else { return nil }
    attempt.tried.append(endpoint)
    attempt.facts.endpoint = shared.endpoints[upstream].endpoints[endpoint].name
    exchanges[exchange].endpoint = endpoint
    return endpoint
  }

  /// The exchange has nothing more to do with its endpoint.
  mutating func giveBackEndpoint(_ exchange: SlotID) {
    guard let endpoint = exchanges[exchange].endpoint else { return }
    endpoints(of: exchange).endpoints[endpoint].giveBack()
    exchanges[exchange].endpoint = nil
  }

  /// For the answer to the client: the cookie that brings it back here, where it has none that does.
  func stickyCookie(_ exchange: SlotID) -> [UInt8]? {
    guard let attempt = exchanges[exchange].attempt, let endpoint = exchanges[exchange].endpoint
    else { return nil }
    return endpoints(of: exchange).setCookie(for: endpoint, attempt.affinity)
  }

  // MARK: Health

  mutating func endpointConnected(_ exchange: SlotID) {
    guard let index = exchanges[exchange].endpoint else { return }
    let endpoint = endpoints(of: exchange).endpoints[index]
    note(endpoint.connected(now), exchange, endpoint)
  }

  /// `errno`: why, when a system call says it. A shortage of our own says nothing about the endpoint.
  mutating func endpointFailed(_ exchange: SlotID, _ errno: Errno? = nil) {
    guard let index = exchanges[exchange].endpoint, errno?.isOwnShortage != true else { return }
    let endpoint = endpoints(of: exchange).endpoints[index]
    note(endpoint.failed(now), exchange, endpoint)
  }

  private mutating func note(
    _ change: EndpointChange?, _ exchange: SlotID, _ endpoint: Endpoint
  ) {
    guard let change else { return }
    let upstream = endpoints(of: exchange).upstream
    var span: TimeSpan?
    if case .ejected(let length) = change { span = length }
    if span != nil { metrics.add(.endpointsEjected) }
    errorLog.write(
      span == nil ? .endpointBack : .endpointEjected, now: now, wall: kernel.wallClock()
    ) { line in
      line.field("upstream", upstream)
      line.field("endpoint", endpoint.name)
      if let span { line.field("seconds", UInt64(clamping: span.milliseconds / 1000)) }
    }
  }
}

extension Errno {
  fileprivate var isOwnShortage: Bool {
    switch self {
    case .tooManyFiles, .noMemory, .addressNotAvailable: true
    case .connectionRefused, .connectionReset, .brokenPipe, .timedOut, .hostUnreachable,
      .networkUnreachable, .addressInUse, .permissionDenied, .notFound, .other:
      false
    }
  }
}
