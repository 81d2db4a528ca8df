import Bytes
import Testing

@Suite("A byte queue")
struct ByteQueueTests {
  @Test(
    "what is consumed is what was appended, in order, over random sizes",
    arguments: [false, true])
  func order(usesSpare: Bool) {
    var queue = ByteQueue()
    var spare = SpareBytes()
    var random = SystemRandomNumberGenerator()
    var written: UInt8 = 0
    var read: UInt8 = 0
    for _ in 0..<2_000 {
      let size = Int.random(in: 0...700, using: &random)
      let bytes = (0..<size).map { written &+ UInt8(truncatingIfNeeded: $0) }
      if usesSpare { queue.append(bytes.span, &spare) } else { queue.append(bytes) }
      written &+= UInt8(truncatingIfNeeded: size)
      let take = Int.random(in: 0...queue.count, using: &random)
      queue.withSpan { span in
        for index in 0..<take { #expect(span[index] == read &+ UInt8(truncatingIfNeeded: index)) }
      }
      read &+= UInt8(truncatingIfNeeded: take)
      if usesSpare { queue.consume(take, &spare) } else { queue.consume(take) }
    }
  }

  @Test("spare memory comes back empty, and is neither large nor much")
  func spare() {
    var spare = SpareBytes()
    #expect(spare.take(for: 1).capacity == 0)
    var used: [UInt8] = Array("secret".utf8)
    used.reserveCapacity(1000)
    spare.give(&used)
    #expect(used.capacity == 0)
    // What needs more than it could hold leaves it for the next one.
    #expect(spare.take(for: 1 << 20).capacity == 0)
    let taken = spare.take(for: 1)
    #expect(taken.isEmpty && taken.capacity >= 1000)
    var large: [UInt8] = []
    large.reserveCapacity(1 << 20)
    spare.give(&large)
    #expect(spare.take(for: 1).capacity == 0)
    for _ in 0..<1_000 {
      var bytes: [UInt8] = [1]
      spare.give(&bytes)
    }
    var kept = 0
    while spare.take(for: 1).capacity > 0 { kept += 1 }
    #expect(kept == 128)
  }

  @Test("what somebody still holds is not overwritten by who gets its memory")
  func shared() {
    var spare = SpareBytes()
    let held: [UInt8] = [1, 2, 3]
    var given = held
    spare.give(&given)
    var taken = spare.take(for: 3)
    taken.append(9)
    #expect(held == [1, 2, 3] && taken == [9])
  }
}
