// The control groups of this process (cgroups(7)), of both versions: where the files of one controller
// are. Reads /proc and /sys/fs.

enum ControlGroup {
  /// A directory of our group or of one above it. It need not be there.
  struct Place: Equatable {
    var directory: String
    var isVersion2: Bool

    func text(of name: String) -> String? { ControlGroup.text(of: "\(directory)/\(name)") }
  }

  /// From our own group upwards; of both versions, where a machine has both.
  static func directories(of controller: String) -> [Place] {
    guard let membership = text(of: "/proc/self/cgroup") else { return [] }
    return membership.split(separator: "\n").flatMap { line -> [Place] in
      switch group(of: line, Substring(controller)) {
      case .version2(let path):
        ancestors(of: path).map { Place(directory: "/sys/fs/cgroup\($0)", isVersion2: true) }
      case .version1(let path):
        ancestors(of: path).map {
          Place(directory: "/sys/fs/cgroup/\(controller)\($0)", isVersion2: false)
        }
      case nil: []
      }
    }
  }

  enum Group: Equatable {
    case version1(path: String)
    case version2(path: String)
  }

  /// A line of /proc/self/cgroup, `hierarchy:controllers:path`, if it concerns `controller`.
  static func group(of line: Substring, _ controller: Substring) -> Group? {
    let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
    guard parts.count == 3, parts[2].hasPrefix("/") else { return nil }
    if parts[0] == "0", parts[1].isEmpty { return .version2(path: String(parts[2])) }
    return parts[1].split(separator: ",").contains(controller)
      ? .version1(path: String(parts[2])) : nil
  }

  /// `/a/b` → `/a/b`, `/a`, and the empty path of the mount itself, which is all that a container
  /// sees of its own group.
  static func ancestors(of path: String) -> [String] {
    var parts = path.split(separator: "/")
    var paths: [String] = []
    while !parts.isEmpty {
      paths.append("/" + parts.joined(separator: "/"))
      parts.removeLast()
    }
    return paths + [""]
  }

  static func text(of path: String) -> String? {
    guard let bytes = try? Files.read(path, maxBytes: 64 << 10) else { return nil }
    return String(decoding: bytes, as: UTF8.self)
  }
}
