// The exposition read back, for `bascule top`.

public struct MetricSamples: Sendable {
  /// By name with labels, as they are written.
  private var values: [Substring: Double] = [:]
  /// In the order of the text.
  private var names: [Substring] = []

  public init(_ text: String) {
    for line in text.split(separator: "\n") where !line.hasPrefix("#") {
      guard let space = line.lastIndex(of: " "),
        let value = Double(line[line.index(after: space)...])
      else { continue }
      values[line[..<space]] = value
      names.append(line[..<space])
    }
  }

  public func value(_ name: String) -> Double { values[Substring(name)] ?? 0 }

  /// All samples of that name, whatever their labels.
  public func sum(_ name: String) -> Double {
    names.reduce(0) { $0 + ($1 == name || $1.hasPrefix(name + "{") ? values[$1] ?? 0 : 0) }
  }

  /// The labels of the samples of that name, as they are written, without braces.
  public func labels(_ name: String) -> [String] {
    names.filter { $0.hasPrefix(name + "{") }.map {
      String($0.dropFirst(name.count + 1).dropLast())
    }
  }

  /// The upper bound of the bucket that the given part of what a histogram has counted since `before` is
  /// in; nil when it has counted nothing. `labels`: as they are written.
  public func quantile(
    _ part: Double, _ name: String, _ labels: String, since before: MetricSamples?
  ) -> Double? {
    let start = "\(name)_bucket{\(labels)\(labels.isEmpty ? "" : ",")le=\""
    var buckets: [(bound: Double, count: Double)] = []
    for sample in names where sample.hasPrefix(start) {
      let bound = sample.dropFirst(start.count).dropLast(2)
      let count = (values[sample] ?? 0) - (before?.values[sample] ?? 0)
      buckets.append((bound == "+Inf" ? .infinity : Double(bound) ?? .infinity, count))
    }
    guard let all = buckets.last?.count, all > 0 else { return nil }
    return buckets.first { $0.count >= all * part }?.bound
  }
}
