// The endpoints of one upstream and the way one of them is chosen for a request. Shared by all
// workers, and never changed: when names resolve to other addresses there is another table, which has
// those endpoints in common that stay. What is a worker's own, its place in the rotation, is handed in.

import Bytes
import Configuration
import Wire

/// What of a request says where it belongs.
struct ClientAffinity: Sendable, Equatable {
  /// The endpoint its cookie stands for.
  var pinned: Int?
  /// Requests with the same number go together.
  var key: UInt64?
  /// Another endpoint will not do.
  var isStrict = false
  /// The client came over TLS.
  var isSecure = false
}

/// A worker's own part of the choice.
struct BalanceTurn {
  fileprivate var rotation: [Int]
  /// Used again for every choice.
  fileprivate var candidates: [Candidate] = []
}

final class EndpointTable: Sendable {
  let upstream: String
  let endpoints: [Endpoint]
  private let settings: UpstreamSettings
  private let processSecret: [UInt8]
  private let loads: EndpointLoads
  private let cookie: StickyCookie?

  private var sticky: StickySettings? { settings.sticky }

  /// `processSecret`: stands in for a secret that is not configured.
  convenience init(
    _ settings: UpstreamSettings, _ plans: [EndpointPlan], processSecret: [UInt8],
    _ loads: EndpointLoads = EndpointLoads()
  ) {
    self.init(
      settings, processSecret, loads, plans.map { Endpoint(upstream: settings.name, $0, loads) })
  }

  private init(
    _ settings: UpstreamSettings, _ processSecret: [UInt8], _ loads: EndpointLoads,
    _ endpoints: [Endpoint]
  ) {
    self.loads = loads
    upstream = settings.name
    self.settings = settings
    self.processSecret = processSecret
    self.endpoints = endpoints
    cookie = settings.sticky.flatMap { sticky in
      sticky.cookie.map { name in
        StickyCookie(
          name: name, sameSite: sticky.sameSite,
          secret: sticky.secret.map { Array($0.utf8) } ?? processSecret,
          identities: endpoints.map(\.identity))
      }
    }
  }

  /// The table for other endpoints, and after a reload for other settings. Endpoints that stay keep
  /// their counts and their health; those that come back find their counts.
  func replacing(
    with plans: [EndpointPlan], _ next: UpstreamSettings? = nil
  ) -> EndpointTable {
    // What one check has found says nothing about another, and without checks nobody would revoke it.
    let isAskedTheSame = (next ?? settings).health == settings.health
    let successors = plans.map { plan in
      endpoints.first { $0.plan == plan && (isAskedTheSame || !$0.isDown) }
        ?? Endpoint(upstream: upstream, plan, loads)
    }
    return EndpointTable(next ?? settings, processSecret, loads, successors)
  }

  /// Whether an endpoint beside this one may be asked.
  func hasOther(than endpoint: Endpoint, _ now: MonotonicTime) -> Bool {
    endpoints.contains { $0 !== endpoint && !$0.isOut(now) }
  }

  func holds(_ endpoint: Endpoint) -> Bool { endpoints.contains { $0 === endpoint } }

  /// A worker's turn at the beginning: each worker starts with another endpoint.
  func makeTurn(worker: Int, now: MonotonicTime) -> BalanceTurn {
    var turn = BalanceTurn(rotation: Array(repeating: 0, count: endpoints.count))
    guard !endpoints.isEmpty else { return turn }
    observe(&turn, now, besides: [], onTrial: false)
    for _ in 0..<(worker % endpoints.count) {
      _ = BalancePolicy.roundRobin(turn.candidates, &turn.rotation)
    }
    return turn
  }

  // MARK: Where a request belongs

  /// `address`: the client's own; nil for a unix socket.
  func affinity(of head: RequestHead, from address: IPAddress?, isSecure: Bool) -> ClientAffinity {
    var affinity = ClientAffinity(isSecure: isSecure)
    if let sticky {
      affinity.isStrict = sticky.whenDown == .refuse
      affinity.pinned = cookie?.endpoint(of: head)
      affinity.key = sticky.header.flatMap { key(of: head, .header($0), address) }
      if affinity.key == nil, sticky.byAddress { affinity.key = key(of: head, .address, address) }
      if affinity.pinned != nil || affinity.key != nil { return affinity }
      affinity.isStrict = false
    }
    if settings.balance == .hash {
      affinity.key = key(of: head, settings.hash ?? .address, address)
    }
    return affinity
  }

  private func key(of head: RequestHead, _ key: ClientKey, _ address: IPAddress?) -> UInt64? {
    let bytes = head.bytes
    switch key {
    case .address: return address.map { BalanceHash.of($0.description.utf8.span) }
    case .header(let name):
      return head.value(named: name).map { BalanceHash.of(bytes.span.extracting($0)) }
    case .cookie(let name):
      guard let value = head.cookies(named: Array(name.utf8), atMost: 1).first, !value.isEmpty
      else { return nil }
      return BalanceHash.of(bytes.span.extracting(value))
    }
  }

