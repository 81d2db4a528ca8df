import Bytes
import Telemetry
import Testing

@Suite("Exposition")
struct PrometheusTests {
  private func text(_ body: (inout PrometheusText) -> Void) -> String {
    var text = PrometheusText()
    body(&text)
    return String(decoding: text.bytes, as: UTF8.self)
  }

  /// All there is, of one worker.
  private func all(_ metrics: WorkerMetrics = WorkerMetrics()) -> [Substring] {
    text {
      $0.counters([metrics])
      $0.gauges([metrics])
      $0.histograms([metrics])
    }.split(separator: "\n")
  }

  @Test("a family has its help, its type, and a counter its ending")
  func family() {
    let text = text {
      $0.family("things", .counter, "What there was.")
      $0.sample(12)
      $0.family("level", .gauge, "What there is.")
      $0.sample(3, #"kind="a""#)
    }
    #expect(
      text == """
        # HELP bascule_things_total What there was.
        # TYPE bascule_things_total counter
        bascule_things_total 12
        # HELP bascule_level What there is.
        # TYPE bascule_level gauge
        bascule_level{kind="a"} 3

        """)
  }

  @Test("label values are escaped, so that none can end a line or make a label")
  func escaping() {
    let text = text {
      $0.family("x", .gauge, "X.")
      $0.sample(
        1, labels: [MetricLabel("a", "q\"} 9\n# \\ ü"), MetricLabel("b", "")])
    }
    #expect(text.split(separator: "\n").last == #"bascule_x{a="q\"} 9\n# \\ ü",b=""} 1"#)
  }

  @Test("seconds have no zeros at their end")
  func seconds() {
    for (value, expected) in [
      (0, "0"), (1, "0.000001"), (250_000, "0.25"), (1_000_000, "1"), (61_500_000, "61.5"),
    ] as [(UInt64, String)] {
      let text = text {
        $0.family("x", .counter, "X.")
        $0.sample(microseconds: value)
      }
      #expect(text.hasSuffix("bascule_x_total \(expected)\n"))
    }
  }

  @Test("buckets are cumulative and end with all of them")
  func histogram() {
    let metrics = WorkerMetrics()
    for span in [1, 2, 2, 70_000] as [Int64] {
      metrics.record(.requestDuration, .milliseconds(span))
    }
    let lines = all(metrics).filter { $0.hasPrefix("bascule_request_duration_seconds") }
    #expect(lines.count == 17)
    #expect(lines[0] == #"bascule_request_duration_seconds_bucket{le="0.001"} 1"#)
    #expect(lines[1] == #"bascule_request_duration_seconds_bucket{le="0.002"} 3"#)
    #expect(lines[13] == #"bascule_request_duration_seconds_bucket{le="60"} 3"#)
    #expect(lines[14] == #"bascule_request_duration_seconds_bucket{le="+Inf"} 4"#)
    #expect(lines[15] == "bascule_request_duration_seconds_sum 70.005")
    #expect(lines[16] == "bascule_request_duration_seconds_count 4")
  }

  @Test("no family comes twice, no series comes twice, and all begin alike")
  func unique() {
    var families: Set<Substring> = []
    var series: Set<Substring> = []
    for line in all() {
      let words = line.split(separator: " ")
      if line.hasPrefix("# TYPE") {
        #expect(families.insert(words[2]).inserted, "\(line)")
      } else if !line.hasPrefix("#") {
        #expect(series.insert(words[0]).inserted, "\(line)")
        #expect(line.hasPrefix("bascule_"))
      }
    }
    #expect(families.count > 60)
  }

  @Test("the counters of a family have labels, and those without a family have none")
  func labels() {
    for counter in Counter.allCases {
      let row = counter.row
      #expect((row.family == nil) == row.labels.description.isEmpty, "\(row.name)")
    }
  }
}
