// What a relay asks of heads besides their fields: whether the connection goes on behind the message,
// what the client waits for, and whether a request may be sent twice. Answers of RFC 9110 and 9112,
// never of a configuration.

import Bytes

extension MessageHead {
  /// The rule for both directions (RFC 9112 section 9.3): `close` ends it, whatever else stands
  /// there; HTTP/1.1 persists; HTTP/1.0 only with `keep-alive`.
  func persists(_ version: HTTPVersion) -> Bool {
    if hasToken("close", in: .connection) { return false }
    return version != .http10 || hasToken("keep-alive", in: .connection)
  }
}

extension RequestHead {
  public var isHEAD: Bool { equals(method, "HEAD") }

  /// Whether the client asks for its connection to go on behind the response. Of HTTP/1; streams of
  /// HTTP/2 have no such question and answer true.
  public var keepsConnection: Bool { persists(version) }

  /// Whether sending the request twice does what sending it once does: the safe methods, PUT and
  /// DELETE (RFC 9110 section 9.2.2). Of a method nobody here knows it is not assumed.
  public var isIdempotent: Bool {
    isGET || isHEAD || equals(method, "OPTIONS") || equals(method, "PUT")
      || equals(method, "DELETE")
  }

  /// Whether the client waits for a 100 before it sends its body (RFC 9110 section 10.1.1). Never in
  /// HTTP/1.0, where the field has to be ignored, and never without a body.
  public var expectsContinue: Bool {
    version != .http10 && hasBody && count(of: .expect) > 0 && !hasUnknownExpectation
  }

  /// Whether there is any expectation but a single `100-continue` in whatever case, which asks for a
  /// 417, in HTTP/1.0 too: servers that took such a field for a `100-continue` have lost count of
  /// their messages.
  public var hasUnknownExpectation: Bool {
    guard count(of: .expect) > 0 else { return false }
    guard let value = onlyValue(of: .expect) else { return true }
    return !equalsIgnoringCase(value, "100-continue")
  }
}

extension ResponseHead {
  /// Whether the backend lets its connection go on behind the response, as far as it says so: a body
  /// until close ends it all the same.
  public var keepsConnection: Bool { persists(version) }

  /// The body that follows on the wire. What a response to HEAD announces is what GET would have
  /// brought (RFC 9112 section 6.3).
  public func body(toHEAD isHEAD: Bool) -> BodyFraming.Length { isHEAD ? .none : bodyFraming }

  /// Whether a response of that status may have a body, were the request no HEAD: not 1xx, 204 and
  /// 304 (RFC 9110 section 6.4.1).
  public var allowsBody: Bool { status >= 200 && status != 204 && status != 304 }
}
