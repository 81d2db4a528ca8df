// One WebSocket through the gateway: two ends, how they behave and how much they say.

import Bytes
import Support

struct Pair {
  /// By `Side.rawValue`.
  var ends: InlineArray<2, SlotID?> = [nil, nil]
  var endsLeft = 2
  /// The client has its 101.
  var isOpen = false
  /// What each end sends.
  var messages: Int
  let isClosedBy: Side
  /// One in twenty sends segments of 1 to 7 bytes.
  let isDribbling: Bool
  /// One in twenty has ends that do not read before the other one is stuck or has said all. It has
  /// the most to say, so that what waits outgrows all buffers.
  let isSlow: Bool
  /// The client is an HTTP/2 stream (RFC 8441).
  let isStream: Bool

  private static let slowWeight = 8

  private init(_ index: Int, _ options: Options, _ random: inout SeededRandom) {
    isClosedBy = random.chance(50) ? .client : .backend
    isDribbling = index % 20 == 3
    isSlow = index % 20 == 7
    // No chance is taken without streams, so that a seed stays the same run.
    isStream = options.http2 > 0 && random.below(1_000) < Int(options.http2 * 1_000)
    messages = isSlow ? Pair.slowWeight : 1
  }

  /// All pairs; together they send the messages asked for.
  static func make(_ options: Options, _ random: inout SeededRandom) -> [Pair] {
    var pairs = (0..<options.sockets).map { Pair($0, options, &random) }
    var left = options.messages / 2
    let share = left / pairs.reduce(0) { $0 + $1.messages }
    for index in pairs.indices.reversed() {
      pairs[index].messages = index == 0 ? left : pairs[index].messages * share
      left -= pairs[index].messages
    }
    return pairs
  }
}
