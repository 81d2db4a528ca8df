// The access log: one line when a WebSocket is bridged, one when it ends, one per other exchange
// (section 11 of the behaviour page). Owned by one worker. The field tables are the functions that
// end in "Fields": to add a field, add its row there.

public import Bytes

/// The side of an exchange that did something.
public enum Party: UInt8, Sendable, CaseIterable {
  case client, backend, gateway

  public var word: StaticString {
    switch self {
    case .client: "client"
    case .backend: "backend"
    case .gateway: "gateway"
    }
  }
}

/// Names an exchange in logs and to the admin listener. Rendered only where somebody reads it.
public struct ExchangeName: Sendable, Equatable {
  private let process: UInt32
  private let number: UInt64

  /// `number`: within the process, of 48 bits.
  public init(process: UInt32, number: UInt64) {
    self.process = process
    self.number = number
  }

  /// `0123abcd-000000000001`.
  public var text: [UInt8] {
    var text: [UInt8] = []
    text.reserveCapacity(21)
    ASCII.appendHex(UInt64(process), digits: 8, to: &text)
    text.append(UInt8(ascii: "-"))
    ASCII.appendHex(number, digits: 12, to: &text)
    return text
  }
}

/// What a request is called in the X-Request-Id that its backend is told, and in its log line.
public enum RequestID: Sendable, Equatable {
  /// Ours, which only becomes text where somebody reads it.
  case made(UInt64, UInt64)
  /// A trusted proxy's: 1 to 128 visible ASCII bytes.
  case kept([UInt8])

  public var text: [UInt8] {
    switch self {
    case .made(let first, let second): HexDigits(first, second).withSpan { ASCII.copy($0) }
    case .kept(let text): text
    }
  }
}

/// Who and what an exchange is about. Values as they came; they are escaped when written. A class,
/// because a handshake hands them on several times, and each copy would count ten references.
public final class ConnectionFacts {
  /// Nil where no head came whole.
  public let name: ExchangeName?
  /// The client's address: the real one where a trusted proxy told it.
  public let client: String
  /// "http/1.0", "http/1.1" or "h2".
  public let proto: StaticString
  /// The version of TLS towards the client, such as "1.3"; nil: plain.
  public let tls: StaticString?
  public let host: [UInt8]
  public let path: [UInt8]
  // Written out, these have no value before `init` gives them theirs, which then is not checked for
  // exclusive access.
  public var route: Optional<String>
  public var endpoint: Optional<String>
  public let origin: [UInt8]?
  public var subprotocol: Optional<[UInt8]>
  public let requestID: RequestID?

  public init(
    name: ExchangeName?, client: String, proto: StaticString, tls: StaticString?, host: [UInt8],
    path: [UInt8], route: String? = nil, endpoint: String? = nil, origin: [UInt8]? = nil,
    subprotocol: [UInt8]? = nil, requestID: RequestID? = nil
  ) {
    self.name = name
    self.client = client
    self.proto = proto
    self.tls = tls
    self.host = host
    self.path = path
    self.route = route
    self.endpoint = endpoint
    self.origin = origin
    self.subprotocol = subprotocol
    self.requestID = requestID
  }

  public var id: [UInt8] { name?.text ?? [] }

  /// What a live socket keeps for its close line: every value cut to 128 bytes, so some 300 bytes
  /// as a rule and never more than 1.2 KiB.
  public func kept() -> KeptFacts {
    // Copied, so that no spare capacity stays with the socket.
    KeptFacts(fragment: Array(LineBuilder.fragment { addFields(to: &$0, limit: 128) }[...]))
  }

  func addFields(to line: inout LineBuilder, limit: Int) {
    if name != nil { line.field("id", id, limit: limit) }
    line.field("client", client, limit: limit)
    line.field("protocol", word: proto)
    if let tls { line.field("tls", word: tls) } else { line.field("tls", false) }
    if name != nil {
      line.field("host", host, limit: limit)
      line.field("path", path, limit: limit)
    }
    if let route { line.field("route", route, limit: limit) }
    if let endpoint { line.field("endpoint", endpoint, limit: limit) }
    if let origin { line.field("origin", origin, limit: limit) }
    if let subprotocol { line.field("subprotocol", subprotocol, limit: limit) }
    if let requestID { line.field("request_id", requestID.text, limit: limit) }
  }
}

/// Facts rendered once, as the JSON fields of a line.
public struct KeptFacts: Sendable {
  let fragment: [UInt8]

  public func add(to line: inout LineBuilder) { line.fields(fragment) }

  public func hasID(_ id: [UInt8]) -> Bool {
    fragment.starts(with: LineBuilder.fragment { $0.field("id", id) })
  }

  /// Quotes within values are escaped, so that no value can pass for a field.
  public func isFrom(_ client: String) -> Bool {
    fragment.contains(LineBuilder.fragment { $0.field("client", client) })
  }
}

/// What one side of a bridge did. Times are round trips of the gateway's own Pings.
public struct SideFacts: Sendable {
  /// The code of the Close this side sent; 1005 for a Close without code, 1006 for none.
  public var closeCode: UInt16 = 1006
  public var closeReason: [UInt8] = []
  /// Received from this side.
  public var messages: UInt64 = 0
  public var bytes: UInt64 = 0
  public var pingsSent: UInt64 = 0
  public var lastRoundTrip: TimeSpan?
  public var maxRoundTrip: TimeSpan?

