import Support
import Testing

/// Counts line ends, and forgets between pieces what it has seen when `forgets` is set.
private func countLineEnds(_ pieces: [ArraySlice<UInt8>], forgets: Bool) -> Int {
  var count = 0
  var last: UInt8 = 0
  for piece in pieces {
    if forgets { last = 0 }
    for byte in piece {
      if byte == 10, last == 13 { count += 1 }
      last = byte
    }
  }
  return count
}

@Suite("The decoder verifier")
struct DecoderVerifierTests {
  @Test("finds a decoder that forgets at the border of two pieces, wherever the border is")
  func forgetful() {
    for prefix in [0, 1, 7, 3000] {
      let input = [UInt8](repeating: 65, count: prefix) + [13, 10] + [66]
      let (outcome, disagreement) = DecoderVerifier.verify(input) {
        countLineEnds($0, forgets: true)
      }
      #expect(outcome == 1)
      #expect(disagreement != nil)
    }
  }

  @Test("finds one that is wrong for a single split only")
  func oneSplit() {
    let input = [UInt8](repeating: 65, count: 50)
    for offset in 1..<49 {
      let (_, disagreement) = DecoderVerifier.verify(input) { pieces in
        pieces.count == 2 && pieces[0].count == offset
      }
      #expect(disagreement != nil)
    }
  }

  @Test("has nothing to say about one that remembers")
  func faithful() {
    for input: [UInt8] in [[], [13], [13, 10], [13, 10, 13, 10, 65]] {
      let (_, disagreement) = DecoderVerifier.verify(input) { countLineEnds($0, forgets: false) }
      #expect(disagreement == nil)
    }
  }
}
