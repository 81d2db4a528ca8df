// A head on its way out: which fields of the other side's head may pass, and the edits of the
// route. Requests and responses share it. What it lets through HeadWriter still checks byte by byte.

import Bytes
import Configuration
import Wire

/// Writes one head. Fields named in the route's `set` and `remove` are left out everywhere, then
/// `finish` adds the ones that are set; the handshake's own fields cannot be edited.
struct OutgoingHead {
  private(set) var writer = HeadWriter()
  private let edits: HeaderEdits

  init(_ edits: HeaderEdits) { self.edits = edits }

  mutating func requestLine(_ method: StaticString, _ head: RequestHead) -> Bool {
    let bytes = head.bytes
    guard let query = head.query else {
      return writer.requestLine(method, path: bytes.span.extracting(head.path), query: nil)
    }
    return writer.requestLine(
      method, path: bytes.span.extracting(head.path), query: bytes.span.extracting(query))
  }

  /// The status of `answer`; a reason that cannot be written is left empty.
  mutating func statusLine(of answer: ResponseHead) {
    if !writer.statusLine(answer.status, answer.bytes.span.extracting(answer.reason)) {
      writer.statusLine(answer.status, "")
    }
  }

  mutating func statusLine(_ status: Int, _ reason: StaticString) {
    writer.statusLine(status, reason)
  }

  /// The handshake's fields, which are not for the route to edit.
  mutating func handshake(_ write: (inout HeadWriter) -> Void) { write(&writer) }

  /// A field of routing, connection or framing, which is not for the route to edit either.
  mutating func fixed(_ name: StaticString, _ value: [UInt8]) {
    writer.field(name, value.span)
  }

  mutating func fixed(_ name: StaticString, literal value: StaticString) {
    writer.field(name, literal: value)
  }

  /// A field we set unless the route says otherwise.
  mutating func ours(_ name: StaticString, _ value: [UInt8]) {
    guard edits.isEmpty || !edits.mentions(Array(name.description.utf8).span) else { return }
    writer.field(name, value.span)
  }

  mutating func ours(_ name: StaticString, _ value: String) {
    guard edits.isEmpty || !edits.mentions(Array(name.description.utf8).span) else { return }
    writer.field(name, value)
  }

  mutating func ours(_ name: StaticString, literal value: StaticString) {
    guard edits.isEmpty || !edits.mentions(Array(name.description.utf8).span) else { return }
    writer.field(name, literal: value)
  }

  /// Fields of `head` for which `passes` holds, in their order and spelling.
  mutating func fields<Head: MessageHead>(
    of head: Head, where passes: (Field, Span<UInt8>) -> Bool
  ) {
    let bytes = head.bytes
    for field in head.fields {
      let name = bytes.span.extracting(field.name)
      guard passes(field, name), !edits.mentions(name) else { continue }
      writer.field(name, bytes.span.extracting(field.value))
    }
  }

  /// Adds what the route sets, and the empty line.
  mutating func finish() -> [UInt8] {
    for field in edits.set { writer.field(field.name, field.value) }
    writer.end()
    return writer.bytes
  }
}

extension HeaderEdits {
  var isEmpty: Bool { remove.isEmpty && self.set.isEmpty }

  /// Whether the edits remove or replace fields of that name.
  func mentions(_ name: Span<UInt8>) -> Bool {
    for removed in remove where equalsIgnoringCase(name, removed) { return true }
    for field in set where equalsIgnoringCase(name, field.name) { return true }
    return false
  }
}

private func equalsIgnoringCase(_ bytes: Span<UInt8>, _ text: String) -> Bool {
  guard text.utf8.count == bytes.count else { return false }
  var index = 0
  for byte in text.utf8 {
    if ASCII.lowercased(byte) != ASCII.lowercased(bytes[index]) { return false }
    index += 1
  }
  return true
}

/// The names a head's Connection fields nominate: they belong to that connection and go no further.
struct Nominations {
  /// More is an attack on whoever has to compare them all.
  static var namesMax: Int { 32 }

  private let names: [[UInt8]]

  /// Nil when there are more than `namesMax`.
  init?<Head: MessageHead>(of head: Head) {
    let elements = head.elements(of: .connection)
    guard elements.count <= Self.namesMax else { return nil }
    names = elements.map { Array(head.bytes[$0]) }
  }

  func contains(_ name: Span<UInt8>) -> Bool {
    for nominated in names where Self.equals(nominated.span, name) { return true }
    return false
  }

  private static func equals(_ a: Span<UInt8>, _ b: Span<UInt8>) -> Bool {
    guard a.count == b.count else { return false }
    for index in 0..<a.count where ASCII.lowercased(a[index]) != ASCII.lowercased(b[index]) {
      return false
    }
    return true
  }
}

extension KnownField {
  /// Hop-by-hop by their nature, nominated or not (RFC 9110 section 7.6.1), and the framing, which
  /// is written anew.
  var isHopByHop: Bool {
    switch self {
    case .connection, .keepAlive, .proxyConnection, .proxyAuthenticate, .proxyAuthorization, .te,
      .trailer, .transferEncoding, .contentLength, .upgrade, .http2Settings:
      true
    case .other, .altSvc, .cookie, .date, .expect, .forwarded, .host, .location, .origin,
      .secWebSocketAccept, .secWebSocketExtensions, .secWebSocketKey, .secWebSocketProtocol,
      .secWebSocketVersion, .server, .setCookie, .via, .xForwardedFor, .xForwardedHost,
      .xForwardedPort, .xForwardedProto, .xRealIP, .xRequestID:
      false
    }
  }

  /// The handshake's fields: each side gets ours.
  var isHandshake: Bool {
    switch self {
    case .secWebSocketAccept, .secWebSocketExtensions, .secWebSocketKey, .secWebSocketProtocol,
      .secWebSocketVersion:
      true
    case .other, .altSvc, .connection, .contentLength, .cookie, .date, .expect, .forwarded, .host,
      .http2Settings, .keepAlive, .location, .origin, .proxyAuthenticate, .proxyAuthorization,
      .proxyConnection, .server, .setCookie, .te, .trailer, .transferEncoding, .upgrade, .via,
      .xForwardedFor, .xForwardedHost, .xForwardedPort, .xForwardedProto, .xRealIP, .xRequestID:
      false
    }
  }

  /// What we tell a backend ourselves.
  var isForwarding: Bool {
    switch self {
    case .host, .via, .xForwardedFor, .xForwardedHost, .xForwardedPort, .xForwardedProto, .xRealIP,
      .xRequestID:
      true
    case .other, .altSvc, .connection, .contentLength, .cookie, .date, .expect, .forwarded,
      .http2Settings, .keepAlive, .location, .origin, .proxyAuthenticate, .proxyAuthorization,
      .proxyConnection, .secWebSocketAccept, .secWebSocketExtensions, .secWebSocketKey,
      .secWebSocketProtocol, .secWebSocketVersion, .server, .setCookie, .te, .trailer,
      .transferEncoding, .upgrade:
      false
    }
  }
}
