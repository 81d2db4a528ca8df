// What the system grants this process: descriptors and processors. Read at start.

import CLinux
import Glibc

/// RLIMIT_NOFILE.
public struct DescriptorLimit: Sendable, Equatable {
  public var soft: UInt64
  public var hard: UInt64

  public static func current() throws(Errno) -> DescriptorLimit {
    var limit = rlimit()
    // Safety: getrlimit writes one rlimit.
    try check(unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit))
    return DescriptorLimit(soft: UInt64(limit.rlim_cur), hard: UInt64(limit.rlim_max))
  }

  /// Raises the soft limit to the hard one. Returns the soft limit that holds then.
  public static func raise() throws(Errno) -> UInt64 {
    let before = try current()
    var limit = rlimit(rlim_cur: rlim_t(before.hard), rlim_max: rlim_t(before.hard))
    // Safety: setrlimit reads one rlimit. A sandbox may forbid it: the old limit holds then.
    _ = unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    return try current().soft
  }
}

public enum Processors {
  /// How many workers can run at once: the processors this process may use, or fewer when its
  /// cgroup has a smaller quota. At least 1.
  public static func usable() -> Int {
    let granted = allowed()
    return max(1, min(granted, CPUQuota.current() ?? granted))
  }

  /// Processors in the affinity mask.
  private static func allowed() -> Int {
    // Room for 8,192 processors, the most that Linux can be built for.
    var mask = [UInt64](repeating: 0, count: 128)
    // Safety: the kernel writes at most the size of the array.
    let result = unsafe mask.withUnsafeMutableBytes {
      unsafe linux_sched_getaffinity($0.baseAddress, $0.count)
    }
    return result > 0 ? mask.reduce(0) { $0 + $1.nonzeroBitCount } : 1
  }
}
