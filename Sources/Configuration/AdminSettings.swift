// The `admin` section: where operators and their tools ask how the gateway is, and tell it what to do.
public import Bytes

/// The admin listener.
public struct AdminSettings: Sendable, Equatable {
  public var bind: EndpointAddress
  /// What everybody but probes must show; nil: whoever can connect may ask.
  public var token: String?
  /// Hosts that requests may name, beside the address itself and localhost. In lower case.
  public var hosts: [String] = []
  /// Not ready while a route has no endpoint to ask.
  public var readyRequiresEndpoints = true
  public var location = SourceLocation()

  public init(bind: EndpointAddress) { self.bind = bind }
}

extension AdminSettings: ConfigSection {
  /// `bind` is required, so that this placeholder never leaves the loader.
  init() { self.init(bind: .unix("")) }

  static let mainKeys = ["bind"]

  static let keys: [ConfigKey<Self>] = [
    ConfigKey(
      "bind", \.bind, .bindAddress, required: true,
      "The address to listen on. Beyond this machine it needs a token, and should have TLS in front."
    ),
    ConfigKey(
      "token", \.token, .optional(.adminToken),
      "Requests must have it in `Authorization: Bearer`; /healthz and /readyz need none."),
    ConfigKey(
      "hosts", \.hosts, .list(of: .adminHost),
      "Names that requests may use for this listener in Host, beside its address and localhost. Pages"
        + " of other names could otherwise reach it through a browser on this machine."),
    ConfigKey(
      "ready_requires_endpoints", \.readyRequiresEndpoints, .boolean,
      "/readyz says 503 while a route has no endpoint that may be asked."),
  ]

  static var example: Self {
    var admin = Self()
    admin.bind = EndpointAddress(parsing: "127.0.0.1:9900") ?? admin.bind
    admin.token = "put-a-long-random-text-here"
    admin.hosts = ["gateway.internal"]
    return admin
  }

  mutating func begin(_ node: Node, _ reader: Reader) { location = node.location }

  mutating func validate(_ written: WrittenSection, _ reader: inout Reader) {
    guard written.areRight("bind"), let node = written["bind"] else { return }
    if written.areRight("token"), token == nil, !isLocal {
      reader.report(
        node.location,
        "\(bind) can be reached from other machines: add a token here, or bind 127.0.0.1 or a unix"
          + " socket")
    }
    // Port 0 is a free one, another each time.
    if case .hostPort(let hostPort) = bind, hostPort.port == 0 { return }
    reader.claim(
      "bind \(bind)", at: node.location, otherwise: "a listener is bound to \(bind)")
  }

  private var isLocal: Bool {
    switch bind {
    case .unix: return true
    case .hostPort(let hostPort): return hostPort.isLoopback
    }
  }
}

extension ConfigValue<String> {
  private static var tokenBytes: ClosedRange<Int> { 16...1024 }

  /// Never part of a message.
  fileprivate static let adminToken = text(
    "a token of 16 to 1024 visible characters", form: "16 to 1024 characters",
    schema: .text("[!-~]{16,1024}", orNumber: true), show: { $0 }
  ) { (text) throws(Complaint) in
    guard tokenBytes.contains(text.utf8.count), text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F })
    else {
      throw Complaint(
        "this is not a token of 16 to 1024 visible ASCII characters, such as the output of:"
          + " openssl rand -hex 32")
    }
    return text
  }.hidden

  fileprivate static let adminHost = text(
    "a name or an address", form: "NAME", schema: .anyText, show: { $0 }
  ) { (text) throws(Complaint) in
    let bytes = Array(text.utf8)
    guard let authority = Authority(parsing: bytes.span), authority.port == nil else {
      throw Complaint(text, isNot: "a name or an address without a port, such as gateway.internal")
    }
    return authority.host
  }
}
