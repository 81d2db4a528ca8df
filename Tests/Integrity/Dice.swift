// Chance, as a function of the seed: sizes, fragments, segments, pings and who closes.

import Glibc
import Support

extension SeededRandom {
  /// 0..<limit.
  mutating func below(_ limit: Int) -> Int { Int.random(in: 0..<limit, using: &self) }

  /// 1...2^bits, every order of magnitude as likely as the next.
  mutating func logUniform(bits: Double) -> Int {
    max(1, Int(exp2(bits * Double.random(in: 0..<1, using: &self)).rounded()))
  }

  /// 0.1 % of 1 MiB, 5 % empty, the others 1 B to 64 KiB.
  mutating func messageSize() -> Int {
    switch below(1_000) {
    case 0: 1 << 20
    case 1...50: 0
    default: logUniform(bits: 16)
    }
  }

  /// Mostly whole; otherwise 2 to 8 frames, and now and then up to 100.
  mutating func fragmentCount() -> Int {
    switch below(100) {
    case 0..<70: 1
    case 70..<98: 2 + below(7)
    default: 2 + below(99)
    }
  }

  /// Payload of a control frame. Eight bytes are what the gateway's own Pings have.
  mutating func pingPayload() -> [UInt8] {
    switch below(8) {
    case 0: []
    case 1, 2: bytes(8)
    case 3: bytes(125)
    default: bytes(below(126))
    }
  }

  /// At most five a second.
  mutating func pingPause() -> Int64 { Int64.random(in: 200_000_000...1_000_000_000, using: &self) }
}
