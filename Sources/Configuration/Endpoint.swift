// An address with its port as a value of the configuration, and what is said about a text that is
// none: most are a URL, a port alone or a host alone. `Bytes` decides what an address is.
import Bytes

extension ConfigValue<EndpointAddress> {
  /// To listen on. Port 0: any free one.
  static let bindAddress = text(
    "an address with a port", form: "HOST:PORT or unix:/PATH", schema: .text(Schema.address),
    show: { "\($0)" }
  ) { (text) throws(Complaint) in
    if let address = EndpointAddress(parsing: text) { return address }
    // `8080`, `:8080` and `*:8080` are how others write "on every address".
    let port = text.drop { $0 == "*" }.drop { $0 == ":" }
    guard EndpointAddress(parsing: "0.0.0.0:\(port)") != nil else {
      throw Complaint(complaint(text) { _ in "paths are for routes" })
    }
    throw Complaint(
      "\(quoted(text)) has no address before the port: write 0.0.0.0:\(port) for all of this"
        + " machine, or 127.0.0.1:\(port) for programs on it alone")
  }

  /// To connect to.
  static let endpoint = text(
    "an address with a port", form: "HOST:PORT or unix:/PATH", schema: .text(Schema.address),
    show: { "\($0)" }
  ) { (text) throws(Complaint) in
    guard let address = EndpointAddress(parsing: text) else {
      throw Complaint(
        complaint(text) { "for the path, rewrite: {add_prefix: \($0)} in the route" })
    }
    if case .hostPort(let hostPort) = address, hostPort.port == 0 {
      throw Complaint("\(quoted(text)) has port 0, which cannot be connected to")
    }
    return address
  }

  /// What is wrong with `text`, and what was probably meant. `pathAdvice`: what becomes of a path.
  private static func complaint(_ text: String, pathAdvice: (Substring) -> String) -> String {
    if let url = URLParts(text) { return url.complaint(text, pathAdvice) }
    if text.hasPrefix("unix:") {
      let most = EndpointAddress.unixPathBytesMax
      return "\(quoted(text)) is not unix: and an absolute path of at most \(most) bytes"
    }
    let port = text.utf8.reversed().prefix { ASCII.isDigit($0) }.count
    let host = text.dropLast(port)
    if host.hasSuffix(":"), port > 0, UInt16(text.suffix(port)) == nil {
      return "port \(text.suffix(min(port, 20))) is out of range: 1 to 65535"
    }
    let address = text.prefix { $0 != "/" }
    if address.count < text.count, EndpointAddress(parsing: String(address)) != nil {
      let path = text.dropFirst(address.count)
      let advice = path == "/" ? "" : "; \(pathAdvice(path))"
      return "\(quoted(text)) has a path: write \(address) alone\(advice)"
    }
    if text.utf8.count(where: { $0 == UInt8(ascii: ":") }) > 1, !text.hasPrefix("[") {
      return "\(quoted(text)) is not an address with a port: IPv6 stands in brackets and quotes,"
        + " such as \"[::1]:8080\""
    }
    if !text.isEmpty, EndpointAddress(parsing: "\(text):80") != nil {
      return "\(quoted(text)) has no port: write \(text):PORT"
    }
    return "\(quoted(text)) is not an address with a port, such as 127.0.0.1:8080,"
      + " name.example:8080, \"[::1]:8080\" or unix:/run/name.sock"
  }
}

extension HostPort {
  /// Reached by programs on this machine alone.
  var isLoopback: Bool {
    switch literal {
    case .v4(let value): value >> 24 == 127
    case .v6(let high, let low): high == 0 && low == 1
    case nil: host == "localhost"
    }
  }
}

extension EndpointAddress {
  /// Whether what is bound to this gets what connects to `address`, as far as that can be read.
  func receives(_ address: EndpointAddress) -> Bool {
    guard self != address else { return true }
    guard case .hostPort(let own) = self, case .hostPort(let other) = address,
      own.port == other.port
    else { return false }
    return own.literals.contains { mine in other.literals.contains { mine.receives($0) } }
  }
}

extension HostPort {
  fileprivate var literals: [IPAddress] {
    host == "localhost" ? [.v4(0x7F00_0001), .v6(high: 0, low: 1)] : literal.map { [$0] } ?? []
  }
}

extension IPAddress {
  /// To connect to "every address" is to connect to this machine.
  fileprivate func receives(_ other: IPAddress) -> Bool {
    switch (self, other) {
    case (.v4(0), .v4(let value)): value == 0 || value >> 24 == 127
    case (.v4(0x7F00_0001), .v4(0)): true
    case (.v6(high: 0, low: 0...1), .v6(high: 0, low: 0...1)):
      self == other || self == .v6(high: 0, low: 0) || other == .v6(high: 0, low: 0)
    default: self == other
    }
  }
}

/// The parts of `scheme://host:port/path` that matter here.
private struct URLParts {
  let scheme: String
  let authority: Substring
  let path: Substring

  init?(_ text: String) {
    guard let mark = text.firstRange(of: "://") else { return nil }
    scheme = text[..<mark.lowerBound].lowercased()
    authority = text[mark.upperBound...].prefix { !"/?#".contains($0) }
    path = text[mark.upperBound...].dropFirst(authority.count).prefix { !"?#".contains($0) }
  }

  func complaint(_ text: String, _ pathAdvice: (Substring) -> String) -> String {
    let isTLS = ["https", "wss"].contains(scheme)
    let candidates = ["\(authority)", "\(authority):\(isTLS ? 443 : 80)"]
    let meant = candidates.compactMap(EndpointAddress.init(parsing:)).first
    var advice = "\(quoted(text)) is a URL: write \(meant.map { "\($0)" } ?? "HOST:PORT") alone"
    if isTLS { advice += ", and a tls section beside it for TLS" }
    return path.count > 1 ? "\(advice); \(pathAdvice(path))" : advice
  }
}
