// Takes one message body out of its framing (RFC 9112 sections 6 and 7), in either direction. It says
// which bytes are content, which trailers may follow and where the body ends; the framing itself is
// never passed on, it is written anew. It keeps no bytes but the trailers.

import Bytes

public struct BodyFraming: Sendable {
  public enum Length: Sendable, Equatable {
    case none
    case length(UInt64)
    case chunked
    /// Responses only: the body ends with the connection.
    case untilClose
  }

  public enum Progress: Sendable, Equatable {
    /// All bytes presented belong to the body, and it goes on.
    case needMore
    /// The body ends after `consumed` of the bytes presented.
    case complete(consumed: Int)
  }

  private enum Kind: Sendable {
    case counted(UInt64)
    case chunked
    case untilClose
  }
  private var kind: Kind
  // Beside the kind and not in it, so that its trailers grow in place.
  private var chunks = ChunkScanner()

  public init(_ length: Length) {
    switch length {
    case .none: kind = .counted(0)
    case .length(let count): kind = .counted(count)
    case .chunked: kind = .chunked
    case .untilClose: kind = .untilClose
    }
  }

  /// Presents the next bytes, each byte once. After the end it answers `complete(consumed: 0)`.
  /// `content` is told which of them are content (RFC 9110 section 6.4): ranges of `bytes`, in order,
  /// none empty. It may have been told some when a violation further on is thrown; after that the
  /// framing must not be used.
  public mutating func advance(
    _ bytes: Span<UInt8>, content: (Range<Int>) -> Void = { _ in }
  ) throws(HTTPViolation) -> Progress {
    switch kind {
    case .counted(let remaining):
      let taken = Int(min(UInt64(bytes.count), remaining))
      kind = .counted(remaining - UInt64(taken))
      if taken > 0 { content(0..<taken) }
      return UInt64(taken) == remaining ? .complete(consumed: taken) : .needMore
    case .chunked:
      let end = try chunks.scan(bytes, content: content)
      return chunks.isComplete ? .complete(consumed: end) : .needMore
    case .untilClose:
      if !bytes.isEmpty { content(0..<bytes.count) }
      return .needMore
    }
  }

  /// The trailers that may be passed on, as lines of `name: value` CRLF, checked byte by byte and
  /// without the blanks around the values. Empty before the end, and without chunks.
  public var trailers: [UInt8] { chunks.trailers }

  /// Whether the connection may end here: the body is complete, or only the end completes it.
  public var mayEndHere: Bool {
    switch kind {
    case .counted(let remaining): remaining == 0
    case .chunked: chunks.isComplete
    case .untilClose: true
    }
  }
}
