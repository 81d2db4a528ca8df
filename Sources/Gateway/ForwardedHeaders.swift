// Who the client is, and the fields that tell a backend (section 7 of the behaviour page). What a
// client says about itself counts only when its address is a trusted proxy's; then the last address
// that is no trusted proxy's is the client.

import Bytes
import Telemetry
import Wire

/// What is known about the client of one request, once its head is complete.
struct ClientIdentity: Sendable {
  /// A list longer than this is not walked to its end: the client is then the last hop looked at.
  static var hopsMax: Int { 64 }
  static var requestIDBytesMax: Int { 128 }

  /// The other end of the connection; nil for a unix socket.
  let peer: IPAddress?
  /// `peer` is one of `trusted_proxies`.
  let isTrusted: Bool
  /// The client itself; `peer` unless a trusted proxy knows better.
  let address: IPAddress?
  /// How the client came, as far as we can trust to know: for X-Forwarded-Proto and same-origin.
  let isHTTPS: Bool
  /// How `peer` came.
  let isTLS: Bool
  /// `address` as text, "unix" without one: for log lines and the fields we set.
  let text: String
  /// What the client asked for: its Host, or what a trusted proxy says that was.
  let authority: Authority?
  let port: UInt16
  let requestID: RequestID

  /// `localPort`: of the listener, nil for a unix socket. `random`: for a request id of our own.
  init(
    of head: RequestHead, peer: IPAddress?, isTLS: Bool, localPort: UInt16?,
    trusted: [AddressBlock], random: (UInt64, UInt64)
  ) {
    self.peer = peer
    self.isTLS = isTLS
    let isTrusted = peer.map { peer in trusted.contains { $0.contains(peer) } } ?? false
    self.isTrusted = isTrusted
    let address = isTrusted ? Self.client(of: head, behind: peer, trusted) : peer
    self.address = address
    text = address?.description ?? "unix"
    let saidHTTPS = isTrusted ? Self.forwardedHTTPS(head) : nil
    let isHTTPS = saidHTTPS ?? isTLS
    self.isHTTPS = isHTTPS
    let saidHost = isTrusted ? Self.forwardedHost(head) : nil
    let authority = saidHost ?? head.host
    self.authority = authority
    port =
      (isTrusted ? Self.forwardedPort(head) : nil)
      ?? (saidHTTPS == nil && saidHost == nil ? localPort : nil)
      ?? authority?.effectivePort(https: isHTTPS) ?? 0
    let keptID = isTrusted ? Self.keptID(head) : nil
    requestID = keptID.map { .kept($0) } ?? .made(random.0, random.1)
  }

  // MARK: What a trusted proxy says

  /// Walks X-Forwarded-For from its end, past trusted proxies. An entry that is no address ends the
  /// walk: who wrote it is unknown, so everything before it is worth nothing.
  private static func client(
    of head: RequestHead, behind peer: IPAddress?, _ trusted: [AddressBlock]
  ) -> IPAddress? {
    var client = peer
    let bytes = head.bytes
    for element in head.elements(of: .xForwardedFor).suffix(hopsMax).reversed() {
      guard let address = address(bytes.span.extracting(element)) else { return client }
      client = address
      guard trusted.contains(where: { $0.contains(address) }) else { return client }
    }
    return client
  }

  /// `192.0.2.1`, `2001:db8::1`, and as some proxies write it `192.0.2.1:80`, `[2001:db8::1]:80`.
  private static func address(_ text: Span<UInt8>) -> IPAddress? {
    if let address = IPAddress(parsing: text) { return address }
    var end = text.count
    while end > 0, ASCII.isDigit(text[end - 1]) { end -= 1 }
    if end > 0, end < text.count, text[end - 1] == UInt8(ascii: ":") {
      end -= 1
    } else {
      end = text.count
    }
    guard end > 2 else { return nil }
    if text[0] == UInt8(ascii: "["), text[end - 1] == UInt8(ascii: "]") {
      return IPAddress(parsing: text.extracting(1..<(end - 1)))
    }
    // Without brackets only an IPv4 address can have a port.
    guard case .v4 = IPAddress(parsing: text.extracting(0..<end)) else { return nil }
    return IPAddress(parsing: text.extracting(0..<end))
  }

  /// The last element is the one our peer vouches for.
  private static func forwardedHTTPS(_ head: RequestHead) -> Bool? {
    guard let last = head.elements(of: .xForwardedProto).last else { return nil }
    if head.equalsIgnoringCase(last, "https") || head.equalsIgnoringCase(last, "wss") {
      return true
    }
    if head.equalsIgnoringCase(last, "http") || head.equalsIgnoringCase(last, "ws") { return false }
    return nil
  }

