// From decoded fields to a request head (RFC 9113, sections 8.2 and 8.3) or to its trailers. The
// library has checked the message; what decides about routing and forwarding is checked again here, by
// the rules of HTTP/1.1. Fields are counted as they come; at a limit everything decoded is dropped.

internal import Bytes

/// The fields of the one field block that is being received.
struct RequestFields {
  private let limits: HTTP2Limits
  private(set) var bytes: [UInt8] = []
  private(set) var fields: [Field] = []
  /// Where in `fields` the first crumb is, and all of them joined as soon as there is another.
  private var cookieField: Int?
  private(set) var cookie: [UInt8] = []
  /// The block is a trailer section: `bytes` are the lines that may be passed on.
  private var isTrailers = false
  private var listBytes = 0
  private var fieldCount = 0
  private var contentLength: UInt64?
  private(set) var violation: HTTPViolation?

  private var method: Range<Int>?
  private var scheme: Range<Int>?
  private var path: Range<Int>?
  private var authority: Range<Int>?
  private var protocolName: Range<Int>?
  private var host: Range<Int>?

  init(limits: HTTP2Limits) { self.limits = limits }

  /// Forgets everything and gives its memory back.
  mutating func startOver() {
    // Mostly it has been done already, behind the block before.
    if listBytes > 0 || isTrailers || violation != nil { self = RequestFields(limits: limits) }
  }

  /// The same, and what comes is a trailer section.
  mutating func startTrailers() {
    startOver()
    isTrailers = true
  }

  /// Takes a decoded field, or only counts it once a limit has been passed.
  mutating func add(_ name: Span<UInt8>, _ value: Span<UInt8>) {
    guard violation == nil else { return }
    do throws(HTTPViolation) {
      try take(name, value)
    } catch {
      startOver()
      violation = error
    }
  }

  private mutating func take(
    _ name: Span<UInt8>, _ value: Span<UInt8>
  ) throws(HTTPViolation) {
    // RFC 7541, section 4.1. No string of the library is longer than 64 KiB.
    listBytes += name.count + value.count + 32
    guard listBytes <= limits.headerListBytes else { throw .headTooLarge }
    guard name.count + value.count + 2 <= limits.lineBytesMax else { throw .lineTooLong }
    if !name.isEmpty, name[0] == UInt8(ascii: ":") { return try takePseudo(name, value) }
    guard ASCII.isFieldValue(value) else { throw .forbiddenByte }
    fieldCount += 1
    guard fieldCount <= limits.fieldsMax else { throw .tooManyFields }
    guard ASCII.isTokenInLowerCase(name) else { throw .malformedFieldName }
    if isTrailers { return takeTrailer(name, value) }
    try takeField(KnownField(name: name), name, value)
  }

  /// By the rules of HTTP/1.1, whose backends cannot tell where a trailer came from.
  private mutating func takeTrailer(_ name: Span<UInt8>, _ value: Span<UInt8>) {
    guard Trailers.mayPass(name) else { return }
    let trimmed = value.extracting(ASCII.trimmed(value, 0..<value.count))
    Trailers.appendLine(name, trimmed, to: &bytes)
  }

  /// Each at most once, in front of the fields (section 8.3).
  private mutating func takePseudo(
    _ name: Span<UInt8>, _ value: Span<UInt8>
  ) throws(HTTPViolation) {
    guard fieldCount == 0, !isTrailers else { throw .malformedFieldName }
    for index in 0..<value.count where value[index] <= 0x20 || value[index] >= 0x7f {
      throw .forbiddenByte
    }
    let range = append(value)
    switch name.count {
    case 5 where ASCII.equals(name, ":path") && path == nil: path = range
    case 7 where ASCII.equals(name, ":method") && method == nil: method = range
    case 7 where ASCII.equals(name, ":scheme") && scheme == nil: scheme = range
    case 9 where ASCII.equals(name, ":protocol") && protocolName == nil: protocolName = range
    case 10 where ASCII.equals(name, ":authority") && authority == nil: authority = range
    default: throw .malformedFieldName
    }
  }

  private mutating func takeField(
    _ known: KnownField, _ name: Span<UInt8>, _ value: Span<UInt8>
  ) throws(HTTPViolation) {
    switch known {
    case .cookie:
      // Section 8.2.3: crumbs are one field to everybody else.
      guard let first = cookieField else {
        // Cookies do not begin with `; `.
        if value.isEmpty { return }
        cookieField = fields.count
        return appendField(known, name, value)
      }
      if cookie.isEmpty { cookie = Array(bytes[fields[first].value]) }
      ASCII.append("; ", to: &cookie)
      ASCII.append(value, to: &cookie)
    case .host:
      guard host == nil else { throw .duplicateHost }
      host = append(value)
    case .contentLength:
      guard let length = ASCII.decimal(value) else { throw .malformedContentLength }
      guard contentLength == nil else { throw .duplicateContentLength }
      contentLength = length
      appendField(known, name, value)
    case .connection, .keepAlive, .proxyConnection, .transferEncoding, .upgrade:
      throw .malformedFieldName
    default:
      appendField(known, name, value)
    }
  }

  private mutating func append(_ text: Span<UInt8>) -> Range<Int> {
    if bytes.isEmpty { bytes.reserveCapacity(512) }
    let start = bytes.count
    ASCII.append(text, to: &bytes)
    return start..<bytes.count
  }

