// The ways to choose an endpoint, fed with candidates and numbers from a seed.

import Support
import Testing

@testable import Gateway

@Suite("Ways to choose an endpoint")
struct BalancePolicyTests {
  private func candidates(_ weights: [Int], inUse: [Int]? = nil, names: [String]? = nil)
    -> [Candidate]
  {
    weights.indices.map { index in
      let name = Array((names?[index] ?? "endpoint \(index)").utf8)
      return Candidate(
        share: weights[index] * Endpoint.fullShare, weight: weights[index],
        inUse: inUse?[index] ?? 0, hash: BalanceHash.of(name.span), isEligible: true)
    }
  }

  private func counts(_ count: Int, of total: Int, _ choose: (Int) -> Int?) -> [Int] {
    var counts = Array(repeating: 0, count: count)
    for round in 0..<total {
      guard let index = choose(round) else { continue }
      counts[index] += 1
    }
    return counts
  }

  // MARK: round_robin

  @Test("in turn, each gets exactly its weight in every round")
  func roundRobinIsExact() {
    let weights = [5, 1, 1]
    let all = candidates(weights)
    var rotation = [0, 0, 0]
    for _ in 0..<10 {
      let order = (0..<7).map { _ in BalancePolicy.roundRobin(all, &rotation) }
      #expect(order == [0, 0, 1, 0, 2, 0, 0])
    }
    #expect(rotation == [0, 0, 0])
  }

  @Test("the shares stay right and the memory small while endpoints come and go", arguments: 1...20)
  func roundRobinUnderChange(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    var all = candidates((0..<5).map { _ in Int.random(in: 1...100, using: &random) })
    var rotation = Array(repeating: 0, count: 5)
    for _ in 0..<2_000 {
      let flipped = Int.random(in: 0..<5, using: &random)
      all[flipped].isEligible = random.chance(70)
      let chosen = BalancePolicy.roundRobin(all, &rotation)
      #expect(chosen.map { all[$0].isEligible } ?? !all.contains(where: \.isEligible))
      let sum = all.reduce(0) { $0 + $1.share }
      #expect(rotation.allSatisfy { abs($0) <= sum }, "seed \(seed)")
    }
  }

  // MARK: least_connections

  @Test("the one with the fewest for its weight is taken")
  func least() {
    let all = candidates([1, 1, 4], inUse: [3, 2, 7])
    #expect(BalancePolicy.leastConnections(all, random: 1) == 2)
    let busy = candidates([1, 1, 4], inUse: [3, 2, 12])
    #expect(BalancePolicy.leastConnections(busy, random: 1) == 1)
  }

  @Test("of equal ones each is taken as often as the others")
  func leastTies() {
    var random = SeededRandom(seed: 7)
    let all = candidates([1, 1, 1, 1], inUse: [5, 2, 2, 2])
    let counts = counts(4, of: 9_000) { _ in
      BalancePolicy.leastConnections(all, random: random.next())
    }
    #expect(counts[0] == 0)
    #expect(counts[1...].allSatisfy { (2_700...3_300).contains($0) }, "\(counts)")
  }

  @Test("connections that stay are spread by weight")
  func leastFills() {
    var random = SeededRandom(seed: 8)
    var all = candidates([1, 2, 5])
    for _ in 0..<800 {
      guard let index = BalancePolicy.leastConnections(all, random: random.next()) else { continue }
      all[index].inUse += 1
    }
    #expect(all.map(\.inUse) == [100, 200, 500])
  }

  // MARK: random_two

  @Test("two at random follow the weights while nothing is in use")
  func randomTwoIdle() {
    var random = SeededRandom(seed: 9)
    let all = candidates([1, 1, 2])
    let counts = counts(3, of: 20_000) { _ in BalancePolicy.randomTwo(all, random: random.next()) }
    #expect((4_700...5_300).contains(counts[0]) && (9_600...10_400).contains(counts[2]))
  }

  @Test("the busiest of all is never the better of two")
  func randomTwoAvoids() {
    var random = SeededRandom(seed: 10)
    let all = candidates([1, 1, 1], inUse: [0, 0, 9])
    let counts = counts(3, of: 3_000) { _ in BalancePolicy.randomTwo(all, random: random.next()) }
    #expect(counts[2] == 0)
    #expect(counts[0] > 1_300 && counts[1] > 1_300)
  }

