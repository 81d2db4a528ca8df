import Configuration
import Foundation
import Support
import Testing

@testable import Configuration

@Suite struct MutationTests {
  static let seeds: [UInt64] = [1, 2, 3, 4]
  static let texts: [[UInt8]] =
    [Array(Reference.text().utf8)]
    + ["good-everything.yaml", "bad-routes.yaml", "bad-headers.yaml", "bad-environment.yaml"]
    .map { GoldenTests.world.files[$0] ?? [] }

  /// What an editor, a template or a torn write does to a file.
  static func mutate(_ bytes: inout [UInt8], _ random: inout SeededRandom) {
    let words = [
      "[", "{", "]", "}", "*x", "&x ", ": ", "- ", "\t", "\n", "\"", "${", "}", "!!", "#",
    ]
    for _ in 0..<Int.random(in: 1...6, using: &random) {
      let place = Int.random(in: 0...bytes.count, using: &random)
      switch Int.random(in: 0..<6, using: &random) {
      case 0 where place < bytes.count: bytes[place] = UInt8.random(in: 0...255, using: &random)
      case 1: bytes.insert(contentsOf: words.randomElement(using: &random)!.utf8, at: place)
      case 2: bytes.removeSubrange(place..<min(place + 20, bytes.count))
      case 3: bytes.insert(contentsOf: bytes[place..<min(place + 60, bytes.count)], at: place)
      case 4 where place < bytes.count: bytes.remove(at: place)
      case 5 where Int.random(in: 0..<8, using: &random) == 0: bytes.removeSubrange(place...)
      default: break
      }
    }
  }

  @Test("a damaged file loads or says why, and never traps", arguments: seeds)
  func damaged(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    let start = ContinuousClock.now
    var mistaken = 0
    for round in 0..<400 {
      if round.isMultiple(of: 20), ContinuousClock.now - start > .seconds(1) { break }
      var world = GoldenTests.world
      world.files["main.yaml"] = Self.texts.randomElement(using: &random)!
      Self.mutate(&world.files["main.yaml", default: []], &random)
      switch world.load() {
      case .success:
        let dump = world.outcome()
        #expect(World(["main.yaml": dump]).outcome() == dump, "seed \(seed), round \(round)")
      case .failure(let diagnostics, _):
        mistaken += 1
        #expect(!diagnostics.isEmpty, "seed \(seed), round \(round)")
        #expect(
          diagnostics.allSatisfy { diagnostic in
            diagnostic.line >= 0
              && !diagnostic.message.unicodeScalars.contains { $0.value < 0x20 }
          }, "seed \(seed), round \(round)")
      }
    }
    #expect(mistaken > 0)
  }
}
