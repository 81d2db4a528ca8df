// A head on its way out: which fields of the other side's head may pass, and the edits of the
// route. Requests and responses share it. What goes out over HTTP/1.1 HeadWriter still checks byte by
// byte; fields on their way to a stream have been checked by the parser of the head they are from.

import Bytes
import Configuration
import Telemetry
import Wire

/// Where fields are written to: a head of HTTP/1.1, or the fields of a stream. Both refuse bytes that
/// could be taken for something else, except in literals of ours, and the stream's in fields that a parser
/// has found.
protocol FieldSink {
  /// Takes lines of a head of HTTP/1.1 as they are.
  static var takesLines: Bool { get }
  @discardableResult
  mutating func lines(_ text: Span<UInt8>) -> Bool
  /// A field that a parser has found in `head`.
  mutating func field(_ field: Field, of head: Span<UInt8>)
  @discardableResult
  mutating func field(_ name: Span<UInt8>, _ value: Span<UInt8>) -> Bool
  @discardableResult
  mutating func field(_ name: StaticString, _ value: Span<UInt8>) -> Bool
  mutating func field(_ name: StaticString, literal value: StaticString)
  mutating func field(_ name: StaticString, decimal value: UInt64)
}

extension HeadWriter: FieldSink {
  static var takesLines: Bool { true }
  mutating func field(_ field: Field, of head: Span<UInt8>) {
    self.field(head.extracting(field.name), head.extracting(field.value))
  }
}

extension FieldBlock: FieldSink {
  static var takesLines: Bool { false }
  mutating func lines(_ text: Span<UInt8>) -> Bool { false }
  mutating func field(_ field: Field, of head: Span<UInt8>) { append(field, of: head) }
  mutating func field(_ name: Span<UInt8>, _ value: Span<UInt8>) -> Bool { append(name, value) }
  mutating func field(_ name: StaticString, _ value: Span<UInt8>) -> Bool { append(name, value) }
  mutating func field(_ name: StaticString, literal value: StaticString) { append(name, value) }
  mutating func field(_ name: StaticString, decimal value: UInt64) {
    append(name, decimal: value)
  }
}

/// Writes one head. Fields named in the route's `set` and `remove` are left out everywhere, then
/// `finish` adds the ones that are set; the handshake's own fields cannot be edited.
struct OutgoingHead<Sink: FieldSink> {
  private var sink: Sink
  private let edits: HeaderEdits

  init(_ edits: HeaderEdits, _ sink: Sink) {
    self.edits = edits
    self.sink = sink
  }

  /// A field of routing, connection or framing, which is not for the route to edit.
  mutating func fixed(_ name: StaticString, _ value: Span<UInt8>) { sink.field(name, value) }
  mutating func fixed(_ name: StaticString, _ value: [UInt8]) { fixed(name, value.span) }

  mutating func fixed(_ name: StaticString, literal value: StaticString) {
    sink.field(name, literal: value)
  }

  mutating func fixed(_ name: StaticString, decimal value: UInt64) {
    sink.field(name, decimal: value)
  }

  /// A field we set unless the route says otherwise.
  mutating func ours(_ name: StaticString, _ value: Span<UInt8>) {
    if isOurs(name) { sink.field(name, value) }
  }

  mutating func ours(_ name: StaticString, _ value: [UInt8]) { ours(name, value.span) }
  mutating func ours(_ name: StaticString, _ value: String) { ours(name, value.utf8.span) }

  mutating func ours(_ name: StaticString, literal value: StaticString) {
    if isOurs(name) { sink.field(name, literal: value) }
  }

  mutating func ours(_ name: StaticString, decimal value: UInt64) {
    if isOurs(name) { sink.field(name, decimal: value) }
  }

  private func isOurs(_ name: StaticString) -> Bool {
    edits.isEmpty || !ASCII.withSpan(name) { edits.mentions($0) }
  }

  /// Of an authorization service. The route's edits drop what the client said under that name.
  mutating func granted(_ field: GrantedField) { sink.field(field.name.span, field.value.span) }

  /// What the two sides of a WebSocket have agreed on.
  mutating func agreed(_ agreement: HandshakeAgreement) {
    if let subprotocol = agreement.subprotocol { fixed("Sec-WebSocket-Protocol", subprotocol) }
    if let deflate = agreement.deflate { fixed("Sec-WebSocket-Extensions", deflate.text) }
  }

  /// Fields of `head` for which `passes` holds, in their order and spelling.
  mutating func fields<Head: MessageHead>(
    of head: Head, where passes: (Field, Span<UInt8>) -> Bool
  ) {
    let bytes = head.bytes
    let hasEdits = !edits.isEmpty
    // Lines that pass, one behind the other: written with one copy.
    var run = 0..<0
    for field in head.fields {
      let name = bytes.span.extracting(field.name)
      guard passes(field, name), !hasEdits || !edits.mentions(name) else { continue }
      if Sink.takesLines, let line = field.line(in: bytes.span) {
        if run.upperBound != line.lowerBound {
          sink.lines(bytes.span.extracting(run))
          run = line
        }
        run = run.lowerBound..<line.upperBound
      } else {
        sink.lines(bytes.span.extracting(run))
        run = 0..<0
        sink.field(field, of: bytes.span)
      }
    }
    sink.lines(bytes.span.extracting(run))
  }

