// The `headers` section of a route.
import Bytes

/// Fields set and removed by a route.
public struct HeaderSettings: Sendable, Equatable {
  public var request = HeaderEdits()
  public var response = HeaderEdits()

  public init() {}
}

extension HeaderSettings: ConfigSection {
  static let keyAdvice: String? = "a field belongs below request: or response:, in set: there"

  static let keys: [ConfigKey<Self>] = [
    ConfigKey("request", \.request, .section(), "On the way to the backend."),
    ConfigKey("response", \.response, .section(), "On the way to the client."),
  ]

  static var example: Self {
    var headers = Self()
    headers.request.set = [HeaderField(name: "X-Tenant", value: "chat")]
    headers.request.remove = ["Cookie2"]
    headers.response.remove = ["Server"]
    return headers
  }
}

/// Removal comes first; `set` replaces every field of that name. Names compare without case.
public struct HeaderEdits: Sendable, Equatable {
  public var set: [HeaderField] = []
  public var remove: [String] = []

  public init() {}
}

extension HeaderEdits: ConfigSection {
  static let keyAdvice: String? = "a field belongs in set: here, or its name in remove:"

  static let keys: [ConfigKey<Self>] = [
    ConfigKey("set", \.set, .headerFields, "Replaces every field of that name."),
    ConfigKey("remove", \.remove, .list(of: .headerName), "Removes every field of that name."),
  ]

  mutating func validate(_ written: WrittenSection, _ reader: inout Reader) {
    guard case .mapping(let entries)? = written["set"]?.content else { return }
    let removed = remove.map { $0.lowercased() }
    var seen: [String] = []
    for entry in entries {
      let name = entry.key.lowercased()
      if seen.contains(name) {
        reader.report(entry.keyLocation, "\(quoted(entry.key)) is set twice; case does not count")
      }
      if removed.contains(name) {
        reader.report(entry.keyLocation, "\(quoted(entry.key)) is set and removed; set replaces")
      }
      seen.append(name)
    }
  }
}

/// A field as it is written on the wire. The name is a token, the value has no control character.
public struct HeaderField: Sendable, Equatable {
  public var name: String
  public var value: String

  public init(name: String, value: String) {
    self.name = name
    self.value = value
  }
}

extension ConfigValue<String> {
  static let headerName = text(
    "the name of a field", form: "NAME", schema: .text(Schema.token, orNumber: true), show: { $0 }
  ) { (text) throws(Complaint) in
    try checkFieldName(text)
    return text
  }

  fileprivate static let headerValue = text(
    "a value of one line", schema: .anyText, show: { $0 }
  ) { (text) throws(Complaint) in
    guard text.utf8.allSatisfy({ ($0 >= 0x20 && $0 != 0x7F) || $0 == 0x09 }) else {
      throw Complaint("\(quoted(text)) has a control character, which no field can carry")
    }
    return text
  }
}

extension ConfigValue<[HeaderField]> {
  /// A mapping from names to values.
  fileprivate static var headerFields: Self {
    let value = ConfigValue<String>.headerValue
    return ConfigValue(
      syntax: "a mapping such as {X-Tenant: chat}", form: "",
      schema: .named(Schema.token, value.schema)
    ) { node, _, reader in
      if node.isNull { return [] }
      guard case .mapping(let entries) = node.content else {
        reader.report(node, expected: "a mapping such as {X-Tenant: chat}")
        return nil
      }
      return entries.compactMap { entry in
        do throws(Complaint) {
          try checkFieldName(entry.key)
        } catch {
          reader.report(entry.keyLocation, error.message)
        }
        warnOfVariable(entry, &reader)
        return value.read(entry.value, nil, &reader).map { HeaderField(name: entry.key, value: $0) }
      }
    } show: { fields in
      .section(
        fields.map { field in
          let value = isSecret(field.name) ? value.hidden : value
          return ShownKey(name: field.name, comment: "", value: value.show(field.value))
        })
    }
  }
}

/// Says nothing of the value, which may be a secret that begins like this.
private func warnOfVariable(_ entry: Node.Entry, _ reader: inout Reader) {
  guard case .scalar(let text, _) = entry.value.content else { return }
  let isOfNginx = text.hasPrefix("$") && text.dropFirst().first?.isLetter == true
  guard isOfNginx || text.hasPrefix("%[") else { return }
  reader.warn(
    entry.value.location,
    "this value of \(quoted(entry.key)) is sent as it is written: there are no variables. By itself"
      + " the gateway tells backends X-Forwarded-For, -Proto, -Host and -Port, X-Real-IP and Via")
}

/// A field that as a rule carries something that lets its sender in.
private func isSecret(_ name: String) -> Bool {
  let words = ["auth", "cookie", "token", "key", "secret", "password"]
  return words.contains { name.lowercased().contains($0) }
}

/// A token (RFC 9110 section 5.1) that is not the gateway's own business.
func checkFieldName(_ name: String) throws(Complaint) {
  guard !name.isEmpty, name.utf8.allSatisfy(ASCII.isTokenByte) else {
    throw Complaint(name, isNot: "the name of a field: letters, digits and \"-\"")
  }
  let lowered = name.lowercased()
  if reservedFields.contains(lowered) || lowered.hasPrefix("sec-websocket-") {
    throw Complaint(
      "\(quoted(name)) belongs to the connection or the handshake, which the gateway writes itself")
  }
}

/// Framing, hop-by-hop fields (RFC 9110 section 7.6.1) and what decides where a request goes.
private let reservedFields: Set<String> = [
  "host", "connection", "upgrade", "content-length", "transfer-encoding", "te", "trailer",
  "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization",
]
