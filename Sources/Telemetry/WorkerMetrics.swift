// The cells behind counters, gauges, close codes and histograms. One worker writes them, any thread may
// read them; there is no locked instruction on the writing side. Holds numbers only and decides nothing.

public import Bytes
public import Synchronization

/// A number that grows and shrinks.
public enum Gauge: UInt8, CaseIterable, Sendable {
  case backendConnections, poolIdle, outputWaiting

  /// Name without the program's prefix, and one line of help.
  public var row: (name: StaticString, help: StaticString) {
    switch self {
    case .backendConnections: ("backend_connections", "Connections to backends that are open.")
    case .poolIdle: ("pool_idle_connections", "Connections to backends that wait for a request.")
    case .outputWaiting:
      ("output_waiting_bytes", "Bytes that wait because their readers have not taken them.")
    }
  }
}

/// One worker's numbers. Writing is for the owning worker's thread alone: it is a load and a store,
/// so a second writer would lose counts (not memory safety).
public final class WorkerMetrics: Sendable {
  /// Room for every `Counter`; a test holds it.
  @usableFromInline static var capacity: Int { 128 }
  @usableFromInline let cells: InlineArray<128, Atomic<UInt64>>
  private let gauges: InlineArray<4, Atomic<Int64>>
  private let closes: InlineArray<128, Atomic<UInt64>>
  private let histograms: InlineArray<4, Histogram>

  public init() {
    cells = InlineArray { _ in Atomic(0) }
    gauges = InlineArray { _ in Atomic(0) }
    closes = InlineArray { _ in Atomic(0) }
    histograms = InlineArray { _ in Histogram() }
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

  public func change(_ gauge: Gauge, by amount: Int64) {
    let index = Int(gauge.rawValue)
    let sum = gauges[index].load(ordering: .relaxed) &+ amount
    gauges[index].store(sum, ordering: .relaxed)
  }

  public func value(_ gauge: Gauge) -> Int64 {
    gauges[Int(gauge.rawValue)].load(ordering: .relaxed)
  }

  public func add(_ close: CloseSeries) {
    let sum = closes[close.index].load(ordering: .relaxed) &+ 1
    closes[close.index].store(sum, ordering: .relaxed)
  }

  public func value(_ close: CloseSeries) -> UInt64 {
    closes[close.index].load(ordering: .relaxed)
  }

  public func record(_ distribution: Distribution, _ span: TimeSpan) {
    histograms[Int(distribution.rawValue)].record(span, bounds: distribution.bounds)
  }

  public func read(_ distribution: Distribution, into sum: inout HistogramSum) {
    histograms[Int(distribution.rawValue)].add(to: &sum)
  }
}
