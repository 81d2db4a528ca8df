import Synchronization
import Telemetry
import Testing

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

private func append(_ text: String, to ring: LogRing) -> Bool { ring.append(bytes(text).span) }

private func takeAll(_ ring: LogRing, upTo limit: Int = .max) -> (text: String, dropped: UInt64) {
  var output: [UInt8] = []
  let dropped = ring.take(upTo: limit, into: &output)
  return (String(decoding: output, as: UTF8.self), dropped)
}

@Suite("The log ring")
struct LogRingTests {
  @Test("lines come out whole and in order, around the end of the storage")
  func order() {
    let ring = LogRing(capacity: 16)
    var expected = ""
    var got = ""
    for round in 0..<200 {
      let line = String(repeating: "x", count: round % 7) + "\(round)\n"
      #expect(append(line, to: ring))
      expected += line
      if round % 2 == 1 { got += takeAll(ring).text } else { got += takeAll(ring, upTo: 3).text }
    }
    got += takeAll(ring).text
    #expect(got == expected)
    #expect(ring.isEmpty)
  }

  @Test("a full ring drops the line, counts it once, and takes lines again after a take")
  func full() {
    let ring = LogRing(capacity: 10)
    #expect(append("12345678\n", to: ring))
    #expect(!append("ab\n", to: ring))
    #expect(append("", to: ring))
    #expect(!append("0123456789\n", to: ring))
    let first = takeAll(ring)
    #expect(first.text == "12345678\n")
    #expect(first.dropped == 2)
    #expect(append("ab\n", to: ring))
    let second = takeAll(ring)
    #expect(second.text == "ab\n")
    #expect(second.dropped == 0)
  }

  @Test("a line that fills the ring exactly fits")
  func exact() {
    let ring = LogRing(capacity: 4)
    #expect(append("abc\n", to: ring))
    #expect(takeAll(ring, upTo: 2).text == "ab")
    #expect(append("d\n", to: ring))
    #expect(takeAll(ring).text == "c\nd\n")
  }

  @Test("the writer is woken when the ring stops being empty, and only then")
  func wake() {
    let counter = WakeCounter()
    let ring = LogRing(capacity: 64) { counter.count.add(1, ordering: .relaxed) }
    _ = append("a\n", to: ring)
    _ = append("b\n", to: ring)
    #expect(counter.count.load(ordering: .relaxed) == 1)
    _ = takeAll(ring)
    _ = append("c\n", to: ring)
    #expect(counter.count.load(ordering: .relaxed) == 2)
  }

  @Test("lines of four threads never mix")
  func threads() async {
    let ring = LogRing(capacity: 1 << 20)
    await withTaskGroup(of: Void.self) { group in
      for worker in 0..<4 {
        group.addTask {
          for number in 0..<500 { _ = append("\(worker) \(number)\n", to: ring) }
        }
      }
    }
    var next = [0, 0, 0, 0]
    for line in takeAll(ring).text.split(separator: "\n") {
      let parts = line.split(separator: " ").compactMap { Int($0) }
      #expect(parts.count == 2 && next[parts[0]] == parts[1])
      next[parts[0]] += 1
    }
    #expect(next == [500, 500, 500, 500])
  }
}

private final class WakeCounter: Sendable {
  let count = Atomic(0)
}
