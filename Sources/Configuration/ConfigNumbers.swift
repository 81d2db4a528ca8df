// Kinds of values that are numbers: whole numbers, sizes and durations. Everything is checked for
// overflow and range; nothing is rounded.
import Bytes

extension ConfigValue where V: FixedWidthInteger {
  /// A whole number in `range`.
  static func integer(_ range: ClosedRange<V>) -> Self {
    let syntax = "a whole number from \(range.lowerBound) to \(range.upperBound)"
    return text(
      syntax, form: "\(range.lowerBound) to \(range.upperBound)", schema: .integer(range),
      show: { "\($0)" }
    ) { (text) throws(Complaint) in
      guard let digits = Quantity(text), digits.unit.isEmpty,
        let value = V(exactly: digits.number), range.contains(value)
      else { throw Complaint(text, isNot: syntax) }
      return value
    }
  }

  /// Bytes, as a number alone or with `KiB`, `MiB` or `GiB`.
  static func size(_ range: ClosedRange<V>) -> Self {
    let units: [(name: String, factor: UInt64)] = [
      ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("", 1),
    ]
    let show = { @Sendable (value: V) -> String in
      shown(UInt64(clamping: value), in: units)
    }
    let syntax = "a size such as 512, 64KiB or 1MiB"
    let bounds = "\(show(range.lowerBound)) to \(show(range.upperBound))"
    let schema = Schema.integer(range).or(.text("[0-9]+(?:KiB|MiB|GiB)"))
    return text("\(syntax), from \(bounds)", form: bounds, schema: schema, show: show) {
      (text) throws(Complaint) in
      guard let quantity = Quantity(text) else { throw Complaint(text, isNot: syntax) }
      guard let factor = units.first(where: { $0.name == quantity.unit })?.factor else {
        let hint = NearestName.hint(for: quantity.unit, among: ["KiB", "MiB", "GiB"])
        throw Complaint("\(quoted(text)) is not \(syntax)\(hint)")
      }
      let (product, overflow) = quantity.number.multipliedReportingOverflow(by: factor)
      guard !overflow, let value = V(exactly: product), range.contains(value) else {
        throw Complaint("\(text) is out of range: from \(bounds)")
      }
      return value
    }
  }
}

extension ConfigValue<TimeSpan> {
  /// A number with `ms`, `s`, `m` or `h`.
  static func duration(_ range: ClosedRange<TimeSpan>) -> Self {
    let syntax = "a duration such as 250ms, 5s, 2m or 1h"
    let bounds = "\(shownDuration(range.lowerBound)) to \(shownDuration(range.upperBound))"
    return text(
      "\(syntax), from \(bounds)", form: bounds, schema: .text("[0-9]+(?:ms|s|m|h)"),
      show: shownDuration
    ) { (text) throws(Complaint) in
      guard let quantity = Quantity(text),
        let factor = durationUnits.first(where: { $0.name == quantity.unit })?.factor
      else {
        let isBare = Quantity(text)?.unit.isEmpty ?? false
        let hint = isBare ? ": add its unit, as in \(text)s" : ""
        throw Complaint("\(quoted(text)) is not \(syntax)\(hint)")
      }
      let (product, overflow) = quantity.number.multipliedReportingOverflow(by: factor)
      guard !overflow, let milliseconds = Int64(exactly: product),
        range.contains(.milliseconds(milliseconds))
      else { throw Complaint("\(text) is out of range: from \(bounds)") }
      return .milliseconds(milliseconds)
    }
  }
}

private let durationUnits: [(name: String, factor: UInt64)] = [
  ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1),
]

/// A duration in the largest unit that needs no fraction.
@Sendable func shownDuration(_ span: TimeSpan) -> String {
  shown(UInt64(clamping: span.milliseconds), in: durationUnits)
}

/// `units` from the largest to the one of factor 1.
private func shown(_ value: UInt64, in units: [(name: String, factor: UInt64)]) -> String {
  let unit = units.first { value >= $0.factor && value.isMultiple(of: $0.factor) } ?? ("", 1)
  return "\(value / unit.factor)\(unit.name)"
}

/// Decimal digits and what follows them.
private struct Quantity {
  var number: UInt64
  var unit: String

  init?(_ text: String) {
    let digits = text.utf8.prefix { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }
    guard let number = UInt64(String(digits) ?? "") else { return nil }
    self.number = number
    unit = String(text.utf8.dropFirst(digits.count)) ?? ""
  }
}
