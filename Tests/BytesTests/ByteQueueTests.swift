import Bytes
import Testing

@Suite("A byte queue")
struct ByteQueueTests {
  @Test("what is consumed is what was appended, in order, over random sizes")
  func order() {
    var queue = ByteQueue()
    var random = SystemRandomNumberGenerator()
    var written: UInt8 = 0
    var read: UInt8 = 0
    for _ in 0..<2_000 {
      let size = Int.random(in: 0...700, using: &random)
      queue.append((0..<size).map { written &+ UInt8(truncatingIfNeeded: $0) })
      written &+= UInt8(truncatingIfNeeded: size)
      let take = Int.random(in: 0...queue.count, using: &random)
      queue.withSpan { span in
        for index in 0..<take { #expect(span[index] == read &+ UInt8(truncatingIfNeeded: index)) }
      }
      read &+= UInt8(truncatingIfNeeded: take)
      queue.consume(take)
    }
  }
}
