// From the endpoints of an upstream as they are written to those there are: every address of a name is
// one. Asked at start, and again and again by `NameWatch`; what did not answer keeps its last answer.

import Bytes
import Configuration
import Kernel

struct EndpointNames {
  typealias Lookup = (String) throws(ResolveFailure) -> [IPAddress]

  /// A name that does not resolve, and where it is written.
  struct Failure {
    var name: String
    var location: SourceLocation
    var reason: ResolveFailure
  }

  private var lastAnswers: [String: [IPAddress]] = [:]
  /// Of the last call of `endpoints()`.
  private(set) var failures: [Failure] = []
  private let lookup: Lookup

  init(lookup: @escaping Lookup = Resolver.resolve) { self.lookup = lookup }

  /// Whether `settings` names anything that may change.
  static func areIn(_ settings: UpstreamSettings) -> Bool {
    settings.endpoints.contains { endpoint in
      if case .hostPort(let pair) = endpoint.address { pair.literal == nil } else { false }
    }
  }

  /// Blocks while names are resolved. An address that is there twice counts once.
  mutating func endpoints(of settings: UpstreamSettings) -> [EndpointPlan] {
    failures = []
    var plans: [EndpointPlan] = []
    for endpoint in settings.endpoints {
      for address in addresses(of: endpoint) where !plans.contains(where: { $0.address == address })
      {
        plans.append(Self.plan(settings, endpoint, address))
      }
    }
    return plans
  }

  private mutating func addresses(of endpoint: EndpointSettings) -> [SocketAddress] {
    switch endpoint.address {
    case .unix(let path): return [.unix(path)]
    case .hostPort(let pair):
      if let literal = pair.literal { return [.ip(literal, port: pair.port)] }
      return resolve(pair.host, endpoint.location).map { .ip($0, port: pair.port) }
    }
  }

  private mutating func resolve(_ name: String, _ location: SourceLocation) -> [IPAddress] {
    do throws(ResolveFailure) {
      // Name servers change the order from answer to answer, which is not meant to change anything.
      let answer = try lookup(name).sorted { $0.description < $1.description }
      lastAnswers[name] = answer
      return answer
    } catch {
      failures.append(Failure(name: name, location: location, reason: error))
      return lastAnswers[name] ?? []
    }
  }

  private static func plan(
    _ settings: UpstreamSettings, _ endpoint: EndpointSettings, _ address: SocketAddress
  ) -> EndpointPlan {
    let hasOwnHost = settings.host == .endpoint
    let host = hostField(endpoint.address, isTLS: settings.tls != nil)
    return EndpointPlan(
      address: address, weight: endpoint.weight, connectionsMax: endpoint.connectionsMax,
      serverName: settings.tls?.serverName ?? hostName(endpoint.address),
      host: hasOwnHost ? Array(host.utf8) : nil)
  }

  private static func hostName(_ address: EndpointAddress) -> String {
    switch address {
    case .hostPort(let pair): pair.host
    case .unix: "localhost"
    }
  }

  /// The authority of an endpoint (RFC 9110 section 7.2): the scheme's own port is left out.
  private static func hostField(_ address: EndpointAddress, isTLS: Bool) -> String {
    guard case .hostPort(let pair) = address else { return hostName(address) }
    let host = if case .v6 = pair.literal { "[\(pair.host)]" } else { pair.host }
    return pair.port == (isTLS ? 443 : 80) ? host : "\(host):\(pair.port)"
  }
}
