// What a route does other than pass a request on: answer it itself, with a redirect or with a fixed
// response; and how it rewrites the path of what it does pass on. Everything that would lead a client
// in a circle, or a backend to another path than was meant, is refused here.
import Bytes

/// Changes of the path on the way to the backend. Both are empty or begin with `/` and do not end
/// with it.
public struct RewriteSettings: Sendable, Equatable {
  public var stripPrefix = ""
  public var addPrefix = ""

  public init(stripPrefix: String = "", addPrefix: String = "") {
    self.stripPrefix = stripPrefix
    self.addPrefix = addPrefix
  }
}

extension RewriteSettings: ConfigSection {
  init() { self.init(stripPrefix: "") }

  static let keys: [ConfigKey<Self>] = [
    ConfigKey(
      "strip_prefix", \.stripPrefix, .pathPrefix,
      "Taken off the path. The route's own path must begin with it."),
    ConfigKey(
      "add_prefix", \.addPrefix, .pathPrefix,
      "Put in front of the path, after strip_prefix was taken off."),
  ]

  static var example: Self { Self(stripPrefix: "/ws", addPrefix: "/chat") }
}

/// Where a route sends clients.
public struct RedirectSettings: Sendable, Equatable {
  public enum Target: Sendable, Equatable {
    /// The same address under https. Only requests that came without TLS take such a route.
    case https(port: UInt16)
    /// An absolute URL, or a path with query and fragment: written as it is.
    case fixed(String)
  }

  public var target: Target
  /// nil: `defaultStatus`.
  public var status: UInt16?

  public init(target: Target, status: UInt16? = nil) {
    self.target = target
    self.status = status
  }

  /// 308 keeps method and body. A fixed target may be a mistake, so that browsers must not keep it.
  public var defaultStatus: UInt16 { isForPlain ? 308 : 302 }

  /// Only requests that came without TLS are meant.
  public var isForPlain: Bool { if case .https = target { true } else { false } }
}

extension RedirectSettings: ConfigSection {
  /// `to` is required, so that this placeholder never leaves the loader.
  init() { self.init(target: .fixed("")) }

  static let keys: [ConfigKey<Self>] = [
    ConfigKey(
      "to", \.target, .redirectTarget, required: true,
      "https: the same address with TLS, for requests that came without; or a URL or a path, as it"
        + " is."),
    ConfigKey(
      "status", \.status, .optional(.redirectStatus),
      "Without this key 308 for https and 302 otherwise."),
  ]

  static var example: Self { Self(target: .https(port: 443), status: 308) }
}

/// A response that never changes.
public struct RespondSettings: Sendable, Equatable {
  public var status: UInt16 = 200
  public var body = ""
  public var contentType = "text/plain; charset=utf-8"

  public init() {}

  /// RFC 9110 section 6.4.1, of the statuses that can be written.
  public var hasNoBody: Bool { status == 204 || status == 205 }
}

extension RespondSettings: ConfigSection {
  static let mainKeys = ["status"]

  static let keys: [ConfigKey<Self>] = [
    ConfigKey("status", \.status, .responseStatus, "Its status."),
    ConfigKey("body", \.body, .bodyText, "Its body."),
    ConfigKey("content_type", \.contentType, .contentType, "What the body is."),
  ]

  static var example: Self {
    var respond = Self()
    respond.body = "alive\n"
    return respond
  }

  mutating func validate(_ written: WrittenSection, _ reader: inout Reader) {
    guard written.areRight("status", "body"), hasNoBody, !body.isEmpty else { return }
    let node = written["body"] ?? written.node
    reader.report(node.location, "a response of status \(status) has no body (RFC 9110)")
  }
}

// MARK: Values

extension ConfigValue<RedirectSettings?> {
  /// Its target alone, or a section.
  static var redirect: Self {
    let target = ConfigValue<RedirectSettings.Target>.redirectTarget
    let section = Self.whenPresent(ConfigValue<RedirectSettings>.section())
    return ConfigValue(
      syntax: target.syntax, form: target.form, keys: section.keys,
      schema: target.schema.or(section.schema)
    ) { node, _, reader in
      if case .scalar = node.content, !node.isNull {
        return target.read(node, nil, &reader).map { .some(RedirectSettings(target: $0)) }
      }
      return section.read(node, nil, &reader)
    } show: { value in
      guard let value, value.status == nil else { return section.show(value) }
      return target.show(value.target)
    }
  }
}

extension ConfigValue<String> {
  /// Whole segments. `/` alone is no segment, which is "".
  fileprivate static let pathPrefix = text(
    "a path such as /chat", form: "/PATH", schema: .text(Schema.path),
    show: { $0.isEmpty ? "/" : $0 }
  ) { (text) throws(Complaint) in
    try PathPattern.check(text)
    if text.contains("//") { throw Complaint("the path \(quoted(text)) has an empty segment") }
    return text.hasSuffix("/") ? String(text.dropLast()) : text
  }

