// The text that Prometheus reads (exposition format 0.0.4). Every name begins with `bascule_`. Label
// values come from the configuration and from fixed sets, never from a peer, and are escaped here.

import Bytes

public enum MetricType: Sendable {
  case counter, gauge, histogram

  fileprivate var word: StaticString {
    switch self {
    case .counter: "counter"
    case .gauge: "gauge"
    case .histogram: "histogram"
    }
  }
}

/// One label of a sample.
public struct MetricLabel: Sendable {
  let name: StaticString
  let value: String

  public init(_ name: StaticString, _ value: String) {
    self.name = name
    self.value = value
  }
}

/// Builds one exposition: a `family`, then its samples, and so on.
public struct PrometheusText {
  public private(set) var bytes: [UInt8] = []
  private var family: StaticString = ""
  private var suffix: StaticString = ""

  public init() { bytes.reserveCapacity(32 << 10) }

  /// Begins a family. A counter's name gets its `_total` here.
  public mutating func family(_ name: StaticString, _ type: MetricType, _ help: StaticString) {
    family = name
    suffix = if case .counter = type { "_total" } else { "" }
    comment("HELP")
    append(help)
    line()
    comment("TYPE")
    append(type.word)
    line()
  }

  public mutating func sample(_ value: UInt64, _ labels: StaticString = "") {
    name()
    braced(labels)
    number(value)
  }

  public mutating func sample(_ value: UInt64, labels: [MetricLabel]) {
    name()
    byte("{")
    for (index, label) in labels.enumerated() {
      if index > 0 { byte(",") }
      append(label.name)
      append("=\"")
      escaped(label.value)
      byte("\"")
    }
    byte("}")
    number(value)
  }

  /// A value of seconds.
  public mutating func sample(microseconds value: UInt64) {
    name()
    byte(" ")
    seconds(microseconds: value)
    line()
  }

  // MARK: Whole families

  /// Every counter, summed over `sources`.
  public mutating func counters(_ sources: [WorkerMetrics]) {
    for counter in Counter.allCases where counter.row.family == nil {
      family(counter.row.name, .counter, counter.row.help)
      sample(sources.reduce(0) { $0 &+ $1.value(counter) })
    }
    for group in MetricFamily.allCases {
      family(group.row.name, .counter, group.row.help)
      for counter in Counter.allCases where counter.row.family == group {
        sample(sources.reduce(0) { $0 &+ $1.value(counter) }, counter.row.labels)
      }
    }
    closes(sources)
  }

  private mutating func closes(_ sources: [WorkerMetrics]) {
    family(
      "closes", .counter, "Close codes of bridges that have ended, by the side that sent them.")
    CloseSeries.forEach { series, side, code, party in
      name()
      append("{side=\"")
      append(side.word)
      append("\",code=\"")
      append(code)
      append("\",closed_by=\"")
      append(party.word)
      append("\"}")
      number(sources.reduce(0) { $0 &+ $1.value(series) })
    }
  }

  public mutating func gauges(_ sources: [WorkerMetrics]) {
    for gauge in Gauge.allCases {
      family(gauge.row.name, .gauge, gauge.row.help)
      sample(UInt64(max(0, sources.reduce(0) { $0 &+ $1.value(gauge) })))
    }
  }

  public mutating func histograms(_ sources: [WorkerMetrics]) {
    var last = ""
    for distribution in Distribution.allCases {
      let row = distribution.row
      if row.name.description != last { family(row.name, .histogram, row.help) }
      last = row.name.description
      var sum = HistogramSum()
      for source in sources { source.read(distribution, into: &sum) }
      histogram(sum, distribution.bounds, row.labels)
    }
  }

  private mutating func histogram(
    _ sum: HistogramSum, _ bounds: InlineArray<14, UInt64>, _ labels: StaticString
  ) {
    var count: UInt64 = 0
    for index in bounds.indices {
      count &+= sum.buckets[index]
      bucket(labels) { $0.seconds(microseconds: bounds[index] * 1_000) }
      number(count)
    }
    bucket(labels) { $0.append("+Inf") }
    number(sum.count)
    name()
    append("_sum")
    braced(labels)
    byte(" ")
    seconds(microseconds: sum.microseconds)
    line()
    name()
    append("_count")
    braced(labels)
    number(sum.count)
  }

  private mutating func bucket(_ labels: StaticString, _ bound: (inout Self) -> Void) {
    name()
    append("_bucket{")
    append(labels)
    append(labels.utf8CodeUnitCount > 0 ? ",le=\"" : "le=\"")
    bound(&self)
    append("\"}")
  }

  // MARK: Parts

  private mutating func comment(_ word: StaticString) {
    append("# ")
    append(word)
    byte(" ")
    name()
    byte(" ")
  }

  private mutating func name() {
    append("bascule_")
    append(family)
    append(suffix)
  }

  private mutating func braced(_ labels: StaticString) {
    guard labels.utf8CodeUnitCount > 0 else { return }
    byte("{")
    append(labels)
    byte("}")
  }

  private mutating func number(_ value: UInt64) {
    byte(" ")
    ASCII.appendDecimal(value, to: &bytes)
    line()
  }

  /// `1`, `0.25`: without zeros at the end, as `le` is compared as text.
  private mutating func seconds(microseconds: UInt64) {
    ASCII.appendDecimal(microseconds / 1_000_000, to: &bytes)
    var rest = microseconds % 1_000_000
    guard rest > 0 else { return }
    byte(".")
    var unit: UInt64 = 100_000
    while rest > 0 {
      bytes.append(0x30 + UInt8(rest / unit))
      rest %= unit
      unit /= 10
    }
  }

  /// Backslash, quote and newline, as the format asks for.
  private mutating func escaped(_ value: String) {
    for octet in value.utf8 {
      switch octet {
      case UInt8(ascii: "\\"): append("\\\\")
      case UInt8(ascii: "\""): append("\\\"")
      case UInt8(ascii: "\n"): append("\\n")
      default: bytes.append(octet)
      }
    }
  }

  private mutating func append(_ text: StaticString) { ASCII.append(text, to: &bytes) }
  private mutating func byte(_ scalar: Unicode.Scalar) { bytes.append(UInt8(ascii: scalar)) }
  private mutating func line() { byte("\n") }
}
