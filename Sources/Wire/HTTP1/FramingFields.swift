// Which body a head announces: Content-Length and Transfer-Encoding, judged together. Where they
// leave any doubt the message is refused, for two readers who doubt differently are a smuggler's way
// in. There is no lenient mode.

import Bytes

struct FramingFields: Sendable {
  private enum Coding { case none, chunked, unsupported }

  private var contentLength: UInt64?
  private var coding = Coding.none

  /// Takes note of a field; those that do not frame are left alone.
  mutating func note(
    _ field: Field, _ bytes: Span<UInt8>, _ version: HTTPVersion
  ) throws(HTTPViolation) {
    switch field.known {
    case .contentLength:
      guard let length = ASCII.decimal(bytes.extracting(field.value)) else {
        throw .malformedContentLength
      }
      guard contentLength == nil else { throw .duplicateContentLength }
      contentLength = length
    case .transferEncoding:
      guard version == .http11 else { throw .transferEncodingInHTTP10 }
      guard coding == .none else { throw .malformedTransferEncoding }
      coding = try Self.coding(bytes, field.value)
    default: return
    }
    if contentLength != nil, coding != .none { throw .conflictingFraming }
  }

  /// `chunked` alone is understood. A list of tokens with `chunked` at most once, at its end, is a
  /// coding we do not have; everything else is a trick.
  private static func coding(
    _ bytes: Span<UInt8>, _ value: Range<Int>
  ) throws(HTTPViolation) -> Coding {
    if ASCII.equalsIgnoringCase(bytes.extracting(value), "chunked") { return .chunked }
    var start = value.lowerBound
    for index in value.lowerBound...value.upperBound {
      guard index == value.upperBound || bytes[index] == UInt8(ascii: ",") else { continue }
      let token = bytes.extracting(ASCII.trimmed(bytes, start..<index))
      let isChunked = ASCII.equalsIgnoringCase(token, "chunked")
      guard isToken(token), !isChunked || index == value.upperBound else {
        throw .malformedTransferEncoding
      }
      start = index + 1
    }
    return .unsupported
  }

  private static func isToken(_ bytes: Span<UInt8>) -> Bool {
    for index in 0..<bytes.count where !ASCII.isTokenByte(bytes[index]) { return false }
    return !bytes.isEmpty
  }

  /// The body of a request (RFC 9112 section 6.3): without either field there is none.
  func requestLength() throws(HTTPViolation) -> BodyFraming.Length {
    if coding == .unsupported { throw .unsupportedTransferCoding }
    if coding == .chunked { return .chunked }
    return contentLength.map { .length($0) } ?? .none
  }

  /// The body of a response to a method other than HEAD and CONNECT (RFC 9112 section 6.3).
  func responseLength(status: Int) throws(HTTPViolation) -> BodyFraming.Length {
    if coding == .unsupported { throw .unsupportedTransferCoding }
    if status < 200 || status == 204 {
      // `Content-Length: 0` is as forbidden here, but servers send it and it leaves no doubt.
      guard coding == .none, contentLength ?? 0 == 0 else { throw .bodyNotAllowed }
      return .none
    }
    if status == 304 { return .none }
    if coding == .chunked { return .chunked }
    return contentLength.map { .length($0) } ?? .untilClose
  }
}
