// The `origins` section of a route. The rules of the comparison are in Bytes; here is how the
// policy is written.
import Bytes

extension OriginPolicy: ConfigSection {
  /// What a section that says nothing means. No section at all allows a missing Origin as well.
  init() { self.init(patterns: [], allowsMissing: false) }

  static var mainKeys: [String] { ["allow"] }

  static let keys: [ConfigKey<Self>] = [
    ConfigKey(
      "allow", \.allowList, .list(of: .allowedOrigin),
      "Origins of pages that may connect: SCHEME://HOST or SCHEME://HOST:PORT, *. for one label;"
        + " same-origin: the host the client connected to; any: every page."),
    ConfigKey(
      "missing", \.allowsMissing, .word([("refuse", false), ("allow", true)]),
      "Requests without an Origin, which is how programs other than browsers come."),
    ConfigKey(
      "report_only", \.reportOnly, .boolean,
      "Let through what would be refused, and log it."),
  ]

  /// The three fields that `allow` sets, as one list.
  private var allowList: [AllowedOrigin] {
    get {
      (allowsAny ? [.any] : []) + (allowsSameOrigin ? [.sameOrigin] : [])
        + patterns.map(AllowedOrigin.pattern)
    }
    set {
      allowsAny = newValue.contains(.any)
      allowsSameOrigin = newValue.contains(.sameOrigin)
      patterns = newValue.compactMap { if case .pattern(let pattern) = $0 { pattern } else { nil } }
    }
  }
}

/// An entry of `allow`.
private enum AllowedOrigin: Sendable, Equatable {
  case any
  case sameOrigin
  case pattern(OriginPattern)

  var written: String {
    switch self {
    case .any: "any"
    case .sameOrigin: "same-origin"
    case .pattern(let pattern): "\(pattern)"
    }
  }
}

extension ConfigValue<OriginPolicy> {
  /// Starts from what the section means by itself, not from what the route means without it.
  static var originPolicy: Self {
    let section = Self.section()
    return ConfigValue(
      syntax: section.syntax, form: "", keys: section.keys, schema: section.schema
    ) { node, _, reader in
      section.read(node, nil, &reader)
    } show: {
      section.show($0)
    }
  }
}

extension ConfigValue<AllowedOrigin> {
  fileprivate static let allowedOrigin = text(
    "an origin such as https://app.example.com, same-origin or any",
    form: "ORIGIN, same-origin or any",
    schema: .words(["same-origin", "any"])
      .or(.text("null", #"[A-Za-z][A-Za-z0-9+.-]*://[^\s/]+"#)), show: \.written
  ) { (text) throws(Complaint) in
    switch text {
    case "any": return .any
    case "same-origin": return .sameOrigin
    default:
      guard !isAddressOfSocket(text), let pattern = OriginPattern(parsing: text) else {
        throw Complaint("\(quoted(text)) is not an origin: \(advice(text))")
      }
      return .pattern(pattern)
    }
  }

  /// As an origin it would be well-formed, and match no browser.
  private static func isAddressOfSocket(_ text: String) -> Bool {
    ["ws://", "wss://"].contains { text.lowercased().hasPrefix($0) }
  }

  private static func advice(_ text: String) -> String {
    if text == "*" { return "write any, if really every page may connect" }
    guard let scheme = text.firstRange(of: "://") else {
      let nearest = NearestName.of(text, among: ["same-origin", "any"])
      return nearest.map { "did you mean \($0)?" }
        ?? "begin with its scheme, as in https://app.example.com"
    }
    let rest = text[scheme.upperBound...]
    if isAddressOfSocket(text) {
      let ofPage = text.lowercased().hasPrefix("wss:") ? "https" : "http"
      return "an origin is that of the page, not of its WebSocket; write \(ofPage)://\(rest)"
    }
    if rest.contains("/") { return "leave out the path, even a / at the end" }
    if rest.contains("*") {
      return "* can only stand for the whole first label: https://*.example.com"
    }
    return "write SCHEME://HOST or SCHEME://HOST:PORT, in ASCII"
  }
}
