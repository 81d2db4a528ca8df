// The project's own files, found from where this one is, and Swift source without its comments and
// texts, so that a word in a comment is not taken for code.

import Foundation

enum Tree {
  static let root = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  /// Names at the top level that do not begin with a dot.
  static func topLevel() throws -> Set<String> {
    Set(try FileManager.default.contentsOfDirectory(atPath: root.path).filter { $0.first != "." })
  }

  /// Paths of regular files below `folder`, relative to the root. Made things are left out.
  static func files(_ folder: String = ".", endingIn endings: String...) -> [String] {
    let top = root.appendingPathComponent(folder).standardizedFileURL
    let made = [".build", ".venv", "__pycache__"]
    var found: [String] = []
    let all = FileManager.default.enumerator(
      at: top, includingPropertiesForKeys: [.isRegularFileKey])
    while let url = all?.nextObject() as? URL {
      let name = url.lastPathComponent
      if name == ".git" || made.contains(where: name.hasPrefix) {
        all?.skipDescendants()
        continue
      }
      let isFile = (try? url.resourceValues(forKeys: [.isRegularFileKey]))?.isRegularFile ?? false
      guard isFile, endings.isEmpty || endings.contains(where: url.path.hasSuffix) else { continue }
      found.append(String(url.path.dropFirst(root.path.count + 1)))
    }
    return found.sorted()
  }

  /// nil: not text.
  static func text(_ path: String) -> String? {
    try? String(contentsOf: root.appendingPathComponent(path), encoding: .utf8)
  }

  static func lines(_ path: String) -> [Substring] {
    (text(path) ?? "").split(separator: "\n", omittingEmptySubsequences: false)
  }

  /// The code of a Swift file, line by line: comments and the contents of literals are gone.
  static func code(_ path: String) -> [String] { Source.code(text(path) ?? "") }
}

/// A file and what is wrong with it, as one line of a failure.
struct Finding: CustomStringConvertible {
  let path: String
  let line: Int
  let what: String

  init(_ path: String, _ line: Int, _ what: String) {
    self.path = path
    self.line = line
    self.what = what
  }

  var description: String { "\(path):\(line): \(what)" }
}
