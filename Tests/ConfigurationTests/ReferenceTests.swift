import Configuration
import Foundation
import Testing

@testable import Configuration

@Suite struct ReferenceTests {
  @Test("the reference loads")
  func loads() {
    #expect(mistakes(Reference.text()) == [])
    #expect(settings(Reference.text()) != nil)
  }

  @Test("conf/reference.yaml is what `bascule reference` prints")
  func isKept() throws {
    let file = Repository.root.appending(path: "conf/reference.yaml")
    if Repository.updates {
      try Reference.text().write(to: file, atomically: true, encoding: .utf8)
    }
    #expect(try String(contentsOf: file, encoding: .utf8) == Reference.text())
  }

  @Test("conf/schema.json is what `bascule reference --schema` prints")
  func schemaIsKept() throws {
    let file = Repository.root.appending(path: "conf/schema.json")
    if Repository.updates {
      try Reference.schema().write(to: file, atomically: true, encoding: .utf8)
    }
    #expect(try String(contentsOf: file, encoding: .utf8) == Reference.schema())
  }

  @Test("the reference shows every key of every table, with its help")
  func isComplete() {
    var shown: Set<String> = []
    var missing: Set<String> = []
    // Of the entries of a list each may leave out what another has.
    func check(_ value: Shown, _ path: String) {
      switch value {
      case .absent: missing.insert(path)
      case .scalar: shown.insert(path)
      case .list(let values):
        shown.insert(path)
        values.forEach { check($0, path) }
      case .section(let keys):
        shown.insert(path)
        keys.forEach { check($0.value, "\(path).\($0.name)") }
      }
    }
    check(ConfigValue<RootSettings>.section().show(RootSettings.example), "")
    #expect(missing.subtracting(shown) == [])
    let text = Reference.text()
    for name in RootSettings.keys.map(\.name) + Limits.keys.map(\.name) {
      #expect(text.contains("\(name): ") || text.contains("\(name):\n"))
    }
    #expect(RootSettings.keys.allSatisfy { !$0.help.isEmpty })
  }

  @Test("the reference fits into 100 columns and has the defaults")
  func isTidy() {
    let lines = Reference.text().split(separator: "\n")
    #expect(lines.allSatisfy { $0.count <= 100 })
    #expect(lines.contains { $0.contains("(10ms to 168h; default 5s)") })
  }
}
