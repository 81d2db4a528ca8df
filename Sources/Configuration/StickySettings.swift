// How one client is told from another, for balancing: the `hash` key and the `sticky` section of an
// upstream.
import Bytes

/// What of a request tells its client from others.
public enum ClientKey: Sendable, Equatable {
  /// The client's own, behind trusted proxies as well.
  case address
  /// Name in lower case.
  case header(String)
  case cookie(String)
}

/// The same client goes to the same endpoint. At least one of `cookie`, `header` and `byAddress` is
/// there; of those the first that the request offers decides.
public struct StickySettings: Sendable, Equatable {
  public enum SameSite: Sendable, Equatable { case lax, strict, none }
  /// What happens when the client's endpoint is down or full.
  public enum WhenDown: Sendable, Equatable { case next, refuse }

  /// Name of a cookie that the gateway sets.
  public var cookie: String?
  /// Name of a field, in lower case.
  public var header: String?
  public var byAddress = false
  /// What the cookie's value is made with; nil: something random, made at start.
  public var secret: String?
  public var sameSite = SameSite.lax
  public var whenDown = WhenDown.next

  public init() {}
}

extension StickySettings: ConfigSection {
  static let mainKeys = ["cookie"]

  static let keys: [ConfigKey<Self>] = [
    ConfigKey(
      "cookie", \.cookie, .optional(.cookieName),
      "The gateway sets this cookie, which says where the client was before."),
    ConfigKey(
      "header", \.header, .optional(.keyFieldName),
      "Without such a cookie, requests with the same value in this field go together."),
    ConfigKey(
      "client_address", \.byAddress, .boolean,
      "Without either, requests of the same address go together."),
    ConfigKey(
      "secret", \.secret, .optional(.secret),
      "Makes the cookie's value. Gateways with the same secret and endpoints understand each"
        + " other's cookies; without it they are worth nothing after a restart."),
    ConfigKey(
      "same_site", \.sameSite, .word([("lax", .lax), ("strict", .strict), ("none", .none)]),
      "SameSite of the cookie; browsers take none over TLS only."),
    ConfigKey(
      "when_down", \.whenDown, .word([("next", .next), ("refuse", .refuse)]),
      "When the client's endpoint is down or full: next: another one; refuse: 503."),
  ]

  static var example: Self {
    var sticky = Self()
    sticky.cookie = "BASCULE_CHAT"
    sticky.header = "x-session"
    sticky.secret = "put a long random text here"
    return sticky
  }

  mutating func validate(_ written: WrittenSection, _ reader: inout Reader) {
    guard written.areRight("cookie", "header", "client_address") else { return }
    if cookie == nil, header == nil, !byAddress {
      reader.report(
        written.node.location, "nothing to go by: set cookie, header or client_address: true here")
    }
    if cookie == nil, let node = written["secret"] {
      reader.report(node.location, "secret belongs to a cookie, and there is none here")
    }
  }
}

extension ConfigValue<ClientKey> {
  static let clientKey = key(
    "client_address, header NAME or cookie NAME",
    form: "client_address | header NAME | cookie NAME",
    words: ["client_address", "header", "cookie"])

  /// What a client shows, and nobody else has.
  static let tokenKey = key(
    "header NAME or cookie NAME", form: "header NAME | cookie NAME", words: ["header", "cookie"])

  private static func key(_ syntax: String, form: String, words: [String]) -> Self {
    let named = Schema.text(" *(?:header|cookie) +\(Schema.token) *")
    let schema = words.contains("client_address") ? .words(["client_address"]).or(named) : named
    return text(syntax, form: form, schema: schema, show: written) { (text) throws(Complaint) in
      let parts = text.split(separator: " ").map { String($0) }
      let word = parts.first ?? ""
      switch (word, parts.count) {
      case ("client_address", 1) where words.contains(word): return .address
      case ("header", 2): return .header(try fieldName(parts[1]))
      case ("cookie", 2): return .cookie(try token(parts[1], "the name of a cookie"))
      default:
        let hint = words.contains(word) ? "" : NearestName.hint(for: word, among: words)
        throw Complaint("\(quoted(text)) is not \(syntax)\(hint)")
      }
    }
  }

  @Sendable private static func written(_ key: ClientKey) -> String {
    switch key {
    case .address: "client_address"
    case .header(let name): "header \(name)"
    case .cookie(let name): "cookie \(name)"
    }
  }
}

extension ConfigValue<String> {
  fileprivate static let cookieName = text(
    "the name of a cookie", form: "NAME", schema: .text(Schema.token, orNumber: true), show: { $0 }
  ) { (text) throws(Complaint) in
    try token(text, "the name of a cookie")
  }

  fileprivate static let keyFieldName = text(
    "the name of a field", form: "NAME", schema: .text(Schema.token, orNumber: true), show: { $0 }
  ) { (text) throws(Complaint) in
    try fieldName(text)
  }

  private static var secretBytes: ClosedRange<Int> { 16...1024 }

  /// Never part of a message.
  fileprivate static let secret = text(
    "a text of 16 to 1024 bytes", form: "16 to 1024 bytes", schema: .anyText, show: { $0 }
  ) { (text) throws(Complaint) in
    guard secretBytes.contains(text.utf8.count) else {
      throw Complaint(
        "this secret has \(text.utf8.count) bytes: use \(secretBytes.lowerBound) to"
          + " \(secretBytes.upperBound), such as the output of: openssl rand -base64 32")
    }
    return text
  }.hidden
}

private func token(_ text: String, _ syntax: String) throws(Complaint) -> String {
  guard !text.isEmpty, text.utf8.count <= 128, text.utf8.allSatisfy(ASCII.isTokenByte) else {
    throw Complaint(text, isNot: "\(syntax): up to 128 letters, digits, \"-\" and \"_\"")
  }
  return text
}

private func fieldName(_ text: String) throws(Complaint) -> String {
  try token(text, "the name of a field").lowercased()
}