  private static func forwardedHost(_ head: RequestHead) -> Authority? {
    guard let last = head.elements(of: .xForwardedHost).last else { return nil }
    let bytes = head.bytes
    return Authority(parsing: bytes.span.extracting(last))
  }

  private static func forwardedPort(_ head: RequestHead) -> UInt16? {
    guard let last = head.elements(of: .xForwardedPort).last else { return nil }
    let bytes = head.bytes
    return ASCII.port(bytes.span.extracting(last))
  }

  private static func keptID(_ head: RequestHead) -> [UInt8]? {
    guard let range = head.onlyValue(of: .xRequestID), !range.isEmpty,
      range.count <= requestIDBytesMax
    else { return nil }
    let bytes = head.bytes[range]
    return bytes.allSatisfy { $0 > 0x20 && $0 < 0x7f } ? Array(bytes) : nil
  }
}

/// The fields we set towards a backend, beside the handshake's.
enum ForwardedHeaders {
  /// Appends to `out` what the route's edits leave to us.
  static func write(
    _ head: RequestHead, _ client: ClientIdentity, addsForwarded: Bool = false,
    to out: inout OutgoingHead<HeadWriter>
  ) {
    if addsForwarded { out.ours("Forwarded", forwarded(head, client)) }
    if client.isTrusted {
      let peer = Array((client.peer?.description ?? "unknown").utf8)
      out.ours("X-Forwarded-For", joined(head, .xForwardedFor, with: peer))
    } else {
      out.ours("X-Forwarded-For", client.address == nil ? "unknown" : client.text)
    }
    out.ours("X-Forwarded-Proto", literal: client.isHTTPS ? "https" : "http")
    if let authority = client.authority { out.ours("X-Forwarded-Host", authority) }
    if client.port != 0 { out.ours("X-Forwarded-Port", decimal: UInt64(client.port)) }
    if client.address != nil { out.ours("X-Real-IP", client.text) }
    out.ours("X-Request-Id", client.requestID)
    let via: StaticString = head.version == .http2 ? "2 bascule" : "1.1 bascule"
    if head.count(of: .via) == 0 {
      out.ours("Via", literal: via)
    } else {
      out.ours("Via", joined(head, .via, with: Array(via.description.utf8)))
    }
  }

  /// All values of a list field, and one more.
  private static func joined(
    _ head: RequestHead, _ known: KnownField, with last: [UInt8]
  ) -> [UInt8] {
    var list: [UInt8] = []
    for value in head.values(of: known) where !value.isEmpty {
      list.append(contentsOf: head.bytes[value])
      list.append(contentsOf: ", ".utf8)
    }
    return list + last
  }

  // MARK: Forwarded

  /// The list a trusted proxy sent, and its own hop; without such a list the client, as we know it.
  static func forwarded(_ head: RequestHead, _ client: ClientIdentity) -> [UInt8] {
    guard client.isTrusted, head.count(of: .forwarded) > 0 else {
      return element(client.address, client.authority, isHTTPS: client.isHTTPS)
    }
    let hop = element(client.peer, head.host, isHTTPS: client.isTLS)
    return joined(head, .forwarded, with: hop)
  }

  /// One element (RFC 7239 section 4): `for="[2001:db8::1]";host=a.test;proto=https`.
  private static func element(
    _ address: IPAddress?, _ authority: Authority?, isHTTPS: Bool
  ) -> [UInt8] {
    var node = address?.description ?? "unknown"
    if case .v6 = address { node = "[\(node)]" }
    var text: [UInt8] = []
    ASCII.append("for=", to: &text)
    appendValue(node, to: &text)
    if let authority {
      ASCII.append(";host=", to: &text)
      appendValue(authority.description, to: &text)
    }
    ASCII.append(isHTTPS ? ";proto=https" : ";proto=http", to: &text)
    return text
  }

  /// A token, or a quoted string. Neither addresses nor authorities have anything to be escaped.
  private static func appendValue(_ value: String, to text: inout [UInt8]) {
    if value.utf8.allSatisfy(ASCII.isTokenByte) {
      text.append(contentsOf: value.utf8)
    } else {
      text.append(UInt8(ascii: "\""))
      text.append(contentsOf: value.utf8)
      text.append(UInt8(ascii: "\""))
    }
  }
}