  private mutating func addEdits() {
    for field in edits.set { sink.field(field.name.utf8.span, field.value.utf8.span) }
  }
}

extension OutgoingHead where Sink == HeadWriter {
  mutating func ours(_ name: StaticString, _ authority: Authority) {
    guard let port = authority.port else { return ours(name, authority.host) }
    if isOurs(name) { sink.field(name, authority.host.utf8.span, port: port) }
  }

  mutating func ours(_ name: StaticString, _ id: RequestID) {
    switch id {
    case .made(let first, let second): if isOurs(name) { sink.field(name, hex: first, second) }
    case .kept(let text): ours(name, text)
    }
  }

  /// `room`: empty, the memory of a head that has been sent.
  init(_ edits: HeaderEdits, in room: consuming [UInt8] = []) {
    self.init(edits, HeadWriter(in: room))
  }

  /// `method` or the client's own, the path as `rewrite` makes it, and the query. False when a part of it
  /// cannot be written.
  mutating func requestLine(
    _ head: RequestHead, method: StaticString? = nil, _ rewrite: PathRewrite
  ) -> Bool {
    if let method { return ASCII.withSpan(method) { requestLine($0, head, rewrite) } }
    let bytes = head.bytes
    return requestLine(bytes.span.extracting(head.method), head, rewrite)
  }

  private mutating func requestLine(
    _ method: Span<UInt8>, _ head: RequestHead, _ rewrite: PathRewrite
  ) -> Bool {
    let bytes = head.bytes
    let path = bytes.span.extracting(head.path)
    // As most are, written from where it lies.
    guard rewrite.isNeeded else { return requestLine(method, path: path, head) }
    guard let rewritten = rewrite.apply(path) else { return false }
    return requestLine(method, path: rewritten.span, head)
  }

  /// `target`: of the configuration, path and query in one.
  mutating func requestLine(_ method: StaticString, target: String) -> Bool {
    ASCII.withSpan(method) { sink.requestLine($0, path: target.utf8.span, query: nil) }
  }

  private mutating func requestLine(
    _ method: Span<UInt8>, path: Span<UInt8>, _ head: RequestHead
  ) -> Bool {
    guard let query = head.query else {
      return sink.requestLine(method, path: path, query: nil)
    }
    let bytes = head.bytes
    return sink.requestLine(method, path: path, query: bytes.span.extracting(query))
  }

  /// The status of `answer`; a reason that cannot be written is left empty.
  mutating func statusLine(of answer: ResponseHead) {
    if !sink.statusLine(answer.status, answer.bytes.span.extracting(answer.reason)) {
      sink.statusLine(answer.status, "")
    }
  }

  mutating func statusLine(_ status: Int, _ reason: StaticString) {
    sink.statusLine(status, reason)
  }

  /// The handshake's fields, which are not for the route to edit.
  mutating func handshake(_ write: (inout HeadWriter) -> Void) { write(&sink) }

  /// Adds what the route sets, and the empty line.
  mutating func finish() -> [UInt8] {
    addEdits()
    sink.end()
    return sink.takeBytes()
  }
}

extension OutgoingHead where Sink == FieldBlock {
  /// Adds what the route sets.
  mutating func finish() -> FieldBlock {
    addEdits()
    var fields = FieldBlock()
    swap(&fields, &sink)
    return fields
  }
}

extension HeaderEdits {
  var isEmpty: Bool { remove.isEmpty && self.set.isEmpty }

  /// Whether the edits remove or replace fields of that name.
  func mentions(_ name: Span<UInt8>) -> Bool {
    if remove.containsField(name) { return true }
    for field in set where equalsIgnoringCase(name, field.name) { return true }
    return false
  }

  /// Lines of trailers without those that `mentions` names: a receiver may take them for fields of the head.
  func passing(_ trailers: [UInt8]) -> [UInt8] {
    if isEmpty || trailers.isEmpty { return trailers }
    var kept: [UInt8] = []
    for line in trailers.split(separator: UInt8(ascii: "\n")) {
      let name = line.prefix { $0 != UInt8(ascii: ":") }
      if !mentions(name.span) { kept += line + [UInt8(ascii: "\n")] }
    }
    return kept
  }
}

extension [String] {
  /// Whether one of these names of fields is `name`; case does not count.
  func containsField(_ name: Span<UInt8>) -> Bool {
    for own in self where equalsIgnoringCase(name, own) { return true }
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

  private let bytes: [UInt8]
  private var names: [Range<Int>] = []

  /// Nil when there are more than `namesMax`.
  init?<Head: MessageHead>(of head: Head) {
    var count = 0
    var names: [Range<Int>] = []
    head.forEachElement(of: .connection) { element in
      count += 1
      // Keep-Alive is left out wherever it stands.
      if count <= Self.namesMax, !head.equalsIgnoringCase(element, "keep-alive") {
        names.append(element)
      }
    }
    guard count <= Self.namesMax else { return nil }
    bytes = names.isEmpty ? [] : head.bytes
    self.names = names
  }

  func contains(_ name: Span<UInt8>) -> Bool {
    for nominated in names where Self.equals(bytes.span.extracting(nominated), name) {
      return true
    }
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
