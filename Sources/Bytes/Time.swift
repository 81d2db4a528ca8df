// Time as the whole program uses it. Nothing here reads a clock: `Kernel` does, once per turn.

/// A length of time in nanoseconds. Configuration durations, timeouts and round trips.
public struct TimeSpan: Sendable, Comparable, Hashable {
  public var nanoseconds: Int64

  @inlinable public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

  /// Saturates instead of trapping: 292 years is as good as for ever.
  @inlinable public static func milliseconds(_ count: Int64) -> TimeSpan {
    let (product, overflow) = count.multipliedReportingOverflow(by: 1_000_000)
    return TimeSpan(nanoseconds: overflow ? .max : product)
  }
  @inlinable public static func seconds(_ count: Int64) -> TimeSpan {
    let (product, overflow) = count.multipliedReportingOverflow(by: 1_000_000_000)
    return TimeSpan(nanoseconds: overflow ? .max : product)
  }
  @inlinable public static var zero: TimeSpan { TimeSpan(nanoseconds: 0) }
  @inlinable public var milliseconds: Int64 { nanoseconds / 1_000_000 }
  @inlinable public var microseconds: Int64 { nanoseconds / 1_000 }
  @inlinable public static func < (a: TimeSpan, b: TimeSpan) -> Bool {
    a.nanoseconds < b.nanoseconds
  }
}

/// A point on the monotonic clock. Wall-clock time exists only in log lines.
public struct MonotonicTime: Sendable, Comparable, Hashable {
  public var nanoseconds: Int64

  @inlinable public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

  /// Later than every time a clock returns; "no deadline".
  @inlinable public static var never: MonotonicTime { MonotonicTime(nanoseconds: .max) }

  @inlinable public static func + (time: MonotonicTime, span: TimeSpan) -> MonotonicTime {
    let (sum, overflow) = time.nanoseconds.addingReportingOverflow(span.nanoseconds)
    return MonotonicTime(nanoseconds: overflow ? .max : sum)
  }
  @inlinable public static func - (a: MonotonicTime, b: MonotonicTime) -> TimeSpan {
    let (difference, overflow) = a.nanoseconds.subtractingReportingOverflow(b.nanoseconds)
    return TimeSpan(nanoseconds: overflow ? .max : difference)
  }
  @inlinable public static func < (a: MonotonicTime, b: MonotonicTime) -> Bool {
    a.nanoseconds < b.nanoseconds
  }
}
