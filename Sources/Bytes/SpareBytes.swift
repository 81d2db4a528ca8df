// Memory that has been used, for what is written next: heads that were sent, bytes of a stream that have
// gone. With many requests under way an allocator's quick way is soon full, and these are the largest
// pieces that each of them needs.

extension Array {
  /// Empties it, and keeps its memory unless that is more than `most` elements, which few need.
  @inlinable
  public mutating func empty(keeping most: Int) {
    if capacity > most { self = [] } else { removeAll(keepingCapacity: true) }
  }
}

/// Owned by one worker, which lends it. Holds 512 KiB at most.
public struct SpareBytes: Sendable {
  private static var most: Int { 128 }
  /// What is larger goes back to the allocator.
  public static var bytesMax: Int { 4096 }
  private var spare: [[UInt8]] = []

  public init() {}

  /// An empty array, with memory if there is some; for `count` bytes.
  public mutating func take(for count: Int) -> [UInt8] {
    count <= Self.bytesMax ? spare.popLast() ?? [] : []
  }

  /// Leaves `bytes` empty and without memory.
  public mutating func give(_ bytes: inout [UInt8]) {
    var given: [UInt8] = []
    swap(&given, &bytes)
    given.empty(keeping: Self.bytesMax)
    if given.capacity > 0, spare.count < Self.most { spare.append(given) }
  }
}
