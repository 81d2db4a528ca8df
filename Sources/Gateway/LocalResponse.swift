// Answers the gateway gives itself: errors in plain text, redirects and fixed responses of routes, and
// the demo's page. Pure: it makes the bytes, the connection sends them. Of what a peer sent only a
// redirect to https has its address in the head, which was checked byte by byte; what goes into a body
// is made printable and stays plain text.

import Bytes
import Configuration
import Telemetry
import Wire

/// One complete response.
struct LocalResponse {
  private struct Extra {
    var name: StaticString
    var value: String
  }

  let status: UInt16
  /// Nil without a body.
  private let contentType: String?
  let body: [UInt8]
  /// The connection ends after this answer.
  private let closes: Bool
  private var extras: [Extra] = []
  /// Browsers must not keep what may be different the next time.
  private var isStored = false
  /// Of the route that answers.
  private var edits = HeaderEdits()

  private init(_ status: UInt16, _ contentType: String?, _ body: [UInt8], closes: Bool) {
    self.status = status
    self.contentType = contentType
    self.body = body
    self.closes = closes
  }

  /// The answer for a fault, nil where the table has none. It closes the connection where the fault
  /// asks for it or `closes` does. `requestID`: what its log line can be found by; nil where no
  /// request could be read.
  static func fault(_ fault: Fault, closes: Bool, requestID: RequestID? = nil) -> LocalResponse? {
    guard let status = fault.status else { return nil }
    var text = "\(status) \(Self.reason(status))\n\n\(Self.explanation(fault))\n"
    if let requestID { text += "\nRequest: \(printable(requestID.text))\n" }
    return plain(status, text, closes: closes || fault.closesConnection)
  }

  /// The 403 of the origin check. `origin`: the offending value as it came, nil when there was none
  /// or more than one; `own`: what same-origin would be; `why`: the check's verdict.
  static func originRefused(
    _ origin: [UInt8]?, own: Origin?, why: OriginPolicy.Reason, closes: Bool,
    requestID: RequestID? = nil
  ) -> LocalResponse {
    let came = origin.map { printable($0) } ?? "none"
    var text = "403 \(reason(403))\n\nThe origin of this WebSocket is not allowed here.\n\n"
    text += "Origin that was sent:   \(came)\n"
    if let own { text += "Origin of this address: \(own)\n" }
    text += "\n" + advice(why) + "\n"
    if let requestID { text += "\nRequest: \(printable(requestID.text))\n" }
    return plain(403, text, closes: closes)
  }

  static func demoPage(httpPort: UInt16, httpsPort: UInt16, closes: Bool) -> LocalResponse {
    var response = LocalResponse(
      200, "text/html; charset=utf-8",
      DemoPage.render(httpPort: httpPort, httpsPort: httpsPort), closes: closes)
    response.extras = [
      Extra(name: "Content-Security-Policy", value: DemoPage.contentSecurityPolicy),
      Extra(name: "X-Content-Type-Options", value: "nosniff"),
      Extra(name: "Referrer-Policy", value: "no-referrer"),
    ]
    return response
  }

  /// `redirect` of a route; nil when the request names no host to stay at. `authority`: what the
  /// client asked for.
  static func redirect(
    _ redirect: RedirectSettings, _ head: RequestHead, authority: Authority?, edits: HeaderEdits,
    closes: Bool
  ) -> LocalResponse? {
    let location: String
    switch redirect.target {
    case .fixed(let target): location = target
    case .https(let port):
      guard let host = authority?.host else { return nil }
      let address = port == 443 ? host : "\(host):\(port)"
      let query = head.query.map { "?" + String(decoding: head.bytes[$0], as: UTF8.self) } ?? ""
      location =
        "https://\(address)\(String(decoding: head.bytes[head.path], as: UTF8.self))\(query)"
    }
    let status = redirect.status ?? redirect.defaultStatus
    let text = "\(status) \(reason(status))\n"
    var response = plain(status, text, closes: closes)
    response.extras.append(Extra(name: "Location", value: location))
    response.isStored = true
    response.edits = edits
    return response
  }

