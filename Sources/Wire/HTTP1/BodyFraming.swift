// Follows one message body to its end (RFC 9112 sections 6 and 7) while the bytes are relayed
// verbatim. It keeps no bytes; it says where the body ends, or that it is not a body that may be
// passed on. A violation may be thrown for a span of which the first part was in order.

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
    case chunked(ChunkScanner)
    case untilClose
  }
  private var kind: Kind

  public init(_ length: Length) {
    switch length {
    case .none: kind = .counted(0)
    case .length(let count): kind = .counted(count)
    case .chunked: kind = .chunked(ChunkScanner())
    case .untilClose: kind = .untilClose
    }
  }

  /// Presents the next bytes, each byte once. After the end it answers `complete(consumed: 0)`.
  /// `content` is told which of them are content (RFC 9110 section 6.4), in order.
  public mutating func advance(
    _ bytes: Span<UInt8>, content: (Range<Int>) -> Void = { _ in }
  ) throws(HTTPViolation) -> Progress {
    switch kind {
    case .counted(let remaining):
      let taken = Int(min(UInt64(bytes.count), remaining))
      kind = .counted(remaining - UInt64(taken))
      content(0..<taken)
      return UInt64(taken) == remaining ? .complete(consumed: taken) : .needMore
    case .chunked(var scanner):
      defer { kind = .chunked(scanner) }
      let end = try scanner.scan(bytes, content: content)
      return scanner.isComplete ? .complete(consumed: end) : .needMore
    case .untilClose:
      content(0..<bytes.count)
      return .needMore
    }
  }

  /// Whether the connection may end here: the body is complete, or only the end completes it.
  public var mayEndHere: Bool {
    switch kind {
    case .counted(let remaining): remaining == 0
    case .chunked(let scanner): scanner.isComplete
    case .untilClose: true
    }
  }
}
