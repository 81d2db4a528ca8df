// The top level of a configuration: which sections there are, and the order they are read in. What
// sections must know of each other is checked here.
import Bytes

/// All sections, before they become a snapshot.
struct RootSettings: ConfigSection {
  /// Only for the reference: `Includes` takes this key out of every file before the rest is read.
  var include: [String] = []
  var workers: Int?
  var watch = false
  var user: UserSettings?
  var coreDumps = false
  var trustedProxies: [WrittenBlock] = []
  var log = LogSettings()
  var admin: AdminSettings?
  var limits = Limits()
  var timeouts = Timeouts()
  var listeners: [ListenerSettings] = []
  var upstreams: [UpstreamSettings] = []
  var routes: [RouteSettings] = []

  // Routes come last: they start from the timeouts and refer to the upstreams.
  static let keys: [ConfigKey<Self>] = [
    ConfigKey(
      "include", \.include, .list(of: .includePattern),
      "More files, relative to this one. Their lists are appended, their sections are merged."),
    ConfigKey(
      "workers", \.workers, .word("auto", or: .integer(1...1024)),
      "Threads that carry connections; auto: as many as the cores this process may use."),
    ConfigKey(
      "watch", \.watch, .boolean,
      "Reload when this file, one it includes, a certificate or a key changes, without a signal."),
    ConfigKey(
      "user", \.user, .optional(.user),
      "Started as root, the gateway becomes this user once its ports are bound and its keys are"
        + " read; files that a reload reads must then be readable for it or for this group. In every"
        + " case it gives up all capabilities but the one to bind ports below 1024."),
    ConfigKey(
      "core_dumps", \.coreDumps, .boolean,
      "Let the system write the memory of a crash to a file, and debuggers look into it. It holds"
        + " private keys and what clients send."),
    ConfigKey(
      "trusted_proxies", \.trustedProxies, .list(of: .addressBlock),
      "Peers whose X-Forwarded-* fields and PROXY headers count. Everybody else's fields are"
        + " replaced."),
    ConfigKey("log", \.log, .section(), "What is logged, one JSON object per line."),
    ConfigKey(
      "admin", \.admin, .whenPresent(.section()),
      "Health, metrics and control of the running gateway; without this section there is none."),
    ConfigKey(
      "listeners", \.listeners, .list(of: .section(), atLeastOne: true), required: true,
      "Where clients connect."),
    ConfigKey(
      "upstreams", \.upstreams, .upstreams, required: true,
      "The backends, by names that routes refer to."),
    ConfigKey(
      "limits", \.limits, .globalLimits, "Bounds on what clients and backends can take up."),
    ConfigKey("timeouts", \.timeouts, .globalTimeouts, "How long the gateway waits for what."),
    ConfigKey(
      "routes", \.routes, .list(of: .section(), atLeastOne: true), required: true,
      "Which requests go where. The most specific wins: an exact host before *.host before any;"
        + " then the longest path; then the order here."),
  ]

  static var example: Self {
    var root = Self()
    root.include = ["conf.d/*.yaml"]
    root.admin = .example
    root.user = UserSettings(name: "bascule", group: nil)
    root.trustedProxies = [WrittenBlock(parsing: "10.0.0.0/8")].compactMap(\.self)
    root.listeners = [.example]
    root.upstreams = [.example]
    root.routes = RouteSettings.examples
    return root
  }

  mutating func validate(_ written: WrittenSection, _ reader: inout Reader) {
    var indexes: [String: Int] = [:]
    for (index, upstream) in upstreams.enumerated() { indexes[upstream.name] = index }
    for index in routes.indices {
      // A name that is missing has been reported, and nothing comes of the whole.
      routes[index].upstream = indexes[routes[index].upstreamName] ?? 0
    }
    warnOfIdleUpstreams(written, &reader)
    warnOfLoops(&reader)
    warnOfWideBlocks(&reader)
    guard written.areRight("trusted_proxies", "listeners"), trustedProxies.isEmpty else { return }
    for listener in listeners where listener.proxyProtocol == .accept {
      if case .unix = listener.bind { continue }
      reader.report(
        listener.location,
        "proxy_protocol: accept needs trusted_proxies: who else may say where clients are?")
    }
  }

  private func warnOfLoops(_ reader: inout Reader) {
    let services = routes.compactMap(\.authorize?.url).map {
      EndpointSettings(address: .hostPort($0.address), location: $0.location)
    }
    for endpoint in upstreams.flatMap(\.endpoints) + services {
      guard let listener = listeners.first(where: { $0.bind.receives(endpoint.address) }) else {
        continue
      }
      reader.warn(
        endpoint.location,
        "\(endpoint.address) is this gateway itself, which listens on \(listener.bind): what goes"
          + " there comes back in a circle")
    }
  }

  private func warnOfWideBlocks(_ reader: inout Reader) {
    for written in trustedProxies {
      let address = String(written.text.prefix { $0 != "/" })
      if written.block.prefix == 0 {
        reader.warn(
          written.location,
          "\(written.text) is everybody: every client may then say in its fields who it is; write"
            + " the addresses of the proxies in front")
      } else if let address = IPAddress(parsing: address), address != written.block.first {
        reader.warn(
          written.location,
          "\(written.text) is the whole network \(written.block): write that, or \(address) for this"
            + " address alone")
      }
    }
  }

  private func warnOfIdleUpstreams(_ written: WrittenSection, _ reader: inout Reader) {
    guard case .mapping(let entries)? = written["upstreams"]?.content else { return }
    let used = Set(routes.map(\.upstreamName))
    for entry in entries where !used.contains(entry.key) {
      reader.warn(
        entry.keyLocation,
        "no route has upstream: \(entry.key), so nothing goes there; add a route, or remove it")
    }
  }
}

/// A block of addresses, and how and where it was written.
struct WrittenBlock: Sendable {
  var text: String
  var block: AddressBlock
  var location: SourceLocation

  init?(parsing text: String, location: SourceLocation = SourceLocation()) {
    guard let block = AddressBlock(parsing: text) else { return nil }
    self.location = location
    self.text = text
    self.block = block
  }
}

extension ConfigValue<WrittenBlock> {
  static let addressBlock = located(
    "an address or a block of addresses", form: "ADDRESS or ADDRESS/PREFIX",
    schema: .text("[0-9A-Fa-f.:]+(?:/[0-9]{1,3})?"), show: \.text
  ) { (text, place) throws(Complaint) in
    guard let block = WrittenBlock(parsing: text, location: place) else {
      throw Complaint(
        text, isNot: "an address or a block of addresses, such as 10.0.0.0/8 or 2001:db8::/32")
    }
    return block
  }
}
