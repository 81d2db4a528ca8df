// Who may ask the admin listener. It is bound to this machine as a rule, which keeps out everybody but
// the browsers on it: a page of a stranger can make one send requests (CSRF), or read answers under a
// name of its own that resolves to this machine (DNS rebinding). So requests must name the listener in
// Host, come from no other origin, and carry a field that pages cannot send unasked to change anything.

import Bytes
import Configuration
import Wire

/// What an endpoint asks of a request.
enum AdminAccess: Equatable {
  /// Probes: tells nothing that needs a token.
  case open
  case read
  /// Needs the field `X-Bascule` as well.
  case change
}

enum AdminRefusal: Equatable {
  case host, origin, field, token

  var status: UInt16 { self == .token ? 401 : 403 }

  var explanation: String {
    switch self {
    case .host:
      "The Host of this request is not one of this listener's: list it in admin.hosts to allow it."
    case .origin: "Pages of other origins may not ask here."
    case .field: "What changes something needs the field X-Bascule, with any value."
    case .token: "This needs the token of the configuration: Authorization: Bearer TOKEN."
    }
  }
}

struct AdminProtection: Sendable {
  private let hosts: Set<String>
  /// Bound to every address of the machine. No name can stand for an address literally written, so
  /// that each of them will do.
  private let takesAddresses: Bool
  private let token: [UInt8]?

  init(_ settings: AdminSettings, bound: SocketAddress) {
    var hosts = Set(settings.hosts)
    var isEverywhere = false
    switch bound {
    case .unix: hosts.insert("localhost")
    case .ip(let address, _):
      isEverywhere = address == .v4(0) || address == .v6(high: 0, low: 0)
      hosts.insert(Self.host(of: address))
      hosts.formUnion(["localhost", "127.0.0.1", "[::1]"])
    }
    if case .hostPort(let pair) = settings.bind, pair.literal == nil { hosts.insert(pair.host) }
    self.hosts = hosts
    takesAddresses = isEverywhere
    token = settings.token.map { Array($0.utf8) }
  }

  private static func host(of address: IPAddress) -> String {
    if case .v6 = address { "[\(address)]" } else { "\(address)" }
  }

  /// Why the request must not be served; nil: it may.
  func refusal(_ head: RequestHead, _ access: AdminAccess) -> AdminRefusal? {
    guard let authority = head.host, isOwn(authority.host) else { return .host }
    guard isSameOrigin(head, authority) else { return .origin }
    if access == .change, isFromAnotherSite(head) { return .origin }
    if access == .change, !hasField(head) { return .field }
    if access != .open, !hasToken(head) { return .token }
    return nil
  }

  private func isOwn(_ host: String) -> Bool {
    if hosts.contains(host) { return true }
    let literal = host.hasPrefix("[") ? String(host.dropFirst().dropLast()) : host
    return takesAddresses && IPAddress(parsing: literal) != nil
  }

  /// Without an Origin it is no page of another one that could read the answer.
  private func isSameOrigin(_ head: RequestHead, _ authority: Authority) -> Bool {
    let values = head.slices(of: .origin)
    guard let value = values.first else { return true }
    let own = Origin.tuple(
      scheme: "http", host: authority.host, port: authority.effectivePort(https: false))
    return values.count == 1 && Origin(parsing: value.span) == own
  }

  /// A browser says so itself, whatever else the page could make it send (Fetch Metadata).
  private func isFromAnotherSite(_ head: RequestHead) -> Bool {
    head.fields.contains { field in
      head.equalsIgnoringCase(field.name, "sec-fetch-site")
        && (head.equalsIgnoringCase(field.value, "cross-site")
          || head.equalsIgnoringCase(field.value, "same-site"))
    }
  }

  private func hasField(_ head: RequestHead) -> Bool {
    head.fields.contains { head.equalsIgnoringCase($0.name, "x-bascule") }
  }

  private func hasToken(_ head: RequestHead) -> Bool {
    guard let token else { return true }
    let fields = head.fields.filter { head.equalsIgnoringCase($0.name, "authorization") }
    guard fields.count == 1 else { return false }
    let value = head.bytes[fields[0].value]
    let scheme = value.prefix(7)
    let start = value.startIndex
    guard scheme.count == 7, head.equalsIgnoringCase(start..<start + 7, "bearer ") else {
      return false
    }
    return Self.equal(Array(value.dropFirst(7)), token)
  }

  /// In a time that tells no more than the lengths.
  private static func equal(_ a: [UInt8], _ b: [UInt8]) -> Bool {
    guard a.count == b.count else { return false }
    var difference: UInt8 = 0
    for index in a.indices { difference |= a[index] ^ b[index] }
    return difference == 0
  }
}
