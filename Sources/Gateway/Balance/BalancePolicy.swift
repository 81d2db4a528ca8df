// The ways to choose an endpoint, as functions of what is known about all of them and of a random
// number, so that the same input always gives the same endpoint. They know no clock, no request and
// no worker.

import Bytes

/// One endpoint at the moment of a choice.
struct Candidate: Equatable, Sendable {
  /// What it should get in comparison with the others; at least 1.
  var share = 1
  /// As configured: what a hash goes by, so that clients stay where they are while others change.
  var weight = 1
  var inUse = 0
  /// Of its identity.
  var hash: UInt64 = 0
  /// Neither out, nor full, nor tried before by the same request.
  var isEligible = false
}

enum BalancePolicy {
  /// In turn, by share, and evenly spread: of shares 5, 1, 1 the order is a a b a c a a. `rotation`
  /// belongs to the caller, one number per candidate, all zero at first.
  static func roundRobin(_ candidates: [Candidate], _ rotation: inout [Int]) -> Int? {
    var best: Int?
    var sum = 0
    for index in candidates.indices where candidates[index].isEligible {
      rotation[index] += candidates[index].share
      sum += candidates[index].share
      if best.map({ rotation[index] > rotation[$0] }) ?? true { best = index }
    }
    if let best { rotation[best] -= sum }
    return best
  }

  /// The one with the fewest in use for its share. Equal ones get the same chance, so that workers
  /// do not all run to the first.
  static func leastConnections(_ candidates: [Candidate], random: UInt64) -> Int? {
    var best: Int?
    var equals: UInt64 = 0
    var random = random
    for index in candidates.indices where candidates[index].isEligible {
      guard let other = best else {
        (best, equals) = (index, 1)
        continue
      }
      let load = (candidates[index].inUse + 1) * candidates[other].share
      let least = (candidates[other].inUse + 1) * candidates[index].share
      if load < least {
        (best, equals) = (index, 1)
      } else if load == least {
        equals += 1
        random = BalanceHash.mixed(random)
        if random.multipliedFullWidth(by: equals).high == 0 { best = index }
      }
    }
    return best
  }

  /// Two at random, by share, and of those the one with fewer in use for its share.
  static func randomTwo(_ candidates: [Candidate], random: UInt64) -> Int? {
    guard let first = draw(candidates, random, besides: nil) else { return nil }
    guard let second = draw(candidates, BalanceHash.mixed(random), besides: first) else {
      return first
    }
    let isBetter =
      candidates[second].inUse * candidates[first].share
      < candidates[first].inUse * candidates[second].share
    return isBetter ? second : first
  }

  private static func draw(
    _ candidates: [Candidate], _ random: UInt64, besides other: Int?
  ) -> Int? {
    var sum = 0
    for index in candidates.indices where candidates[index].isEligible && index != other {
      sum += candidates[index].share
    }
    var left = Int(random.multipliedFullWidth(by: UInt64(sum)).high)
    for index in candidates.indices where candidates[index].isEligible && index != other {
      left -= candidates[index].share
      if left < 0 { return index }
    }
    return nil
  }

  /// The same one for the same key, whatever the order of the endpoints; when one goes, only its own
  /// clients move (rendezvous hashing). An endpoint draws a number per unit of weight, and the
  /// largest of all wins. `ignoresState`: also one that is not eligible.
  static func hash(_ candidates: [Candidate], key: UInt64, ignoresState: Bool = false) -> Int? {
    var best: Int?
    var largest: UInt64 = 0
    for index in candidates.indices where ignoresState || candidates[index].isEligible {
      var number = BalanceHash.mixed(key ^ candidates[index].hash)
      for _ in 0..<candidates[index].weight {
        if best == nil || number > largest { (best, largest) = (index, number) }
        number = BalanceHash.mixed(number)
      }
    }
    return best
  }
}

/// Numbers for balancing. Not for secrets: whoever chooses the key can choose the endpoint.
enum BalanceHash {
  /// FNV-1a of 64 bits, and mixed. The same on every machine.
  static func of(_ bytes: Span<UInt8>) -> UInt64 {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for index in 0..<bytes.count { hash = (hash ^ UInt64(bytes[index])) &* 0x100_0000_01b3 }
    return mixed(hash)
  }

  /// SplitMix64: every bit of the number touches every bit of the result.
  static func mixed(_ number: UInt64) -> UInt64 {
    var mixed = number &+ 0x9e37_79b9_7f4a_7c15
    mixed = (mixed ^ mixed >> 30) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
    return mixed ^ mixed >> 31
  }
}
