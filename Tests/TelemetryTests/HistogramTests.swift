import Bytes
import Telemetry
import Testing

@Suite("Histograms")
struct HistogramTests {
  private func sum(_ distribution: Distribution, _ sources: WorkerMetrics...) -> HistogramSum {
    var sum = HistogramSum()
    for source in sources { source.read(distribution, into: &sum) }
    return sum
  }

  @Test("bounds rise", arguments: Distribution.allCases)
  func bounds(distribution: Distribution) {
    let bounds = distribution.bounds
    for index in 1..<bounds.count { #expect(bounds[index - 1] < bounds[index]) }
  }

  @Test("what lies on a bound is within it, and one microsecond more is not")
  func edges() {
    let metrics = WorkerMetrics()
    let bounds = Distribution.requestDuration.bounds
    for index in bounds.indices {
      let edge = Int64(bounds[index]) * 1_000_000
      metrics.record(.requestDuration, TimeSpan(nanoseconds: edge))
      metrics.record(.requestDuration, TimeSpan(nanoseconds: edge + 1_000))
    }
    let sum = sum(.requestDuration, metrics)
    // Each bucket has its own bound and what is just above the one before.
    #expect((0..<15).map { sum.buckets[$0] } == [1] + Array(repeating: 2, count: 13) + [1])
    #expect(sum.count == 28)
  }

  @Test("workers add up, and distributions do not mix")
  func sums() {
    let first = WorkerMetrics()
    let second = WorkerMetrics()
    first.record(.clientRoundTrip, .milliseconds(3))
    second.record(.clientRoundTrip, .milliseconds(4))
    second.record(.bridgeDuration, .seconds(100))
    #expect(sum(.clientRoundTrip, first, second).microseconds == 7_000)
    #expect(sum(.clientRoundTrip, first, second).count == 2)
    #expect(sum(.backendRoundTrip, first, second).count == 0)
    #expect(sum(.bridgeDuration, first, second).count == 1)
  }

  @Test("a clock that goes back and a time for ever are counted, not trapped on")
  func extremes() {
    let metrics = WorkerMetrics()
    metrics.record(.requestDuration, TimeSpan(nanoseconds: .min))
    metrics.record(.requestDuration, TimeSpan(nanoseconds: .max))
    let sum = sum(.requestDuration, metrics)
    #expect(sum.buckets[0] == 1)
    #expect(sum.buckets[14] == 1)
  }

  @Test("gauges grow and shrink")
  func gauges() {
    let metrics = WorkerMetrics()
    for gauge in Gauge.allCases {
      metrics.change(gauge, by: 3)
      metrics.change(gauge, by: -1)
      #expect(metrics.value(gauge) == 2)
    }
  }
}

@Suite("Close codes in the metrics")
struct CloseSeriesTests {
  private func words(of code: UInt16) -> [String] {
    let metrics = WorkerMetrics()
    metrics.add(CloseSeries(side: .backend, code: code, closedBy: .gateway))
    var found: [String] = []
    CloseSeries.forEach { series, side, word, party in
      guard metrics.value(series) > 0 else { return }
      #expect(side == .backend && party == .gateway)
      found.append(word.description)
    }
    return found
  }

  @Test("every code there is makes exactly one of a few series")
  func codes() {
    for code in UInt16.min...UInt16.max {
      let word =
        switch code {
        case 1000...1003, 1005...1014: "\(code)"
        case 3000...3999: "3xxx"
        case 4000...4999: "4xxx"
        default: "other"
        }
      #expect(CloseSeries.words.contains { $0.description == word })
      if code % 97 == 0 || code < 1_020 { #expect(words(of: code) == [word]) }
    }
  }

  @Test("no two series share a cell")
  func cells() {
    let metrics = WorkerMetrics()
    var count: UInt64 = 0
    CloseSeries.forEach { series, _, _, _ in
      for _ in 0...count { metrics.add(series) }
      count += 1
    }
    var expected: UInt64 = 0
    CloseSeries.forEach { series, _, _, _ in
      expected += 1
      #expect(metrics.value(series) == expected)
    }
    #expect(expected == 102)
  }
}
