// The CPU quota of this process's control group, in whole processors. Reads /proc and /sys/fs at
// start; the parsers are pure.

enum CPUQuota {
  /// The smallest quota of our group and its ancestors, rounded up; nil when there is none.
  static func current() -> Int? {
    guard let membership = text(of: "/proc/self/cgroup") else { return nil }
    var quotas: [Int] = []
    for line in membership.split(separator: "\n") {
      switch group(of: line) {
      case .version2(let path):
        quotas += ancestors(of: path).compactMap { path in
          text(of: "/sys/fs/cgroup\(path)/cpu.max").flatMap(version2)
        }
      case .version1(let path):
        quotas += ancestors(of: path).compactMap { path in
          let directory = "/sys/fs/cgroup/cpu\(path)"
          guard let quota = text(of: "\(directory)/cpu.cfs_quota_us"),
            let period = text(of: "\(directory)/cpu.cfs_period_us")
          else { return nil }
          return version1(quota: quota, period: period)
        }
      case nil: continue
      }
    }
    return quotas.min()
  }

  enum Group: Equatable {
    case version1(path: String)
    case version2(path: String)
  }

  /// A line of /proc/self/cgroup, `hierarchy:controllers:path` (cgroups(7)), if it concerns CPUs.
  static func group(of line: Substring) -> Group? {
    let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
    guard parts.count == 3, parts[2].hasPrefix("/") else { return nil }
    if parts[0] == "0", parts[1].isEmpty { return .version2(path: String(parts[2])) }
    return parts[1].split(separator: ",").contains("cpu")
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

  /// cpu.max: `QUOTA PERIOD` or `max PERIOD`, in microseconds.
  static func version2(_ text: String) -> Int? {
    let parts = text.split { $0 == " " || $0 == "\n" }
    guard parts.count == 2 else { return nil }
    return processors(quota: parts[0], period: parts[1])
  }

  /// cpu.cfs_quota_us (-1: none) and cpu.cfs_period_us.
  static func version1(quota: String, period: String) -> Int? {
    guard let quota = quota.split(separator: "\n").first,
      let period = period.split(separator: "\n").first
    else { return nil }
    return processors(quota: quota, period: period)
  }

  private static func processors(quota: Substring, period: Substring) -> Int? {
    guard let quota = Int(quota), let period = Int(period), quota > 0, period > 0
    else { return nil }
    let (whole, rest) = quota.quotientAndRemainder(dividingBy: period)
    return rest == 0 ? whole : whole + 1
  }

  private static func text(of path: String) -> String? {
    guard let bytes = try? Files.read(path, maxBytes: 64 << 10) else { return nil }
    return String(decoding: bytes, as: UTF8.self)
  }
}
