// One entry of `listeners`: where clients connect, and how.
public import Bytes

/// A bound socket.
public struct ListenerSettings: Sendable, Equatable {
  public enum ApplicationProtocol: Sendable, Equatable {
    case h2, http11

    /// As ALPN has it (RFC 7301 section 6, RFC 9113 section 3.1).
    public var name: String { self == .h2 ? "h2" : "http/1.1" }
  }

  public enum ProxyProtocol: Sendable, Equatable {
    case off
    /// Every connection begins with a PROXY header, version 1 or 2.
    case accept
  }

  public var bind: EndpointAddress
  /// Each at most once, the preferred first. Under TLS they are what ALPN offers; without TLS the
  /// client's first bytes tell which it speaks (RFC 9113 section 3.3).
  public var protocols = [ApplicationProtocol.http11]
  /// Pending connections the kernel may queue; it caps this at net.core.somaxconn.
  public var backlog = 4096
  public var proxyProtocol = ProxyProtocol.off
  /// nil: plain TCP.
  public var tls: TLSSettings?
  public var location = SourceLocation()

  public init(bind: EndpointAddress) { self.bind = bind }
}

extension ListenerSettings: ConfigSection {
  /// `bind` is required, so that this placeholder never leaves the loader.
  init() { self.init(bind: .unix("")) }

  static let mainKeys = ["bind"]

  static let keys: [ConfigKey<Self>] = [
    ConfigKey(
      "bind", \.bind, .bindAddress, required: true,
      "The address to listen on; 0.0.0.0 and [::] stand for all."),
    ConfigKey(
      "protocols", \.protocols, .list(of: .applicationProtocol, atLeastOne: true),
      "What clients may speak here, the preferred first. Without this key both under TLS, and"
        + " http/1.1 alone without it; there h2 is for clients that begin with HTTP/2 at once."),
    ConfigKey(
      "backlog", \.backlog, .integer(1...65_535),
      "Connections that may wait to be accepted; the kernel caps it at net.core.somaxconn."),
    ConfigKey(
      "proxy_protocol", \.proxyProtocol, .word([("off", .off), ("accept", .accept)]),
      "accept: every connection begins with a PROXY header, version 1 or 2, and comes from one of"
        + " trusted_proxies (or through a unix socket); others are closed."),
    ConfigKey(
      "tls", \.tls, .whenPresent(.section()),
      "TLS for this listener; without this section it is plain."),
  ]

  static var example: Self {
    var listener = Self()
    listener.bind = EndpointAddress(parsing: "0.0.0.0:8443") ?? listener.bind
    listener.tls = .example
    listener.protocols = Self.protocols(isTLS: true)
    return listener
  }

  mutating func begin(_ node: Node, _ reader: Reader) { location = node.location }

  mutating func validate(_ written: WrittenSection, _ reader: inout Reader) {
    if let node = written["protocols"] {
      reportRepeated(node, &reader)
    } else {
      protocols = Self.protocols(isTLS: tls != nil)
    }
    guard written.areRight("bind"), let node = written["bind"] else { return }
    // Port 0 is a free one, another each time.
    if case .hostPort(let hostPort) = bind, hostPort.port == 0 { return }
    reader.claim(
      "bind \(bind)", at: node.location, otherwise: "another listener is bound to \(bind)")
  }

  private static func protocols(isTLS: Bool) -> [ApplicationProtocol] {
    isTLS ? [.h2, .http11] : [.http11]
  }

  private func reportRepeated(_ node: Node, _ reader: inout Reader) {
    guard case .sequence(let entries) = node.content else { return }
    var seen: Set<String> = []
    for entry in entries {
      guard case .scalar(let text, _) = entry.content, !seen.insert(text).inserted else { continue }
      reader.report(entry.location, "\(quoted(text)) is listed twice")
    }
  }
}

extension ConfigValue<ListenerSettings.ApplicationProtocol> {
  fileprivate static let applicationProtocol = word([("h2", .h2), ("http/1.1", .http11)])
}
