// What a run found, and how it is printed: one line of JSON, so that the run script can read it.

struct Results {
  /// Inside the window that counts.
  var measuring = false
  var completed: UInt64 = 0
  var latencies = Histogram()
  var failures = 0
  var firstFailure = ""
  /// Nanoseconds of the window, and of CPU the watched processes used in it.
  var windowNanoseconds: Int64 = 0
  var cpuNanoseconds: Int64?
  /// KiB of the watched processes before and after the connections were opened.
  var memoryBefore: Int?
  var memoryAfter: Int?

  mutating func note(took nanoseconds: Int64) {
    if !measuring { return }
    completed += 1
    latencies.record(nanoseconds)
  }

  mutating func note(failure: String) {
    failures += 1
    if failures == 1 { firstFailure = failure }
  }

  func json(_ options: Options) -> String {
    var fields: [(String, String)] = [
      ("mode", quoted(options.mode.rawValue)), ("connections", "\(options.connections)"),
      ("clients", "\(options.clients)"),
      ("completed", "\(completed)"), ("failures", "\(failures)"),
      ("first_failure", quoted(firstFailure)),
    ]
    if windowNanoseconds > 0 {
      fields.append(("per_second", number(Double(completed) * 1e9 / Double(windowNanoseconds))))
      fields.append(("p50_us", number(Double(latencies.percentile(0.5)) / 1_000)))
      fields.append(("p99_us", number(Double(latencies.percentile(0.99)) / 1_000)))
    }
    if let cpuNanoseconds, windowNanoseconds > 0 {
      fields.append(("cpu_share", number(Double(cpuNanoseconds) / Double(windowNanoseconds))))
      if completed > 0 {
        fields.append(("cpu_us_each", number(Double(cpuNanoseconds) / 1_000 / Double(completed))))
      }
    }
    if let memoryBefore, let memoryAfter {
      let each = Double(memoryAfter - memoryBefore) / Double(options.clients)
      fields.append(("kib_each", number(each)))
    }
    return "{" + fields.map { "\"\($0.0)\": \($0.1)" }.joined(separator: ", ") + "}"
  }

  private func number(_ value: Double) -> String { "\((value * 1_000).rounded() / 1_000)" }

  private func quoted(_ text: String) -> String {
    let plain = text.unicodeScalars.filter { $0.value >= 32 && $0 != "\"" && $0 != "\\" }
    return "\"" + String(String.UnicodeScalarView(plain)) + "\""
  }
}