  fileprivate static var bodyText: Self {
    let bytesMax = 65_536
    return text("a text", form: "TEXT", schema: .anyText, show: { $0.isEmpty ? nil : $0 }) {
      (text) throws(Complaint) in
      guard text.utf8.count <= bytesMax else {
        throw Complaint("this body has \(text.utf8.count) bytes; at most \(bytesMax) can be given")
      }
      return text
    }
  }

  fileprivate static let contentType = text(
    "a media type such as text/html; charset=utf-8", form: "TYPE/SUBTYPE",
    schema: .text("\(Schema.token)/\(Schema.token) *(?:;.*)?"), show: { $0 }
  ) { (text) throws(Complaint) in
    let type = text.prefix { $0 != ";" }.split(separator: "/", omittingEmptySubsequences: false)
    let isVisible = text.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7F }
    let names = type.map { $0.utf8.reversed().drop { $0 == 0x20 } }
    guard isVisible, names.count == 2,
      names.allSatisfy({ !$0.isEmpty && $0.allSatisfy(ASCII.isTokenByte) })
    else { throw Complaint(text, isNot: "a media type such as text/html; charset=utf-8") }
    return text
  }
}

extension ConfigValue<UInt16> {
  fileprivate static let redirectStatus = word([
    ("301", 301), ("302", 302), ("303", 303), ("307", 307), ("308", 308),
  ])

  fileprivate static let responseStatus = text(
    "a status from 200 to 599", form: "200 to 599",
    schema: .integer(200...299, 400...599), show: { "\($0)" }
  ) { (text) throws(Complaint) in
    guard text.utf8.count == 3, let status = UInt16(text), (200...599).contains(status) else {
      throw Complaint(text, isNot: "a status from 200 to 599")
    }
    if (300...399).contains(status) {
      throw Complaint("a response of status \(status) needs a target: write redirect instead")
    }
    return status
  }
}

extension ConfigValue<RedirectSettings.Target> {
  fileprivate static let redirectTarget = text(
    "https, a URL or a path", form: "https | https:PORT | URL | /PATH",
    schema: .words(["https"])
      .or(.text("https:[0-9]{1,5}", #"[Hh][Tt][Tt][Pp][Ss]?://\S+"#, #"/\S*"#)),
    show: written
  ) { (text) throws(Complaint) in
    if text == "https" { return .https(port: 443) }
    try checkHabits(text)
    if text.hasPrefix("https:"), !text.hasPrefix("https:/") {
      let digits = Array(text.dropFirst(6).utf8)
      guard let port = ASCII.port(digits.span) else {
        throw Complaint(text, isNot: "https and a port, such as https:8443")
      }
      return .https(port: port)
    }
    try checkLocation(text)
    return .fixed(text)
  }

  @Sendable private static func written(_ target: RedirectSettings.Target) -> String {
    switch target {
    case .https(let port): port == 443 ? "https" : "https:\(port)"
    case .fixed(let text): text
    }
  }

  /// Others write a status before the target, and variables into it.
  private static func checkHabits(_ text: String) throws(Complaint) {
    let words = text.split(separator: " ")
    let status = words.count == 2 && (300...399).contains(Int(words[0]) ?? 0) ? words[0] : nil
    let target = status == nil ? text[...] : words[1]
    let authority = target.firstRange(of: "://").map {
      target[$0.upperBound...].prefix { $0 != "/" }
    }
    if target.hasPrefix("$") || authority?.contains("$") == true {
      throw Complaint(
        "\(quoted(text)) has a variable, and there are no variables here: write redirect: https for"
          + " the same address with TLS, or {to: URL, status: \(status ?? "301")} with a URL as it"
          + " is")
    }
    if let status {
      throw Complaint(
        "\(quoted(text)) is not a target alone: write {to: \(target), status: \(status)}")
    }
  }

  private static func checkLocation(_ text: String) throws(Complaint) {
    guard text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && !#""<>\^`{|}"#.utf8.contains($0) })
    else { throw Complaint("\(quoted(text)) has a character that must be percent-encoded") }
    if text.hasPrefix("/") {
      // Browsers take `//name` for another host.
      guard text.hasPrefix("//") else { return }
      throw Complaint("\(quoted(text)) begins with //: write the URL with its scheme, or one /")
    }
    let lowered = text.lowercased()
    guard let scheme = ["https://", "http://"].first(where: lowered.hasPrefix) else {
      let hint = NearestName.hint(for: text, among: ["https"])
      throw Complaint(
        "\(quoted(text)) is not https, a URL such as https://www.example.com/ or a path\(hint)")
    }
    let authority = Array(text.dropFirst(scheme.count).prefix { !"/?#".contains($0) }.utf8)
    if Authority(parsing: authority.span) == nil {
      throw Complaint("\(quoted(text)) has no host that could be connected to")
    }
  }
}
