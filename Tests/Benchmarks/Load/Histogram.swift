// Latencies in log-linear buckets: 32 per power of two, so a percentile is within 3 % of the truth.

struct Histogram {
  private static let subBits = 5
  private var buckets = [UInt64](repeating: 0, count: 64 << subBits)
  private(set) var count: UInt64 = 0

  mutating func record(_ nanoseconds: Int64) {
    buckets[Self.index(UInt64(max(nanoseconds, 1)))] += 1
    count += 1
  }

  /// The upper edge of the bucket that holds the `fraction` quantile, in nanoseconds; 0 when empty.
  func percentile(_ fraction: Double) -> UInt64 {
    let wanted = max(1, UInt64((Double(count) * fraction).rounded(.up)))
    var seen: UInt64 = 0
    for (index, bucket) in buckets.enumerated() {
      seen += bucket
      if seen >= wanted && bucket > 0 { return Self.upperEdge(index) }
    }
    return 0
  }

  private static func index(_ value: UInt64) -> Int {
    if value < 1 << UInt64(subBits) { return Int(value) }
    let shift = 63 - value.leadingZeroBitCount - subBits
    return (shift + 1) << subBits | Int(value >> UInt64(shift)) & (1 << subBits - 1)
  }

  private static func upperEdge(_ index: Int) -> UInt64 {
    let group = index >> subBits
    if group == 0 { return UInt64(index) }
    let base = UInt64(1 << subBits | index & (1 << subBits - 1))
    return (base + 1) << UInt64(group - 1)
  }
}
