// A request head that has passed every check. It owns its bytes; routing, the handshake and the
// forwarding read it and never have to doubt it.

public import Bytes

/// A class, because it is handed on from step to step, and each copy would count four references.
public final class RequestHead: MessageHead, Sendable {
  public let bytes: [UInt8]
  public let fields: [Field]
  public let version: HTTPVersion
  public let method: Range<Int>
  /// The request target as it came, whatever its form. Over HTTP/2 `:path`; of a plain CONNECT
  /// `:authority`.
  public let target: Range<Int>
  /// Never empty: starts with `/`, or is `*` for `OPTIONS *`. Verbatim, without the query; free of
  /// dot segments, encoded slashes and backslashes. An absolute-form target without path gets one,
  /// which lies behind the head in `bytes`.
  public let path: Range<Int>
  /// What follows the first `?`; may be empty.
  public let query: Range<Int>?
  /// Of the Host field, of an absolute-form target, or of `:authority`, which is also the one Host
  /// field of a request over HTTP/2. Nil only in HTTP/1.0 without either.
  public let host: Authority?
  /// `:protocol` of an extended CONNECT (RFC 8441); nil in HTTP/1.
  public let protocolName: Range<Int>?
  /// `untilClose` only in HTTP/2, where a body without Content-Length ends with the stream; `none`
  /// there when END_STREAM came with the head.
  public let bodyFraming: BodyFraming.Length

  init(
    bytes: [UInt8], fields: [Field], version: HTTPVersion, method: Range<Int>, target: Range<Int>,
    path: Range<Int>, query: Range<Int>?, host: Authority?, protocolName: Range<Int>?,
    bodyFraming: BodyFraming.Length
  ) {
    self.bytes = bytes
    self.fields = fields
    self.version = version
    self.method = method
    self.target = target
    self.path = path
    self.query = query
    self.host = host
    self.protocolName = protocolName
    self.bodyFraming = bodyFraming
  }

  public var isGET: Bool { equals(method, "GET") }

  /// Whether bytes of a body follow the head.
  public var hasBody: Bool { bodyFraming != .none && bodyFraming != .length(0) }
}
