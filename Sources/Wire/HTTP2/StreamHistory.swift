// What the peer itself has done to its recent streams (RFC 9113, section 5.1). Only its own frames
// count: a stream that we have reset stays open here, for the peer may not know yet, and its frames
// that cross ours are no error. The library forgets closed streams; this does not, for a while.

/// The last 1,024 identifiers that a client can have used, two bits each.
struct StreamHistory: Sendable {
  enum State: Sendable, Equatable {
    /// Above all that were used.
    case idle
    case open
    /// By END_STREAM or RST_STREAM of the peer.
    case ended
    /// Passed over: a higher one was opened first, which closed it (section 5.1.1).
    case skipped
    /// Too long ago, or no identifier of a client.
    case unknown
  }

  static var span: UInt32 { 1024 }

  private var opened = InlineArray<16, UInt64>(repeating: 0)
  private var ended = InlineArray<16, UInt64>(repeating: 0)
  private(set) var highest: UInt32 = 0

  func state(of stream: UInt32) -> State {
    guard stream & 1 == 1 else { return .unknown }
    guard stream <= highest else { return .idle }
    guard highest - stream < Self.span * 2 else { return .unknown }
    let (word, bit) = Self.place(stream)
    if opened[word] & bit == 0 { return .skipped }
    return ended[word] & bit == 0 ? .open : .ended
  }

  /// Opens an idle stream; every idle one below is skipped.
  mutating func open(_ stream: UInt32) {
    // The first identifier is 1: half the distance, rounded up, are new.
    if stream - highest >= Self.span * 2 {
      opened = InlineArray(repeating: 0)
    } else {
      var id = highest + 1 | 1
      while id < stream {
        let (word, bit) = Self.place(id)
        opened[word] &= ~bit
        id += 2
      }
    }
    highest = stream
    let (word, bit) = Self.place(stream)
    opened[word] |= bit
    ended[word] &= ~bit
  }

  /// The peer has ended its side.
  mutating func end(_ stream: UInt32) {
    guard state(of: stream) == .open else { return }
    let (word, bit) = Self.place(stream)
    ended[word] |= bit
  }

  private static func place(_ stream: UInt32) -> (word: Int, bit: UInt64) {
    let index = Int(stream >> 1 & (span - 1))
    return (index >> 6, 1 << UInt64(index & 63))
  }
}
