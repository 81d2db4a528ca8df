// What the kernel says a process has used: CPU time and memory of the proxy under test, all of its
// processes added up. Read twice per run, at the borders of the window that is measured.

import Kernel

enum Usage {
  /// /proc counts in ticks of 10 ms (USER_HZ, 100 on every Linux that matters here).
  private static let tickNanoseconds: Int64 = 10_000_000

  /// User and system time of `pids` in nanoseconds; nil when one of them is gone.
  static func cpuNanoseconds(of pids: [Int32]) -> Int64? {
    var total: Int64 = 0
    for pid in pids {
      // The name in parentheses may hold spaces: count the fields behind the last ')'.
      guard let text = text("/proc/\(pid)/stat"), let end = text.lastIndex(of: ")") else {
        return nil
      }
      let fields = text[text.index(after: end)...].split(separator: " ")
      guard fields.count > 12, let user = Int64(fields[11]), let system = Int64(fields[12]) else {
        return nil
      }
      total += (user + system) * tickNanoseconds
    }
    return pids.isEmpty ? nil : total
  }

  /// Proportional set size of `pids` in KiB; nil when one of them is gone.
  static func memoryKiB(of pids: [Int32]) -> Int? {
    var total = 0
    for pid in pids {
      guard let text = text("/proc/\(pid)/smaps_rollup") else { return nil }
      for line in text.split(separator: "\n") where line.hasPrefix("Pss:") {
        total += line.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
      }
    }
    return pids.isEmpty ? nil : total
  }

  private static func text(_ path: String) -> String? {
    guard let bytes = try? Files.read(path, maxBytes: 65_536) else { return nil }
    return String(decoding: bytes, as: UTF8.self)
  }
}
