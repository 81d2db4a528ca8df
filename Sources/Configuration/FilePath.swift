// Paths as text. No file is touched here.

enum FilePath {
  /// `path` as seen from the directory of `file`; absolute paths stay as they are.
  static func resolve(_ path: String, from file: String) -> String {
    if path.hasPrefix("/") { return path }
    // The same file must have the same name when it is included twice.
    if path.hasPrefix("./") { return resolve(String(path.dropFirst(2)), from: file) }
    guard let slash = file.lastIndex(of: "/") else { return path }
    return file[...slash] + path
  }

  /// The directory (`.` when `path` has none) and the last component.
  static func split(_ path: String) -> (directory: String, name: String) {
    guard let slash = path.lastIndex(of: "/") else { return (".", path) }
    let directory = slash == path.startIndex ? "/" : String(path[..<slash])
    return (directory, String(path[path.index(after: slash)...]))
  }

  /// Whether `name` matches `pattern`: `*` stands for any characters, `?` for one. As in a shell,
  /// neither stands for a leading dot.
  static func matches(_ name: String, pattern: String) -> Bool {
    let name = Array(name.unicodeScalars)
    let pattern = Array(pattern.unicodeScalars)
    if name.first == ".", pattern.first != "." { return false }
    var n = 0
    var p = 0
    // Where to go on when the rest does not fit: the last star takes one character more.
    var retry: (n: Int, p: Int)?
    while n < name.count {
      if p < pattern.count, pattern[p] == "*" {
        retry = (n, p + 1)
        p += 1
      } else if p < pattern.count, pattern[p] == "?" || pattern[p] == name[n] {
        (n, p) = (n + 1, p + 1)
      } else if let last = retry {
        (n, p) = (last.n + 1, last.p)
        retry = (n, p)
      } else {
        return false
      }
    }
    return pattern[p...].allSatisfy { $0 == "*" }
  }
}
