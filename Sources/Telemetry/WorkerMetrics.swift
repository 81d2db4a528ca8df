// The cells behind `Counter`. One worker writes them, any thread may read them; there is no locked
// instruction on the writing side. Holds numbers only and decides nothing.

public import Synchronization

/// One worker's counters. `add` is for the owning worker's thread alone: it is a load and a store,
/// so a second writer would lose counts (not memory safety).
public final class WorkerMetrics: Sendable {
  /// Room for every `Counter`; a test holds it.
  @usableFromInline static var capacity: Int { 96 }
  @usableFromInline let cells: InlineArray<96, Atomic<UInt64>>

  public init() {
    cells = InlineArray { _ in Atomic(0) }
  }

  @inlinable
  public func add(_ counter: Counter, _ amount: UInt64 = 1) {
    let index = Int(counter.rawValue)
    let sum = cells[index].load(ordering: .relaxed) &+ amount
    cells[index].store(sum, ordering: .relaxed)
  }

  /// The value now; a reader on another thread may see it a moment late.
  @inlinable
  public func value(_ counter: Counter) -> UInt64 {
    cells[Int(counter.rawValue)].load(ordering: .relaxed)
  }
}
