// How long things take: fixed buckets, so that recording costs a few comparisons and two stores, and
// sums over workers and over time mean something. Owned by one worker, readable from any thread.

import Bytes
import Synchronization

/// What is measured. To add one: a case and its rows; then `metrics.record()` where it ends.
public enum Distribution: UInt8, CaseIterable, Sendable {
  case clientRoundTrip, backendRoundTrip, bridgeDuration, requestDuration

  /// Name without the program's prefix, help, and labels as they are written.
  public var row: (name: StaticString, help: StaticString, labels: StaticString) {
    switch self {
    case .clientRoundTrip:
      ("ping_round_trip_seconds", Self.roundTripHelp, #"peer="client""#)
    case .backendRoundTrip:
      ("ping_round_trip_seconds", Self.roundTripHelp, #"peer="backend""#)
    case .bridgeDuration:
      ("bridge_duration_seconds", "How long bridged WebSockets lasted.", "")
    case .requestDuration:
      ("request_duration_seconds", "From a plain request's head to the end of its answer.", "")
    }
  }

  private static var roundTripHelp: StaticString {
    "From a Ping of the gateway to the Pong that answers it."
  }

  /// Upper bounds of the buckets in milliseconds, rising; beyond the last is one more.
  public var bounds: InlineArray<14, UInt64> {
    switch self {
    case .clientRoundTrip, .backendRoundTrip, .requestDuration:
      [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 60_000]
    // A second to a week.
    case .bridgeDuration:
      [
        1_000, 10_000, 60_000, 300_000, 900_000, 1_800_000, 3_600_000, 7_200_000, 14_400_000,
        28_800_000, 57_600_000, 86_400_000, 259_200_000, 604_800_000,
      ]
    }
  }
}

/// The cells of one distribution.
struct Histogram: ~Copyable, Sendable {
  private let buckets: InlineArray<15, Atomic<UInt64>>
  private let microseconds = Atomic<UInt64>(0)

  init() { buckets = InlineArray { _ in Atomic(0) } }

  /// For the owning worker alone.
  func record(_ span: TimeSpan, bounds: InlineArray<14, UInt64>) {
    let value = UInt64(max(span.microseconds, 0))
    var index = 0
    while index < 14, value > bounds[index] &* 1_000 { index += 1 }
    let count = buckets[index].load(ordering: .relaxed) &+ 1
    buckets[index].store(count, ordering: .relaxed)
    let sum = microseconds.load(ordering: .relaxed) &+ value
    microseconds.store(sum, ordering: .relaxed)
  }

  func add(to sum: inout HistogramSum) {
    for index in buckets.indices {
      sum.buckets[index] &+= buckets[index].load(ordering: .relaxed)
    }
    sum.microseconds &+= microseconds.load(ordering: .relaxed)
  }
}

/// The histograms of several workers together.
public struct HistogramSum: Sendable {
  /// Not cumulative; the last is for what is beyond all bounds.
  public fileprivate(set) var buckets = InlineArray<15, UInt64>(repeating: 0)
  public fileprivate(set) var microseconds: UInt64 = 0

  public init() {}

  public var count: UInt64 {
    var count: UInt64 = 0
    for index in buckets.indices { count &+= buckets[index] }
    return count
  }
}