  var setsCookies: Bool { cookie != nil }

  /// The value of the `Set-Cookie` field for an answer of `endpoint`; nil where none is due.
  func setCookie(for endpoint: Int, _ affinity: ClientAffinity) -> [UInt8]? {
    guard let cookie, affinity.pinned != endpoint else { return nil }
    return cookie.field(for: endpoint, isSecure: affinity.isSecure)
  }

  // MARK: The choice

  /// Chooses an endpoint and counts the request in, which `giveBack()` of the endpoint undoes. Nil
  /// when all are out, full or in `tried`. Of endpoints that are out one request in a while may try
  /// one, so that it is seen when they are back.
  func take(
    _ affinity: ClientAffinity, besides tried: [Int], _ turn: inout BalanceTurn,
    now: MonotonicTime, random: UInt64
  ) -> Int? {
    observe(&turn, now, besides: tried, onTrial: false)
    if let endpoint = takeObserved(affinity, &turn, now, random) { return endpoint }
    // A request that has seen a failure is not for trying what has failed before.
    guard tried.isEmpty else { return nil }
    observe(&turn, now, besides: tried, onTrial: true)
    return takeObserved(affinity, &turn, now, random)
  }

  /// Whether there is nothing but room that an endpoint lacks which the request would get.
  func isFull(
    _ affinity: ClientAffinity, besides tried: [Int], _ turn: inout BalanceTurn, now: MonotonicTime
  ) -> Bool {
    observe(&turn, now, besides: tried, onTrial: false, ignoringLimits: true)
    guard let index = choose(affinity, &turn, 0) else { return false }
    return endpoints[index].inUse >= endpoints[index].connectionsMax
  }

  /// For the log: why there was no endpoint to take.
  var shortage: StaticString {
    if endpoints.isEmpty { return "none" }
    return endpoints.contains { $0.inUse >= $0.connectionsMax } ? "full" : "down"
  }

  private func takeObserved(
    _ affinity: ClientAffinity, _ turn: inout BalanceTurn, _ now: MonotonicTime, _ random: UInt64
  ) -> Int? {
    // Each round that comes to nothing takes one candidate away.
    for _ in endpoints.indices {
      guard let index = choose(affinity, &turn, random) else { return nil }
      let endpoint = endpoints[index]
      if !endpoint.isOnTrial || endpoint.beginTrial(now), endpoint.take() { return index }
      turn.candidates[index].isEligible = false
    }
    return nil
  }

  private func observe(
    _ turn: inout BalanceTurn, _ now: MonotonicTime, besides tried: [Int], onTrial: Bool,
    ignoringLimits: Bool = false
  ) {
    if turn.candidates.count != endpoints.count {
      turn.candidates = Array(repeating: Candidate(), count: endpoints.count)
    }
    for (index, endpoint) in endpoints.enumerated() {
      let inUse = endpoint.inUse
      turn.candidates[index] = Candidate(
        share: endpoint.share(now), weight: endpoint.weight, inUse: inUse, hash: endpoint.hash,
        isEligible: endpoint.isOut(now) == onTrial && !endpoint.isDown
          && (ignoringLimits || inUse < endpoint.connectionsMax) && !tried.contains(index))
    }
  }

  private func choose(
    _ affinity: ClientAffinity, _ turn: inout BalanceTurn, _ random: UInt64
  ) -> Int? {
    if let pinned = affinity.pinned {
      if turn.candidates[pinned].isEligible { return pinned }
      if affinity.isStrict { return nil }
    }
    if let key = affinity.key {
      let index = BalancePolicy.hash(turn.candidates, key: key, ignoresState: affinity.isStrict)
      return index.flatMap { turn.candidates[$0].isEligible ? $0 : nil }
    }
    switch settings.balance {
    case .roundRobin, .hash: return BalancePolicy.roundRobin(turn.candidates, &turn.rotation)
    case .leastConnections: return BalancePolicy.leastConnections(turn.candidates, random: random)
    case .randomTwo: return BalancePolicy.randomTwo(turn.candidates, random: random)
    }
  }
}

extension RequestHead {
  /// The value of the first field of that name, which is in lower case; nil when it is empty.
  fileprivate func value(named name: String) -> Range<Int>? {
    let name = Array(name.utf8)
    for field in fields where field.name.count == name.count {
      let isSame = bytes[field.name].elementsEqual(name) { ASCII.lowercased($0) == $1 }
      if isSame { return field.value.isEmpty ? nil : field.value }
    }
    return nil
  }
}
