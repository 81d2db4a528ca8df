// Writes the chunked coding (RFC 9112 section 7.1): no extensions, one spelling of sizes. A size goes
// out only with the bytes that it counts, all in hand: a size that is announced and then not kept
// would make the receiver take the next message for content.

public import Bytes

/// A body in chunks: any number of `appendChunk`, then one `appendEnd`.
public enum ChunkWriter {
  /// What a chunk needs in front of its content at most.
  public static var sizeLineBytesMax: Int { 18 }
  /// CRLF, which follows the content of a chunk.
  public static var chunkEnd: [2 of UInt8] { [0x0d, 0x0a] }

  /// Appends a chunk of all of `content`; nothing when there is none, for a chunk of nothing is the
  /// end of a body.
  public static func appendChunk(_ content: Span<UInt8>, to buffer: SharedBuffer) {
    guard !content.isEmpty else { return }
    sizeLine(content.count).withSpan { buffer.append($0) }
    buffer.append(content)
    let end = chunkEnd
    buffer.append(end.span)
  }

  /// Appends the last chunk, `trailers` and the empty line. `trailers` are lines as
  /// `BodyFraming.trailers` gives them.
  public static func appendEnd(trailers: [UInt8] = [], to buffer: SharedBuffer) {
    let line = chunkEnd
    buffer.append(UInt8(ascii: "0"))
    buffer.append(line.span)
    buffer.append(trailers.span)
    buffer.append(line.span)
  }

  /// The size line alone, for content that lies elsewhere and is sent right behind it, with
  /// `chunkEnd` behind that. `count` is at least 1.
  public static func sizeLine(_ count: Int) -> ChunkSizeLine {
    invariant(count > 0, "a chunk of nothing would end the body")
    return ChunkSizeLine(UInt64(count))
  }
}

/// `chunk-size CRLF`, in place.
public struct ChunkSizeLine: Sendable {
  private var bytes = InlineArray<18, UInt8>(repeating: 0)
  private let start: Int

  fileprivate init(_ count: UInt64) {
    bytes[16] = 0x0d
    bytes[17] = 0x0a
    var rest = count
    var first = 16
    repeat {
      first -= 1
      let digit = UInt8(truncatingIfNeeded: rest & 0xf)
      bytes[first] = digit < 10 ? 0x30 + digit : 0x57 + digit
      rest >>= 4
    } while rest > 0
    start = first
  }

  public var count: Int { bytes.count - start }

  public func withSpan<Result>(_ body: (Span<UInt8>) -> Result) -> Result {
    body(bytes.span.extracting(start..<bytes.count))
  }
}