  // MARK: hash

  @Test("a hash spreads clients by weight")
  func hashSpreads() {
    var random = SeededRandom(seed: 11)
    let all = candidates([1, 2, 5])
    let counts = counts(3, of: 16_000) { _ in BalancePolicy.hash(all, key: random.next()) }
    for (count, weight) in zip(counts, [1, 2, 5]) {
      #expect(abs(count - weight * 2_000) < 350, "\(counts)")
    }
  }

  @Test("when an endpoint goes only its own clients move, and come back with it", arguments: 0..<4)
  func hashIsStable(gone: Int) {
    var random = SeededRandom(seed: 12)
    let all = candidates([1, 3, 1, 2])
    var without = all
    without[gone].isEligible = false
    for _ in 0..<2_000 {
      let key = random.next()
      let before = BalancePolicy.hash(all, key: key)
      let after = BalancePolicy.hash(without, key: key)
      #expect(before == gone ? after != gone && after != nil : after == before)
      #expect(BalancePolicy.hash(without, key: key, ignoresState: true) == before)
    }
  }

  @Test("a hash does not go by the order of the endpoints, nor by their load or their way back")
  func hashIgnoresOrder() {
    var random = SeededRandom(seed: 13)
    let names = ["a", "b", "c"]
    let all = candidates([1, 2, 3], names: names)
    var other = candidates([3, 1, 2], inUse: [9, 0, 4], names: ["c", "a", "b"])
    for index in other.indices { other[index].share = 1 }
    for _ in 0..<500 {
      let key = random.next()
      let first = BalancePolicy.hash(all, key: key).map { names[$0] }
      #expect(first == BalancePolicy.hash(other, key: key).map { ["c", "a", "b"][$0] })
    }
  }

  @Test("the hash of bytes is the one that other gateways have")
  func hashIsFixed() {
    let key = Array("10.0.0.1".utf8)
    #expect(BalanceHash.of(key.span) == BalanceHash.mixed(fnv1a("10.0.0.1")))
    #expect(fnv1a("a") == 0xaf63_dc4c_8601_ec8c)
    // The first number of SplitMix64 with the seed 0.
    #expect(BalanceHash.mixed(0) == 0xe220_a839_7b1d_cdaf)
  }

  private func fnv1a(_ text: String) -> UInt64 {
    text.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
  }

  // MARK: All

  @Test("nobody is chosen when nobody may be")
  func nobody() {
    var all = candidates([1, 2])
    for index in all.indices { all[index].isEligible = false }
    for candidates in [all, []] {
      var rotation = Array(repeating: 0, count: candidates.count)
      #expect(BalancePolicy.roundRobin(candidates, &rotation) == nil)
      #expect(BalancePolicy.leastConnections(candidates, random: 5) == nil)
      #expect(BalancePolicy.randomTwo(candidates, random: 5) == nil)
      #expect(BalancePolicy.hash(candidates, key: 5) == nil)
    }
  }

  @Test("who may not be chosen is not, and somebody is when one may", arguments: 1...50)
  func onlyEligible(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    let count = Int.random(in: 1...8, using: &random)
    var all = candidates((0..<count).map { _ in Int.random(in: 1...100, using: &random) })
    for index in all.indices {
      all[index].isEligible = random.chance(50)
      all[index].inUse = Int.random(in: 0...3, using: &random)
      all[index].share = Int.random(in: 1...all[index].share, using: &random)
    }
    var rotation = Array(repeating: 0, count: count)
    let any = all.contains(where: \.isEligible)
    for _ in 0..<50 {
      let chosen = [
        BalancePolicy.roundRobin(all, &rotation),
        BalancePolicy.leastConnections(all, random: random.next()),
        BalancePolicy.randomTwo(all, random: random.next()),
        BalancePolicy.hash(all, key: random.next()),
      ]
      #expect(chosen.allSatisfy { $0.map { all[$0].isEligible } ?? !any }, "seed \(seed)")
    }
  }
}
