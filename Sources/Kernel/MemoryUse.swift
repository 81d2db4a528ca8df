// How much memory this process has, and how much its control group lets it have. Reads /proc and
// /sys/fs; cheap enough for once a second.

import CLinux
import Glibc

public enum MemoryUse {
  /// A limit, and who set it.
  public struct Ceiling: Sendable, Equatable {
    public var bytes: UInt64
    /// The group whose limit it is; nil for one that the configuration sets.
    var group: ControlGroup.Place?

    public init(bytes: UInt64) { self.bytes = bytes }

    fileprivate init(bytes: UInt64, group: ControlGroup.Place) {
      self.bytes = bytes
      self.group = group
    }
  }

  /// The smallest limit of our group and of those above it; nil when there is none.
  public static func groupCeiling() -> Ceiling? {
    let ceilings = ControlGroup.directories(of: "memory").compactMap { place in
      place.text(of: place.isVersion2 ? "memory.max" : "memory.limit_in_bytes").flatMap(limit)
        .map { Ceiling(bytes: $0, group: place) }
    }
    return ceilings.min { $0.bytes < $1.bytes }
  }

  /// What counts against `ceiling`. In a group that is more than this process has, such as the buffers
  /// of its sockets; what the kernel can take back at once, such as the program's own file, is left out.
  public static func used(of ceiling: Ceiling) -> UInt64 {
    guard let group = ceiling.group else { return resident() ?? 0 }
    let isVersion2 = group.isVersion2
    let usage = group.text(of: isVersion2 ? "memory.current" : "memory.usage_in_bytes")
    let reclaimable: Set<Substring> =
      isVersion2 ? ["file", "slab_reclaimable"] : ["total_cache"]
    return used(usage ?? "", group.text(of: "memory.stat") ?? "", reclaimable) ?? resident() ?? 0
  }

  /// Resident, in bytes.
  public static func resident() -> UInt64? {
    ControlGroup.text(of: "/proc/self/statm").flatMap(pages).map { $0 * UInt64(getpagesize()) }
  }

  /// Gives what is free in the heap back to the system. Takes the locks of the allocator for some
  /// milliseconds: for when memory is short.
  public static func giveBack() { _ = malloc_trim(0) }

  // MARK: Parsing

  /// `max`, or a number; one near the end of all numbers is version 1's for none.
  static func limit(_ text: String) -> UInt64? {
    guard let bytes = number(text), bytes > 0, bytes < 1 << 60 else { return nil }
    return bytes
  }

  /// A group's usage without the rows of its statistics that are named.
  static func used(_ usage: String, _ statistics: String, _ without: Set<Substring>) -> UInt64? {
    guard let bytes = number(usage) else { return nil }
    let rows = statistics.split(separator: "\n").map { $0.split(separator: " ") }
    let other = rows.reduce(into: 0 as UInt64) { sum, row in
      if row.count == 2, without.contains(row[0]) { sum &+= UInt64(row[1]) ?? 0 }
    }
    return bytes > other ? bytes - other : 0
  }

  /// Of statm (proc(5)): size and resident come first.
  static func pages(_ text: String) -> UInt64? {
    let numbers = text.split(separator: " ")
    return numbers.count > 1 ? UInt64(numbers[1]) : nil
  }

  private static func number(_ text: String) -> UInt64? {
    text.split(separator: "\n").first.flatMap { UInt64($0) }
  }
}
