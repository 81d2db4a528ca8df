// The `limits` section: a bound with a name for everything a peer can make grow.

/// Global limits (behaviour.md 9).
public struct Limits: Sendable, Equatable {
  /// Bytes of a request head, its line included.
  public var requestHead = 32 * 1024
  /// Bytes of a request line.
  public var requestLine = 8 * 1024
  public var requestFields = 100
  /// What a route may set for itself.
  public var route = RouteLimits()
  /// Bytes of a backend's response head.
  public var responseHead = 64 * 1024
  public var responseFields = 200
  /// Sockets of clients and to backends; nil: what the descriptor limit carries, at most 65,536.
  public var connections: Int?
  public var memory = MemoryLimit.auto
  /// Connections of one client address; nil: unlimited.
  public var perAddress: Int?
  /// Upgrade handshakes in flight.
  public var handshakes = 1024
  /// Pings a client may send at once, and then per second, before it is closed with 1008.
  public var pingBurst = 50
  public var pingRate = 10
  public var http2 = HTTP2LimitSettings()

  public init() {}
}

extension Limits: ConfigSection {
  static let keys: [ConfigKey<Self>] = ownKeys + http2Keys

  private static let ownKeys: [ConfigKey<Self>] = [
    ConfigKey(
      "request_head", \.requestHead, .size(1024...1_048_576),
      "A request head of HTTP/1.1, its line included; longer ones get 431."),
    ConfigKey(
      "request_line", \.requestLine, .size(256...1_048_576),
      "A request line; longer ones get 414. Also the path of an HTTP/2 request."),
    ConfigKey(
      "request_fields", \.requestFields, .integer(8...10_000),
      "Fields of a request head; more get 431."),
    ConfigKey(
      "request_body", \.route.requestBody, .word("off", or: .size(0...(1 << 40))),
      "A request body; larger ones get 413. Also per route."),
    ConfigKey(
      "response_head", \.responseHead, .size(1024...1_048_576),
      "A response head of a backend; for longer ones the client gets 502."),
    ConfigKey(
      "response_fields", \.responseFields, .integer(8...10_000),
      "Fields of a response head."),
    ConfigKey(
      "connections", \.connections, .word("auto", or: .integer(16...1_048_576)),
      "Clients at once, each with a connection to a backend of its own; auto: what the"
        + " descriptor limit carries, at most 65536."),
    ConfigKey(
      "memory", \.memory, .memoryLimit,
      "Memory. From 90 % of it new connections and WebSockets are refused with 503, from 95 % idle"
        + " connections are closed as well, and below 85 % all is served again; auto: what the"
        + " control group (a container) may have, otherwise off."),
    ConfigKey(
      "per_address", \.perAddress, .word("off", or: .integer(1...1_048_576)),
      "Connections of one client address."),
    ConfigKey(
      "handshakes", \.handshakes, .integer(1...1_048_576),
      "WebSocket handshakes in flight; more get 503."),
    ConfigKey(
      "client_ping_burst", \.pingBurst, .integer(1...1_000_000),
      "Pings a client may send at once before it is closed with 1008."),
    ConfigKey(
      "client_ping_rate", \.pingRate, .integer(1...1_000_000),
      "Pings per second a client may send for long."),
  ]

  mutating func validate(_ written: WrittenSection, _ reader: inout Reader) {
    if written.areRight("request_line", "request_head"), requestLine > requestHead {
      let node = written["request_line"] ?? written["request_head"] ?? written.node
      reader.report(
        node.location,
        "\(mention("request_line", requestLine, written)) does not fit into"
          + " \(mention("request_head", requestHead, written)): set both")
    }
    http2.validate(written, &reader)
  }

  /// The other half of a contradiction may be a default that the writer has never seen.
  private func mention(_ key: String, _ bytes: Int, _ written: WrittenSection) -> String {
    let origin = written[key] == nil ? ", its default" : ""
    return "limits.\(key) (\(bytes) bytes\(origin))"
  }
}

/// What the process should not exceed.
public enum MemoryLimit: Sendable, Equatable {
  /// The limit of the control group, where there is one.
  case auto
  case off
  case bytes(UInt64)

  /// As two words before a size are read: nil for the first, nil inside for the second.
  fileprivate init(_ written: UInt64??) {
    self =
      switch written {
      case .none: .auto
      case .some(.none): .off
      case .some(.some(let bytes)): .bytes(bytes)
      }
  }

  fileprivate var written: UInt64?? {
    switch self {
    case .auto: .none
    case .off: .some(nil)
    case .bytes(let bytes): bytes
    }
  }
}

extension ConfigValue<MemoryLimit> {
  static var memoryLimit: Self {
    let value = ConfigValue<UInt64??>.word("auto", or: .word("off", or: .size(1 << 20...1 << 50)))
    return ConfigValue(syntax: value.syntax, form: value.form, schema: value.schema) {
      node, _, reader in
      value.read(node, nil, &reader).map { MemoryLimit($0) }
    } show: {
      value.show($0.written)
    }
  }
}

/// The limits that a route may set for itself.
public struct RouteLimits: Sendable, Equatable {
  /// Bytes of a request body; nil: unlimited.
  public var requestBody: UInt64?

  public init() {}
}

extension RouteLimits: ConfigSection {
  static let keys: [ConfigKey<Self>] = [
    ConfigKey(
      "request_body", \.requestBody, .word("off", or: .size(0...(1 << 40))),
      "A request body; larger ones get 413.")
  ]
}

extension ConfigValue<Limits> {
  /// The global section, which the routes then start from.
  static var globalLimits: Self {
    let section = Self.section()
    return ConfigValue(
      syntax: section.syntax, form: "", keys: section.keys, schema: section.schema
    ) { node, current, reader in
      let limits = section.read(node, current, &reader)
      if let limits { reader.routeLimits = limits.route }
      return limits
    } show: {
      section.show($0)
    }
  }
}

extension ConfigValue<RouteLimits> {
  /// Without the help, which stands at the global section.
  static var routeLimits: Self {
    let section = Self.section(
      elsewhere: (
        Limits.keys.map(\.name),
        "it can only be set for the whole gateway, in \"limits\" at the top level"
      ))
    return ConfigValue(
      syntax: section.syntax, form: "", keys: section.keys, schema: section.schema,
      read: section.read
    ) { limits in
      guard case .section(let keys) = section.show(limits) else { return .absent }
      return .section(keys.map { ShownKey(name: $0.name, comment: "", value: $0.value) })
    }
  }
}
