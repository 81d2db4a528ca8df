// The heads the gateway writes between client and backend: the upgrade request, the 101 that
// answers the client, and the final response of a backend that would not upgrade. Pure: heads in,
// bytes out.

import Bytes
import Configuration
import Wire

enum UpstreamRequest {
  /// The upgrade request to a backend, always an HTTP/1.1 GET. Forwarded says the same as
  /// X-Forwarded-For, so the same rule holds for it. `key`: ours, fresh, in base64.
  /// `offer`: what may be passed on, its `deflate` emptied where compression is off. Nil when the
  /// head holds what cannot be forwarded (too many Connection options, a path that cannot be
  /// rewritten): a malformed request.
  static func upgrade(
    _ head: RequestHead, from client: ClientIdentity, key: [UInt8], offer: HandshakeOffer,
    edits: HeaderEdits, policy: BackendPolicy = BackendPolicy()
  ) -> [UInt8]? {
    guard let nominated = Nominations(of: head) else { return nil }
    var out = OutgoingHead(edits)
    guard out.requestLine(head, method: "GET", policy.rewrite) else { return nil }
    writeHost(head, policy.host, to: &out)
    out.handshake { Handshake.appendRequestFields(key: key.span, offer: offer, to: &$0) }
    pass(head, client, nominated, policy, edits, to: &out)
    return out.finish()
  }

  /// A plain request to a backend, whose body follows with a length or in chunks. Nil as above.
  static func plain(
    _ head: RequestHead, from client: ClientIdentity, edits: HeaderEdits,
    policy: BackendPolicy = BackendPolicy(), in room: consuming [UInt8] = []
  ) -> [UInt8]? {
    guard let nominated = Nominations(of: head) else { return nil }
    var out = OutgoingHead(edits, in: room)
    guard out.requestLine(head, policy.rewrite) else { return nil }
    writeHost(head, policy.host, to: &out)
    switch head.bodyFraming {
    case .none: break
    case .length(let count): out.fixed("Content-Length", decimal: count)
    case .chunked, .untilClose: out.fixed("Transfer-Encoding", literal: "chunked")
    }
    pass(head, client, nominated, policy, edits, to: &out)
    return out.finish()
  }

  private static func pass(
    _ head: RequestHead, _ client: ClientIdentity, _ nominated: Nominations,
    _ policy: BackendPolicy, _ edits: HeaderEdits, to out: inout OutgoingHead<HeadWriter>
  ) {
    // With ours a list that came is continued, and not passed on by itself.
    let isTrusted = client.isTrusted
    let passesForwarded = isTrusted && !policy.addsForwarded
    out.fields(of: head) { field, name in
      if field.known == .forwarded { return passesForwarded && !nominated.contains(name) }
      return passes(field, name, isTrusted: isTrusted, edits) && !nominated.contains(name)
    }
    ForwardedHeaders.write(head, client, addsForwarded: policy.addsForwarded, to: &out)
    for field in policy.granted { out.granted(field) }
  }

  /// Puts `host` into a written request in place of the Host it has: endpoints may each have their
  /// own, and which one it will be is known only when one is dialled. `host`: of the configuration.
  static func setHost(_ host: [UInt8], in request: inout [UInt8]) {
    // Host is the first field of every request that is written here.
    guard let line = request.firstIndex(of: UInt8(ascii: "\n")) else { return }
    let start = line + 1 + "Host: ".utf8.count
    guard let end = request[line...].dropFirst().firstIndex(of: UInt8(ascii: "\r")), start <= end
    else { return }
    request.replaceSubrange(start..<end, with: host)
  }

  /// The route's upstream's, or as the client wrote it.
  private static func writeHost(
    _ head: RequestHead, _ choice: UpstreamSettings.Host, to out: inout OutgoingHead<HeadWriter>
  ) {
    if case .name(let authority) = choice {
      out.fixed("Host", authority.description.utf8.span)
    } else if let value = head.onlyValue(of: .host) {
      let bytes = head.bytes
      out.fixed("Host", bytes.span.extracting(value))
    } else {
      out.fixed("Host", (head.host?.description ?? "").utf8.span)
    }
  }

  private static func passes(
    _ field: Field, _ name: Span<UInt8>, isTrusted: Bool, _ edits: HeaderEdits
  ) -> Bool {
    let known = field.known
    if known.isHopByHop || known.isHandshake || known.isForwarding { return false }
    // We have answered it ourselves, or there is no body to expect 100 for.
    if known == .expect { return false }
    if isProxyName(name) { return false }
    if !isTrusted, isForwardingName(name) { return false }
    return known != .other || !isAlias(name, edits)
  }

  /// `X-Forwarded-Ssl`, `-Prefix`, `-User` and their kin: backends believe them, so only trusted
  /// proxies may say them.
  private static func isForwardingName(_ name: Span<UInt8>) -> Bool {
    let prefixCount = 12
    return name.count > prefixCount
      && ASCII.equalsIgnoringCase(name.extracting(0..<prefixCount), "x-forwarded-")
  }

