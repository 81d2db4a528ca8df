// Feeds one input to a decoder in many ways. A decoder of network bytes has to come to the same result
// whatever the pieces in which they arrive; where it does not, an attacker chooses the pieces.

public enum DecoderVerifier {
  /// Runs `decode` on the input whole, byte by byte, and split in two at every offset, and returns
  /// what it made of the whole input, plus a sentence about the first feeding that came to something
  /// else. `decode` gets the pieces in order and starts with a fresh decoder each time.
  ///
  /// Inputs beyond `everySplitMax` bytes are split at that many offsets spread over them, and at the
  /// 64 offsets at either end.
  public static func verify<Outcome: Equatable>(
    _ input: [UInt8], everySplitMax: Int = 2048, decode: ([ArraySlice<UInt8>]) -> Outcome
  ) -> (outcome: Outcome, disagreement: String?) {
    let whole = decode([input[...]])
    let bytewise = decode(input.indices.map { input[$0...$0] })
    if bytewise != whole {
      return (whole, "byte by byte: \(bytewise) instead of \(whole)")
    }
    let step = max(1, input.count / everySplitMax)
    for offset in 0...input.count {
      guard offset % step == 0 || offset < 64 || input.count - offset < 64 else { continue }
      let split = decode([input[..<offset], input[offset...]])
      if split != whole {
        return (whole, "split at \(offset): \(split) instead of \(whole)")
      }
    }
    return (whole, nil)
  }
}
