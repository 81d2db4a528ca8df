// Looks at the memory once a second and tells the workers when there is too little, or enough again.

import Bytes
import Configuration
import Kernel
import Telemetry

struct MemoryWatch {
  private static var interval: TimeSpan { .seconds(1) }
  /// While memory is short, the allocator is asked so often for what it keeps.
  private static var looksPerGiveBack: Int { 5 }

  private var lookedAt: MonotonicTime?
  private var looks = 0
  fileprivate(set) var pressure = MemoryPressure.calm

  /// Whether it is time to look.
  fileprivate mutating func isDue(_ now: MonotonicTime) -> Bool {
    if let lookedAt, now - lookedAt < Self.interval { return false }
    lookedAt = now
    return true
  }

  /// Whether it is time to give memory back.
  fileprivate mutating func givesBack() -> Bool {
    looks = pressure == .calm ? 0 : looks + 1
    return looks % Self.looksPerGiveBack == 1
  }
}

extension MemoryLimit {
  fileprivate var ceiling: MemoryUse.Ceiling? {
    switch self {
    case .auto: MemoryUse.groupCeiling()
    case .off: nil
    case .bytes(let bytes): MemoryUse.Ceiling(bytes: bytes)
    }
  }
}

extension Supervisor {
  /// To be called about once a second, or more often.
  mutating func lookAtMemory() {
    let now = kernel.now()
    guard memory.isDue(now) else { return }
    let before = memory.pressure
    // Read again each time: a group's limit can be changed, and so can ours.
    let ceiling = running.limits.memory.ceiling
    let used = ceiling.map { MemoryUse.used(of: $0) } ?? 0
    memory.pressure = ceiling.map { before.next(used: used, ceiling: $0.bytes) } ?? .calm
    if memory.givesBack() { MemoryUse.giveBack() }
    // Connections that are idle by now go as well.
    if memory.pressure != before || memory.pressure == .critical {
      for worker in workers { worker.post(.memory(memory.pressure)) }
    }
    tellOfMemory(before, now, used: used, ceiling: ceiling?.bytes)
  }

  private mutating func tellOfMemory(
    _ before: MemoryPressure, _ now: MonotonicTime, used: UInt64, ceiling: UInt64?
  ) {
    let events: [LogEvent] =
      switch (before, memory.pressure) {
      case (.calm, .short): [.memoryShort]
      case (.calm, .critical): [.memoryShort, .memoryCritical]
      case (.short, .critical): [.memoryCritical]
      case (.short, .calm), (.critical, .calm): [.memoryCalm]
      case (.calm, .calm), (.short, .short), (.critical, .critical), (.critical, .short): []
      }
    for event in events {
      log.write(event, now: now, wall: kernel.wallClock()) { line in
        line.field("used", used)
        if let ceiling { line.field("limit", ceiling) }
      }
    }
  }
}