  public init() {}
}

/// How a bridge or tunnel ended.
public struct CloseFacts: Sendable {
  public var duration: TimeSpan
  public var closedBy: Party
  /// "close", or the word of a fault.
  public var why: StaticString
  /// What exactly was wrong, where a violation was.
  public var detail: StaticString?
  public var client = SideFacts()
  public var backend = SideFacts()

  public init(
    duration: TimeSpan, closedBy: Party, why: StaticString, detail: StaticString? = nil
  ) {
    self.duration = duration
    self.closedBy = closedBy
    self.why = why
    self.detail = detail
  }
}

/// How an exchange that became no WebSocket ended.
public struct ResponseFacts: Sendable {
  /// Nil when the client was gone before any answer.
  public var status: UInt16?
  /// From the head to the end of the answer; nil when the head never came whole.
  public var duration: TimeSpan?
  /// The word of a fault; nil for an ordinary answer.
  public var fault: StaticString?
  public var detail: StaticString?
  /// Body bytes sent to the client.
  public var bytes: UInt64 = 0

  public init(
    status: UInt16?, duration: TimeSpan?, fault: StaticString? = nil, detail: StaticString? = nil,
    bytes: UInt64 = 0
  ) {
    self.status = status
    self.duration = duration
    self.fault = fault
    self.detail = detail
    self.bytes = bytes
  }
}

/// Writes a worker's access lines to the ring; without a ring it writes nothing.
public struct AccessLog {
  private let ring: LogRing?
  private let metrics: WorkerMetrics
  private var line = LineBuilder()

  public init(ring: LogRing?, metrics: WorkerMetrics) {
    self.ring = ring
    self.metrics = metrics
  }

  /// Without a ring nothing that is only for its lines needs to be kept.
  public var isOn: Bool { ring != nil }

  /// The WebSocket is bridged. `wall`: nanoseconds since 1970.
  public mutating func open(_ facts: ConnectionFacts, wall: Int64) {
    write("open", wall: wall) { facts.addFields(to: &$0, limit: LineBuilder.fieldBytesMax) }
  }

  public mutating func close(_ facts: KeptFacts, _ end: CloseFacts, wall: Int64) {
    write("close", wall: wall) { line in
      line.fields(facts.fragment)
      Self.addEndFields(end, to: &line)
      Self.addClientFields(end.client, to: &line)
      Self.addBackendFields(end.backend, to: &line)
    }
  }

  /// An exchange answered by us or by a backend, without a WebSocket.
  public mutating func http(
    _ facts: ConnectionFacts, method: () -> [UInt8], _ response: ResponseFacts, wall: Int64
  ) {
    write("http", wall: wall) { line in
      facts.addFields(to: &line, limit: LineBuilder.fieldBytesMax)
      if facts.name != nil { line.field("method", method()) }
      Self.addResponseFields(response, to: &line)
    }
  }

  private mutating func write(
    _ event: StaticString, wall: Int64, _ body: (inout LineBuilder) -> Void
  ) {
    guard let ring else { return }
    line.begin()
    line.field("time", wall: wall)
    line.field("event", word: event)
    body(&line)
    line.end()
    metrics.add(ring.append(line.bytes.span) ? .logLinesWritten : .logLinesDropped)
  }

  // MARK: Field tables

  private static func addResponseFields(_ response: ResponseFacts, to line: inout LineBuilder) {
    if let status = response.status { line.field("status", UInt64(status)) }
    if let fault = response.fault { line.field("fault", word: fault) }
    if let detail = response.detail { line.field("detail", word: detail) }
    line.field("bytes", response.bytes)
    if let span = response.duration { line.field("duration_ms", milliseconds: span) }
  }

  private static func addEndFields(_ end: CloseFacts, to line: inout LineBuilder) {
    line.field("duration_ms", milliseconds: end.duration)
    line.field("closed_by", word: end.closedBy.word)
    line.field("why", word: end.why)
    if let detail = end.detail { line.field("detail", word: detail) }
  }

  private static func addClientFields(_ side: SideFacts, to line: inout LineBuilder) {
    line.field("client_code", UInt64(side.closeCode))
    if !side.closeReason.isEmpty { line.field("client_reason", side.closeReason) }
    line.field("client_messages", side.messages)
    line.field("client_bytes", side.bytes)
    line.field("client_pings", side.pingsSent)
    if let span = side.lastRoundTrip { line.field("client_rtt_ms", milliseconds: span) }
    if let span = side.maxRoundTrip { line.field("client_rtt_max_ms", milliseconds: span) }
  }

  private static func addBackendFields(_ side: SideFacts, to line: inout LineBuilder) {
    line.field("backend_code", UInt64(side.closeCode))
    if !side.closeReason.isEmpty { line.field("backend_reason", side.closeReason) }
    line.field("backend_messages", side.messages)
    line.field("backend_bytes", side.bytes)
    line.field("backend_pings", side.pingsSent)
    if let span = side.lastRoundTrip { line.field("backend_rtt_ms", milliseconds: span) }
    if let span = side.maxRoundTrip { line.field("backend_rtt_max_ms", milliseconds: span) }
  }
}