  private mutating func appendField(
    _ known: KnownField, _ name: Span<UInt8>, _ value: Span<UInt8>
  ) {
    if fields.isEmpty { fields.reserveCapacity(16) }
    if bytes.isEmpty { bytes.reserveCapacity(512) }
    fields.append(appendLine(known, name, value))
  }

  /// The field of a line that is added to `bytes`.
  private mutating func appendLine(
    _ known: KnownField, _ name: Span<UInt8>, _ value: Span<UInt8>
  ) -> Field {
    let start = bytes.count
    ASCII.appendLine(name, value, to: &bytes)
    let (colon, end) = (start + name.count, bytes.count - 2)
    return Field(name: start..<colon, value: (colon + 2)..<end, known: known)
  }

  /// The trailers that may be passed on, as lines, when the block is complete.
  func finishTrailers() throws(HTTPViolation) -> [UInt8] {
    if let violation { throw violation }
    return bytes
  }

  /// The head, when the block is complete. `ends`: END_STREAM came with it.
  mutating func finish(ends: Bool) throws(HTTPViolation) -> RequestHead {
    if let violation { throw violation }
    guard let method else { throw .malformedRequestLine }
    try Self.check(method: bytes.span.extracting(method))
    try joinCookie()
    let host = try appendHost(https: try isHTTPS())
    let isConnect = ASCII.equals(bytes.span.extracting(method), "CONNECT")
    let isTunnel = isConnect && protocolName == nil
    let target = try target(method, isTunnel: isTunnel)
    guard let path = target.path, let whole = self.path else { throw .malformedTarget }
    // Not copied: what room `bytes` has left is no more than it holds, and goes with the head.
    var (bytes, fields): ([UInt8], [Field]) = ([], [])
    swap(&bytes, &self.bytes)
    swap(&fields, &self.fields)
    return RequestHead(
      bytes: bytes, fields: fields, version: .http2, method: method,
      target: isTunnel ? authority ?? whole : whole, path: path, query: target.query, host: host,
      protocolName: protocolName,
      bodyFraming: ends ? .none : contentLength.map { .length($0) } ?? .untilClose)
  }

  /// What `:path` says. A plain CONNECT (`isTunnel`) has an authority instead of a path (section 8.5), and
  /// heads always have a path.
  private mutating func target(
    _ method: Range<Int>, isTunnel: Bool
  ) throws(HTTPViolation) -> RequestTarget {
    let allowsAsterisk = ASCII.equals(bytes.span.extracting(method), "OPTIONS")
    if isTunnel {
      bytes.append(UInt8(ascii: "/"))
      path = (bytes.count - 1)..<bytes.count
    }
    guard let path, !path.isEmpty else { throw .malformedTarget }
    let isAsterisk = allowsAsterisk && ASCII.equals(bytes.span.extracting(path), "*")
    // The absolute form belongs to HTTP/1.
    guard isAsterisk || bytes[path.lowerBound] == UInt8(ascii: "/") else {
      throw .malformedTarget
    }
    return try RequestTarget(bytes.span, path, allowsAsterisk: allowsAsterisk)
  }

  private static func check(method: Span<UInt8>) throws(HTTPViolation) {
    for index in 0..<method.count {
      let byte = method[index]
      guard ASCII.isTokenByte(byte), !ASCII.isLowerCase(byte) else { throw .malformedMethod }
    }
    if method.isEmpty { throw .malformedMethod }
    if ASCII.equals(method, "TRACE") { throw .methodNotAllowed }
  }

  /// Only a plain CONNECT has no scheme. What it says is not believed, but it has to be one of ours.
  private func isHTTPS() throws(HTTPViolation) -> Bool {
    guard let scheme else { return false }
    let text = bytes.span.extracting(scheme)
    if ASCII.equalsIgnoringCase(text, "https") { return true }
    guard ASCII.equalsIgnoringCase(text, "http") else { throw .malformedTarget }
    return false
  }

  /// `:authority` becomes the one Host field; a `host` beside it has to say the same (section 8.3.1).
  private mutating func appendHost(https: Bool) throws(HTTPViolation) -> Authority {
    guard let named = authority ?? host else { throw .missingHost }
    guard let result = Authority(parsing: bytes.span.extracting(named)) else {
      throw .malformedHost
    }
    if authority != nil, let host {
      guard let other = Authority(parsing: bytes.span.extracting(host)) else {
        throw .malformedHost
      }
      guard other.host == result.host,
        other.effectivePort(https: https) == result.effectivePort(https: https)
      else { throw .targetHostMismatch }
    }
    let start = bytes.count
    ASCII.append("host", to: &bytes)
    fields.insert(Field(name: start..<bytes.count, value: named, known: .host), at: 0)
    return result
  }

  /// Where there is more than one crumb; the first one's line stays in `bytes`, where it is no field's.
  private mutating func joinCookie() throws(HTTPViolation) {
    guard !cookie.isEmpty, let first = cookieField else { return }
    guard cookie.count + 8 <= limits.lineBytesMax else { throw .lineTooLong }
    let cookie = self.cookie
    fields[first] = ASCII.withSpan("cookie") { appendLine(.cookie, $0, cookie.span) }
  }
}