  /// `respond` of a route.
  static func fixed(
    _ respond: RespondSettings, edits: HeaderEdits, closes: Bool
  ) -> LocalResponse {
    let body = Array(respond.body.utf8)
    var response = LocalResponse(
      respond.status, body.isEmpty ? nil : respond.contentType, body, closes: closes)
    response.edits = edits
    return response
  }

  /// Of the admin listener: nothing but its own page may be taken for one, or be part of one of others.
  static func admin(_ answer: AdminAnswer, closes: Bool) -> LocalResponse {
    var response = LocalResponse(answer.status, answer.contentType, answer.body, closes: closes)
    response.extras = [
      Extra(name: "Content-Security-Policy", value: answer.contentSecurityPolicy),
      Extra(name: "X-Content-Type-Options", value: "nosniff"),
      Extra(name: "Cross-Origin-Resource-Policy", value: "same-origin"),
    ]
    if let allow = answer.allow { response.extras.append(Extra(name: "Allow", value: allow)) }
    if let challenge = answer.challenge {
      response.extras.append(Extra(name: "WWW-Authenticate", value: challenge))
    }
    return response
  }

  var bodyCount: UInt64 { UInt64(body.count) }

  /// The bytes on the wire. For HEAD pass `withoutBody`: the head stays the same.
  func bytes(withoutBody: Bool = false) -> [UInt8] {
    var out = OutgoingHead(edits)
    out.statusLine(Int(status), Self.reason(status))
    write(to: &out)
    addConnection(to: &out)
    let head = out.finish()
    return withoutBody ? head : head + body
  }

  /// There is no 426 in HTTP/2; the field that tells the version says enough (RFC 8441 section 5).
  var statusOverHTTP2: UInt16 { status == 426 ? 400 : status }

  /// The head's fields over HTTP/2.
  func fields() -> FieldBlock {
    var out = OutgoingHead(edits, FieldBlock())
    write(to: &out)
    if status == 426 { out.fixed("Sec-WebSocket-Version", literal: "13") }
    return out.finish()
  }

  private func write<Sink: FieldSink>(to out: inout OutgoingHead<Sink>) {
    if let contentType { out.ours("Content-Type", contentType) }
    // RFC 9110 section 8.6.
    if status != 204 { out.fixed("Content-Length", Array(String(body.count).utf8)) }
    if !isStored { out.ours("Cache-Control", literal: "no-store") }
    for extra in extras { out.ours(extra.name, extra.value) }
  }

  /// 426 has to say what to upgrade to (RFC 9110 section 15.5.22), in `Connection` as well.
  private func addConnection(to out: inout OutgoingHead<HeadWriter>) {
    if status == 426 {
      out.fixed("Upgrade", literal: "websocket")
      out.fixed("Sec-WebSocket-Version", literal: "13")
      out.fixed("Connection", literal: closes ? "Upgrade, close" : "Upgrade")
    } else if closes {
      out.fixed("Connection", literal: "close")
    }
  }

  private static func plain(_ status: UInt16, _ text: String, closes: Bool) -> LocalResponse {
    var response = LocalResponse(
      status, "text/plain; charset=utf-8", Array(text.utf8), closes: closes)
    response.extras = [Extra(name: "X-Content-Type-Options", value: "nosniff")]
    switch status {
    case 405:
      let methods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
      response.extras.append(Extra(name: "Allow", value: methods))
    case 503: response.extras.append(Extra(name: "Retry-After", value: "5"))
    default: break
    }
    return response
  }

  // MARK: Words

  /// RFC 9110 section 15, RFC 6585, RFC 7725; of the statuses the gateway gives itself and of those
  /// that routes are likely to.
  static func reason(_ status: UInt16) -> StaticString {
    switch status {
    case 200: "OK"
    case 201: "Created"
    case 202: "Accepted"
    case 204: "No Content"
    case 205: "Reset Content"
    case 301: "Moved Permanently"
    case 302: "Found"
    case 303: "See Other"
    case 307: "Temporary Redirect"
    case 308: "Permanent Redirect"
    case 400: "Bad Request"
    case 401: "Unauthorized"
    case 403: "Forbidden"
    case 404: "Not Found"
    case 405: "Method Not Allowed"
    case 408: "Request Timeout"
    case 409: "Conflict"
    case 410: "Gone"
    case 413: "Content Too Large"
    case 414: "URI Too Long"
    case 417: "Expectation Failed"
    case 421: "Misdirected Request"
    case 422: "Unprocessable Content"
    case 426: "Upgrade Required"
    case 429: "Too Many Requests"
    case 431: "Request Header Fields Too Large"
    case 451: "Unavailable For Legal Reasons"
    case 500: "Internal Server Error"
    case 501: "Not Implemented"
    case 502: "Bad Gateway"
    case 503: "Service Unavailable"
    case 504: "Gateway Timeout"
    case 505: "HTTP Version Not Supported"
    default: "Response"
    }
  }