  /// CGI and its heirs read `_` and `.` as `-`, so such a name could stand for one that is ours.
  /// Names with `_` are dropped whatever they spell.
  private static func isAlias(_ name: Span<UInt8>, _ edits: HeaderEdits) -> Bool {
    if ASCII.isLettersAndHyphens(name) { return false }
    var hasDot = false
    for index in name.indices {
      if name[index] == UInt8(ascii: "_") { return true }
      hasDot = hasDot || name[index] == UInt8(ascii: ".")
    }
    guard hasDot else { return false }
    let plain = name.indices.map { name[$0] == UInt8(ascii: ".") ? UInt8(ascii: "-") : name[$0] }
    let known = KnownField(name: plain.span)
    return known != .other || isForwardingName(plain.span) || edits.mentions(plain.span)
  }
}

enum ClientResponse {
  /// The 101 for the client, over HTTP/2 the 200. `accept`: for the client's own key. Nil when the
  /// backend's head holds what cannot be forwarded: a broken answer. `cookie`: a Set-Cookie of ours.
  static func accepting(
    _ answer: ResponseHead, accept: [UInt8], agreement: HandshakeAgreement, edits: HeaderEdits,
    cookie: [UInt8]? = nil, onStream: Bool
  ) -> ClientHead? {
    guard let nominated = Nominations(of: answer) else { return nil }
    if onStream {
      var out = OutgoingHead(edits, FieldBlock(of: answer.bytes))
      out.agreed(agreement)
      out.fields(of: answer) { field, name in passes(field, name) && !nominated.contains(name) }
      if let cookie { out.fixed("set-cookie", cookie) }
      return .fields(status: 200, out.finish(), ends: false)
    }
    var out = OutgoingHead(edits)
    out.statusLine(101, "Switching Protocols")
    out.handshake {
      Handshake.appendAnswerFields(accept: accept.span, agreement: agreement, to: &$0)
    }
    out.fields(of: answer) { field, name in passes(field, name) && !nominated.contains(name) }
    if let cookie { out.fixed("Set-Cookie", cookie) }
    return .bytes(out.finish())
  }

  /// The head of a final response that is relayed with its body, over HTTP/1.1. `closes`: the connection
  /// ends with it.
  static func relayed(
    _ answer: ResponseHead, edits: HeaderEdits, cookie: [UInt8]? = nil, framing: ResponseFraming,
    closes: Bool, in room: consuming [UInt8] = []
  ) -> [UInt8]? {
    guard let nominated = Nominations(of: answer) else { return nil }
    var out = OutgoingHead(edits, in: room)
    out.statusLine(of: answer)
    relay(answer, nominated, framing, cookie, to: &out)
    if closes { out.fixed("Connection", literal: "close") }
    return out.finish()
  }

  /// The same for a stream. `room`: memory for the fields.
  static func relayedFields(
    _ answer: ResponseHead, edits: HeaderEdits, cookie: [UInt8]? = nil, framing: ResponseFraming,
    in room: inout FieldBlock
  ) -> FieldBlock? {
    guard let nominated = Nominations(of: answer) else { return nil }
    var out = OutgoingHead(edits, FieldBlock(of: answer.bytes, in: &room))
    relay(answer, nominated, framing, cookie, to: &out)
    return out.finish()
  }

  /// A 103: fields that hint at what is coming.
  static func interim(_ answer: ResponseHead, edits: HeaderEdits, onStream: Bool) -> ClientHead? {
    guard let nominated = Nominations(of: answer) else { return nil }
    if onStream {
      var out = OutgoingHead(edits, FieldBlock(of: answer.bytes))
      out.fields(of: answer) { field, name in passes(field, name) && !nominated.contains(name) }
      return .interim(status: UInt16(clamping: answer.status), out.finish())
    }
    var out = OutgoingHead(edits)
    out.statusLine(of: answer)
    out.fields(of: answer) { field, name in passes(field, name) && !nominated.contains(name) }
    return .bytes(out.finish())
  }

  private static func relay<Sink: FieldSink>(
    _ answer: ResponseHead, _ nominated: Nominations, _ framing: ResponseFraming,
    _ cookie: [UInt8]?, to out: inout OutgoingHead<Sink>
  ) {
    out.fields(of: answer) { field, name in passes(field, name) && !nominated.contains(name) }
    if let cookie { out.fixed("Set-Cookie", cookie) }
    switch framing {
    case .none:
      // Of HEAD and 304: what the body would be (RFC 9110 section 8.6).
      if answer.status >= 200, answer.status != 204,
        let length = answer.onlyValue(of: .contentLength)
      {
        out.fixed("Content-Length", answer.bytes.span.extracting(length))
      }
    case .length(let count): out.fixed("Content-Length", decimal: count)
    // The fields of a stream do not take it (RFC 9113 section 8.2.2).
    case .chunked: out.fixed("Transfer-Encoding", literal: "chunked")
    case .untilEnd: break
    }
    out.ours("Via", literal: "1.1 bascule")
  }

  /// Alt-Svc would send clients past the gateway.
  private static func passes(_ field: Field, _ name: Span<UInt8>) -> Bool {
    let known = field.known
    return !known.isHopByHop && !known.isHandshake && known != .altSvc && !isProxyName(name)
  }
}

/// `Proxy` (which CGI programs take for HTTP_PROXY) and everything that starts with `Proxy-`: said
/// to us, not to the other side.
private func isProxyName(_ name: Span<UInt8>) -> Bool {
  let prefixCount = 5
  guard name.count >= prefixCount, name[0] | 0x20 == UInt8(ascii: "p"),
    ASCII.equalsIgnoringCase(name.extracting(0..<prefixCount), "proxy")
  else { return false }
  return name.count == prefixCount || name[prefixCount] == UInt8(ascii: "-")
}
