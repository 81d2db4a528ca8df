// What the package is made of: no packages of others, no Foundation in the program, nothing strange
// at the top level.

import Foundation
import Testing

@Suite("The package")
struct PackageTests {
  @Test("the top level holds what it may, and nothing else")
  func topLevel() throws {
    let allowed: Set = [
      "Package.swift", "Sources", "Tests", "conf", "docker", "README.md", "LICENSE",
    ]
    #expect(try Tree.topLevel() == allowed)
  }

  @Test("there is no dependency on another package")
  func dependencies() {
    let code = Tree.code("Package.swift").joined(separator: "\n")
    #expect(code.contains(".systemLibrary("), "the reader finds no targets any more")
    #expect(!code.contains(".package("))
    #expect(!code.contains("dependencies: [.product"))
  }

  @Test("everything in Sources is built in Swift 6 mode with strict memory safety")
  func settings() {
    let text = Tree.text("Package.swift") ?? ""
    #expect(text.contains(".swiftLanguageMode(.v6),\n  .strictMemorySafety(),"))
    let relaxed = text.components(separatedBy: "    .").filter { $0.contains("relaxed") }
    #expect(!relaxed.isEmpty)
    #expect(relaxed.allSatisfy { $0.contains("Test") || $0.contains("\"Support\"") })
    #expect(!text.contains("Ounchecked"))
  }

  @Test("the program links no Foundation")
  func linkedLibraries() throws {
    // The executable lies beside the bundle that runs this.
    let bundle = URL(fileURLWithPath: ProcessInfo.processInfo.arguments[0]).path
    let folder = URL(fileURLWithPath: bundle).deletingLastPathComponent()
    let program = folder.appendingPathComponent("bascule")
    let listing = try output("/usr/bin/ldd", [program.path])
    #expect(listing.contains("libssl"), "\(program.path): \(listing)")
    #expect(!listing.contains("Foundation"), "\(listing)")
  }

  private func output(_ program: String, _ arguments: [String]) throws -> String {
    let process = Process()
    let pipe = Pipe()
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    process.standardOutput = pipe
    process.standardError = pipe
    try process.run()
    let data = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return String(decoding: data, as: UTF8.self)
  }
}
