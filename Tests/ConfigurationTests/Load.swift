// How the tests of this module load a configuration: from text, or from files of the repository.
import Configuration
import Foundation

@testable import Configuration

enum Repository {
  static let root = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent()
  static let golden = root.appending(path: "Tests/ConfigurationTests/Golden")
  /// `BASCULE_UPDATE=1` writes generated files instead of comparing them.
  static let updates = ProcessInfo.processInfo.environment["BASCULE_UPDATE"] == "1"

  static func files(in directory: URL, ext: String) throws -> [URL] {
    try FileManager.default.contentsOfDirectory(at: directory, includingPropertiesForKeys: nil)
      .filter { $0.pathExtension == ext }.sorted { $0.path < $1.path }
  }
}

/// A file system and an environment that exist only in the test.
struct World {
  var files: [String: [UInt8]] = [:]
  var environment: [String: String] = [:]

  init(_ files: [String: String] = [:], environment: [String: String] = [:]) {
    self.files = files.mapValues { Array($0.utf8) }
    self.environment = environment
  }

  func read(_ path: String) -> Result<[UInt8], FileProblem> {
    files[path].map { .success($0) } ?? .failure(.notFound)
  }

  func list(_ directory: String) -> Result<[String], FileProblem> {
    let names = files.keys.compactMap { path -> String? in
      let (parent, name) = FilePath.split(path)
      return parent == directory ? name : nil
    }
    return names.isEmpty ? .failure(.notFound) : .success(names)
  }

  func load(_ file: String = "main.yaml") -> ConfigurationResult {
    Loader.load(
      file: file, environment: { environment[$0] }, readFile: read, listFiles: list)
  }

  /// Every mistake, or every warning, or the canonical dump.
  func outcome(_ file: String = "main.yaml") -> String {
    var reader = Reader()
    let root = Loader.root(
      file: file, environment: { environment[$0] }, readFile: read, listFiles: list, &reader)
    if let root, reader.diagnostics.isEmpty, reader.warnings.isEmpty { return Reference.dump(root) }
    let told = reader.diagnostics.isEmpty ? reader.warnings : reader.diagnostics
    return Set(told).sorted().map { "\($0)\n" }.joined()
  }
}

/// The diagnostics of `text` as `main.yaml`, one per line, without the file's name.
func mistakes(_ text: String, environment: [String: String] = [:]) -> [String] {
  guard
    case .failure(let diagnostics, _) = World(["main.yaml": text], environment: environment).load()
  else { return [] }
  return diagnostics.map { "\($0.line):\($0.column): \($0.message)" }
}

/// The snapshot of `text`, nil when it has mistakes.
func settings(_ text: String, environment: [String: String] = [:]) -> Snapshot? {
  guard
    case .success(let snapshot) = World(["main.yaml": text], environment: environment).load()
  else { return nil }
  return snapshot
}