  /// What a person who meets the answer can use. Says nothing about what is behind the gateway.
  private static func explanation(_ fault: Fault) -> String {
    switch fault {
    case .malformedRequest: "The request is not valid HTTP."
    case .malformedHandshake: "The WebSocket handshake is not valid (RFC 6455, section 4.2.1)."
    case .methodNotAllowed: "This method is not served here."
    case .httpVersion: "Only HTTP/1.0 and HTTP/1.1 are spoken here."
    case .http2NotEnabled:
      """
      Only HTTP/1.0 and HTTP/1.1 are spoken here. For HTTP/2 whoever runs this gateway can set
      `protocols: [h2, http/1.1]` at the listener.
      """
    case .notImplemented: "The request asks for something that is not supported here."
    case .expectationFailed: "The request expects what is not done here."
    case .headTooSlow, .bodyTooSlow: "The request did not arrive in time."
    case .lineTooLong: "The request line is too long."
    case .bodyTooLarge: "The request's body is too large."
    case .headTooLarge: "The request's fields are too large or too many."
    case .webSocketVersion: "Only version 13 of WebSocket is spoken here."
    case .misdirected: "This connection is not for that name. Ask on one of its own."
    case .noRoute: "Nothing is served at this address."
    case .originRefused: "The origin of this WebSocket is not allowed here."
    case .limitReached, .memoryShort: "The gateway is at its limit. Try again later."
    case .refusingWork, .drain, .superseded, .routeChanged:
      "The gateway is stopping. Try again later."
    case .noEndpoint: "No backend can take the request now. Try again later."
    case .connectFailed, .backendTLSFailed: "The backend cannot be reached. Try again later."
    case .backendSilent, .backendTimedOut, .backendWriteStalled:
      "The backend did not answer in time."
    case .backendAnswerBroken: "The backend's answer is not valid."
    case .backendVanished: "The backend ended the connection before it had answered."
    case .authorizationFailed:
      "Whether this request is allowed cannot be told now. Try again later."
    case .gatewayFault: "Something went wrong in the gateway."
    case .clientProtocolError, .clientMessageTooBig,
      .clientBadUTF8, .clientPingRate, .backendProtocolError, .backendMessageTooBig,
      .backendBadUTF8, .clientVanished, .clientTimedOut, .clientWriteStalled,
      .clientCloseTimedOut, .backendCloseTimedOut, .tunnelIdle, .operatorClose:
      "The connection failed."
    }
  }

  private static func advice(_ why: OriginPolicy.Reason) -> String {
    switch why {
    case .schemeDiffers:
      """
      Only the scheme (http or https) differs. Does TLS end at a proxy before this gateway? Then
      its address belongs into `trusted_proxies`, and it has to send X-Forwarded-Proto.
      """
    case .missing: "Programs other than browsers need `missing: allow` in the route's `origins`."
    case .malformed: "The value is not an origin (RFC 6454, section 6.2)."
    case .duplicate: "There is more than one Origin field."
    case .notListed: "Whoever runs this gateway can list it in the route's `origins`."
    }
  }

  /// The value in visible ASCII, everything else as `?`, cut at 256 bytes.
  private static func printable(_ bytes: [UInt8]) -> String {
    let shown = bytes.prefix(256).map { $0 > 0x20 && $0 < 0x7f ? $0 : UInt8(ascii: "?") }
    return String(decoding: shown, as: UTF8.self) + (bytes.count > 256 ? "..." : "")
  }
}
