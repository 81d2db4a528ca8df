// Every file in Golden/ has a .txt beside it: the canonical dump of a configuration that is right,
// or every diagnostic of one that is wrong or draws warnings. BASCULE_UPDATE=1 writes them anew; read the difference.
import Configuration
import Foundation
import Testing

@testable import Configuration

@Suite struct GoldenTests {
  static let cases = ((try? Repository.files(in: Repository.golden, ext: "yaml")) ?? [])
    .map(\.lastPathComponent).filter { !$0.contains("-part") }

  /// All golden files in one directory, and a small environment.
  static let world: World = {
    var world = World(environment: ["EMPTY": "", "THER": "ther"])
    for file in (try? Repository.files(in: Repository.golden, ext: "yaml")) ?? [] {
      world.files[file.lastPathComponent] = (try? Data(contentsOf: file)).map(Array.init) ?? []
    }
    return world
  }()

  @Test("a file loads to its dump or to its mistakes", arguments: cases)
  func outcome(name: String) throws {
    let outcome = Self.world.outcome(name)
    let expected = Repository.golden.appending(path: name.replacing(".yaml", with: ".txt"))
    if Repository.updates { try outcome.write(to: expected, atomically: true, encoding: .utf8) }
    #expect(try String(contentsOf: expected, encoding: .utf8) == outcome)
    let isRight = name.hasPrefix("good") || name.hasPrefix("warn")
    #expect(isRight == !outcome.contains(": error: "))
    #expect(name.hasPrefix("warn") == outcome.contains(": warning: "))
  }

  @Test("the files hold at least a hundred mistakes")
  func count() {
    let all = Self.cases.flatMap { Self.world.outcome($0).split(separator: "\n") }
    #expect(all.count { $0.contains(": error: ") } >= 100)
  }

  @Test("a dump loads, to the same dump", arguments: cases.filter { $0.hasPrefix("good") })
  func dump(name: String) {
    let dump = Self.world.outcome(name)
    #expect(World(["main.yaml": dump]).outcome() == dump)
  }
}
