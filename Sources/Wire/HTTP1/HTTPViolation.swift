// Every way in which a peer can break HTTP/1. The parsers throw these; what follows from them is
// decided elsewhere. A violation always ends the connection it came from: after it nobody knows
// where the next message starts.

/// A message that must not be forwarded. Section numbers are of RFC 9112 unless another is named.
public enum HTTPViolation: Error, Sendable, Equatable, CaseIterable {
  // Lines
  /// A CR without LF or an LF without CR (2.2).
  case bareLineEnd
  /// A control byte; in a request line also HTAB, DEL and everything beyond ASCII (2.2, RFC 9110
  /// section 5.5).
  case forbiddenByte
  /// A field line that starts with SP or HTAB (5.2).
  case obsoleteFold
  /// An empty name, a byte in it that is no tchar, blanks before the colon, or no colon (5.1).
  case malformedFieldName

  // Request line
  /// Not three parts with one SP between them, which is HTTP/0.9 as well (3).
  case malformedRequestLine
  /// No token, or one with lower-case letters: methods are case-sensitive and none has them (3.1).
  case malformedMethod
  /// CONNECT and TRACE (RFC 9110 sections 9.3.6 and 9.3.8).
  case methodNotAllowed
  /// None of the four forms, a fragment, a bad percent-encoding (3.2).
  case malformedTarget
  /// Dot segments, encoded slashes, NUL, line ends and overlong UTF-8: two readers would read two
  /// paths (RFC 3986 sections 3.3 and 6.2.2).
  case ambiguousPath
  /// No `HTTP/d.d`, or HTTP/0 (2.3).
  case malformedVersion
  /// The preface of HTTP/2 where that is not spoken (RFC 9113 section 3.4).
  case http2NotEnabled
  /// HTTP/1.2 and later (RFC 9110 section 15.6.6).
  case versionNotSupported

  // Host
  /// No Host field in HTTP/1.1 (3.2).
  case missingHost
  /// More than one Host field (3.2).
  case duplicateHost
  /// No `host[:port]` (3.2).
  case malformedHost
  /// An absolute-form target that names another authority than Host (3.2.2).
  case targetHostMismatch

  // Framing
  /// No run of 1 to 19 digits (6.2).
  case malformedContentLength
  /// More than one Content-Length, even of the same value (6.3).
  case duplicateContentLength
  /// Transfer-Encoding together with Content-Length (6.1).
  case conflictingFraming
  /// A value that is no list of codings, `chunked` twice or not last, or a second field (6.1).
  case malformedTransferEncoding
  /// Codings other than `chunked` (6.1).
  case unsupportedTransferCoding
  /// Transfer-Encoding in HTTP/1.0 (6.1).
  case transferEncodingInHTTP10
  /// A response of status 1xx or 204 that announces a body (6.1, RFC 9110 section 8.6).
  case bodyNotAllowed

  // Status line
  /// No `HTTP/1.x`, three digits from 100 to 599, and reason (4).
  case malformedStatusLine

  // Limits
  /// A request line beyond the limit (3).
  case requestLineTooLong
  /// A field line or a status line beyond the limit (RFC 6585 section 5).
  case lineTooLong
  case headTooLarge
  case tooManyFields

  // Chunked bodies
  /// No 1 to 16 hexadecimal digits with CRLF or `;` right behind them (7.1).
  case malformedChunkSize
  /// A control byte in an extension, or more of them than the limit (7.1.1).
  case malformedChunkExtension
  /// No CRLF behind the data of a chunk (7.1).
  case malformedChunkEnd
  /// A trailer line that is no field line (7.1.2).
  case malformedTrailer
  case trailersTooLarge

  /// The answer to a request with this fault. In a response every violation is a 502 for the client.
  public var status: Int {
    switch self {
    case .methodNotAllowed: 405
    case .requestLineTooLong: 414
    case .lineTooLong, .headTooLarge, .tooManyFields, .trailersTooLarge: 431
    case .unsupportedTransferCoding: 501
    case .versionNotSupported: 505
    default: 400
    }
  }

  /// For log lines.
  public var word: StaticString {
    switch self {
    case .bareLineEnd: "bare-line-end"
    case .forbiddenByte: "forbidden-byte"
    case .obsoleteFold: "obsolete-fold"
    case .malformedFieldName: "malformed-field-name"
    case .malformedRequestLine: "malformed-request-line"
    case .malformedMethod: "malformed-method"
    case .methodNotAllowed: "method-not-allowed"
    case .malformedTarget: "malformed-target"
    case .ambiguousPath: "ambiguous-path"
    case .malformedVersion: "malformed-version"
    case .http2NotEnabled: "http2-not-enabled"
    case .versionNotSupported: "version-not-supported"
    case .missingHost: "missing-host"
    case .duplicateHost: "duplicate-host"
    case .malformedHost: "malformed-host"
    case .targetHostMismatch: "target-host-mismatch"
    case .malformedContentLength: "malformed-content-length"
    case .duplicateContentLength: "duplicate-content-length"
    case .conflictingFraming: "conflicting-framing"
    case .malformedTransferEncoding: "malformed-transfer-encoding"
    case .unsupportedTransferCoding: "unsupported-transfer-coding"
    case .transferEncodingInHTTP10: "transfer-encoding-in-http10"
    case .bodyNotAllowed: "body-not-allowed"
    case .malformedStatusLine: "malformed-status-line"
    case .requestLineTooLong: "request-line-too-long"
    case .lineTooLong: "line-too-long"
    case .headTooLarge: "head-too-large"
    case .tooManyFields: "too-many-fields"
    case .malformedChunkSize: "malformed-chunk-size"
    case .malformedChunkExtension: "malformed-chunk-extension"
    case .malformedChunkEnd: "malformed-chunk-end"
    case .malformedTrailer: "malformed-trailer"
    case .trailersTooLarge: "trailers-too-large"
    }
  }
}
