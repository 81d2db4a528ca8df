// One entry of `listeners`: where clients connect, and how.
public import Bytes

/// A bound socket.
public struct ListenerSettings: Sendable, Equatable {
  public enum ApplicationProtocol: Sendable, Equatable { case http11 }

  public var bind: EndpointAddress
  /// In the order of preference.
  public var protocols = [ApplicationProtocol.http11]
  /// Pending connections the kernel may queue; it caps this at net.core.somaxconn.
  public var backlog = 4096
  /// nil: plain TCP.
  public var tls: TLSSettings?
  public var location = SourceLocation()

  public init(bind: EndpointAddress) { self.bind = bind }
}

extension ListenerSettings: ConfigSection {
  /// `bind` is required, so that this placeholder never leaves the loader.
  init() { self.init(bind: .unix("")) }

  static let keys: [ConfigKey<Self>] = [
    ConfigKey(
      "bind", \.bind, .endpoint, required: true,
      "The address to listen on; 0.0.0.0 and [::] stand for all."),
    ConfigKey(
      "protocols", \.protocols, .list(of: .applicationProtocol, atLeastOne: true),
      "What clients may speak here, the preferred first."),
    ConfigKey(
      "backlog", \.backlog, .integer(1...65_535),
      "Connections that may wait to be accepted; the kernel caps it at net.core.somaxconn."),
    ConfigKey(
      "tls", \.tls, .whenPresent(.section()),
      "TLS for this listener; without this section it is plain."),
  ]

  static var example: Self {
    var listener = Self()
    listener.bind = EndpointAddress(parsing: "0.0.0.0:8443") ?? listener.bind
    listener.tls = .example
    return listener
  }

  mutating func begin(_ node: Node, _ reader: Reader) { location = node.location }

  mutating func validate(_ written: WrittenSection, _ reader: inout Reader) {
    guard written.areRight("bind"), let node = written["bind"] else { return }
    reader.claim(
      "bind \(bind)", at: node.location, otherwise: "another listener is bound to \(bind)")
  }
}

extension ConfigValue<EndpointAddress> {
  static let endpoint = endpoint(minimumPort: 0)

  static func endpoint(minimumPort: UInt16) -> Self {
    text("an address with a port", form: "HOST:PORT or unix:/PATH", show: { "\($0)" }) {
      (text) throws(Complaint) in
      guard let address = EndpointAddress(parsing: text) else {
        throw Complaint(
          "\(quoted(text)) is not an address with a port, such as 127.0.0.1:8080,"
            + " name.example:8080, \"[::1]:8080\" or unix:/run/name.sock")
      }
      if case .hostPort(let hostPort) = address, hostPort.port < minimumPort {
        throw Complaint("\(quoted(text)) has port 0, which cannot be connected to")
      }
      return address
    }
  }
}

extension ConfigValue<ListenerSettings.ApplicationProtocol> {
  fileprivate static let applicationProtocol = text("http/1.1", show: { _ in "http/1.1" }) {
    (text) throws(Complaint) in
    switch text {
    case "http/1.1": return .http11
    case "h2": throw Complaint("this version does not speak HTTP/2 yet: write [http/1.1]")
    default: throw Complaint("\(quoted(text)) is not a protocol known here: write [http/1.1]")
    }
  }
}
