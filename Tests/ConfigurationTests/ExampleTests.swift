import Configuration
import Foundation
import Testing

@testable import Configuration

@Suite struct ExampleTests {
  static let conf = Repository.root.appending(path: "conf")
  static let files =
    ((try? Repository.files(in: conf, ext: "yaml")) ?? [])
    + ((try? Repository.files(in: conf.appending(path: "examples"), ext: "yaml")) ?? [])

  @Test("a file that is shipped loads as it is", arguments: files)
  func loads(file: URL) throws {
    let text = try String(contentsOf: file, encoding: .utf8)
    #expect(mistakes(text) == [])
    #expect(settings(text)?.routes.isEmpty == false)
    #expect(settings(text)?.warnings == [])
  }

  @Test("the start and the examples are there")
  func areThere() {
    let names = Set(Self.files.map { $0.deletingPathExtension().lastPathComponent })
    #expect(
      names.isSuperset(of: [
        "bascule", "reference", "plain-backend", "tenants-by-host", "tls-two-names",
        "behind-balancer", "socketio", "signalr", "server-sent-events", "fallback-page",
      ]))
  }

  @Test("the start still loads when the lines that are commented out are used")
  func startUncommented() throws {
    let file = Self.conf.appending(path: "bascule.yaml")
    let lines = try String(contentsOf: file, encoding: .utf8).split(
      separator: "\n", omittingEmptySubsequences: false)
    // Commented YAML, unlike prose, has a key, an entry or a bracket after its #.
    let used = lines.map { line in
      line.replacing(/^(\s*)# (\s*(- )?[a-z_]+:( .*)?)$/) { "\($0.1)\($0.2)" }
    }
    let text = used.joined(separator: "\n")
    #expect(mistakes(text) == [])
    #expect(settings(text)?.listeners.count == 2)
    #expect(settings(text)?.trustedProxies.count == 1)
  }
}
