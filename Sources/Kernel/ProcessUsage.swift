// What this process uses of the machine, for the metrics. Reads /proc: never on a worker that carries
// traffic.

import CLinux
import Glibc

public struct ProcessUsage: Sendable {
  public var residentBytes: UInt64
  public var openDescriptors: UInt64
  public var descriptorsMax: UInt64
  public var cpuMicroseconds: UInt64

  public static func current() -> ProcessUsage {
    ProcessUsage(
      residentBytes: MemoryUse.resident() ?? 0,
      openDescriptors: openDescriptors(),
      descriptorsMax: (try? DescriptorLimit.current().soft) ?? 0,
      cpuMicroseconds: cpuMicroseconds())
  }

  /// Linux 6.2 and newer say it as the size of the directory. Older ones have a name for each, and
  /// to read those of 100,000 WebSockets takes about 70 ms.
  private static func openDescriptors() -> UInt64 {
    let directory = "/proc/self/fd"
    if let told = Files.stamp(directory)?.size, told > 0 { return UInt64(told) }
    // The one it takes to count is not ours.
    return UInt64(max(0, (Files.count(directory) ?? 1) - 1))
  }

  private static func cpuMicroseconds() -> UInt64 {
    var time = timespec()
    // Safety: clock_gettime writes one timespec.
    guard unsafe clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time) == 0 else { return 0 }
    return UInt64(clamping: time.tv_sec) &* 1_000_000 &+ UInt64(clamping: time.tv_nsec / 1_000)
  }
}
