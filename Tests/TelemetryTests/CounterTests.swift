import Telemetry
import Testing

@Suite("Counters")
struct CounterTests {
  @Test("every counter has a cell of its own")
  func cells() {
    let metrics = WorkerMetrics()
    for (index, counter) in Counter.allCases.enumerated() {
      metrics.add(counter, UInt64(index) + 1)
      metrics.add(counter)
    }
    for (index, counter) in Counter.allCases.enumerated() {
      #expect(metrics.value(counter) == UInt64(index) + 2)
    }
  }

  @Test("names are unique, lower case, and helped by a sentence")
  func rows() {
    var names: Set<String> = []
    for counter in Counter.allCases {
      let name = counter.row.name
      let help = counter.row.help
      #expect(names.insert(name.description).inserted, "\(name) twice")
      #expect(name.description.allSatisfy { $0 == "_" || $0.isNumber || ("a"..."z").contains($0) })
      #expect(help.description.hasSuffix("."))
    }
  }

  @Test("a counter wraps instead of trapping")
  func wraps() {
    let metrics = WorkerMetrics()
    metrics.add(.clientTextBytes, .max)
    metrics.add(.clientTextBytes, 2)
    #expect(metrics.value(.clientTextBytes) == 1)
  }
}
