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
    let units: [Unit] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("", 1)]
    let show = { @Sendable (value: V) -> String in
      shown(UInt64(clamping: value), in: units)
    }
    let syntax = "a size such as 512, 64KiB or 1MiB"
    let bounds = "\(show(range.lowerBound)) to \(show(range.upperBound))"
    let schema = Schema.integer(range).or(.text("[0-9]+(?:KiB|MiB|GiB)"))
    return text("\(syntax), from \(bounds)", form: bounds, schema: schema, show: show) {
      (text) throws(Complaint) in
      guard let quantity = Quantity(text), let unit = quantity.unit(among: units) else {
        throw Complaint(text, isNot: syntax)
      }
      guard let value = quantity.times(unit).flatMap(V.init(exactly:)), range.contains(value) else {
        throw Complaint("\(text) is out of range: from \(bounds)")
      }
      try quantity.check(unit, text, syntax)
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
      guard let quantity = Quantity(text) else { throw Complaint(text, isNot: syntax) }
      func span(_ unit: Unit) -> TimeSpan? {
        let span = quantity.times(unit).flatMap(Int64.init(exactly:)).map(TimeSpan.milliseconds)
        return span.flatMap { range.contains($0) ? $0 : nil }
      }
      let outOfRange = Complaint("\(text) is out of range: from \(bounds)")
      if quantity.unit.isEmpty {
        guard let unit = bareUnits.first(where: { span($0) != nil }) else { throw outOfRange }
        throw Complaint(
          "\(quoted(text)) is not \(syntax): add its unit, as in \(text)\(unit.name)")
      }
      guard let unit = quantity.unit(among: durationUnits) else {
        throw Complaint(text, isNot: syntax)
      }
      guard let value = span(unit) else { throw outOfRange }
      try quantity.check(unit, text, syntax)
      return value
    }
  }
}

/// The first that fits is what a number alone was probably meant in.
private let bareUnits: [Unit] = [("s", 1000), ("ms", 1), ("m", 60_000), ("h", 3_600_000)]

private let durationUnits: [Unit] = [
  ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1),
]

/// A duration in the largest unit that needs no fraction.
@Sendable func shownDuration(_ span: TimeSpan) -> String {
  shown(UInt64(clamping: span.milliseconds), in: durationUnits)
}

/// `units` from the largest to the one of factor 1.
private func shown(_ value: UInt64, in units: [Unit]) -> String {
  let unit = units.first { value >= $0.factor && value.isMultiple(of: $0.factor) } ?? ("", 1)
  return "\(value / unit.factor)\(unit.name)"
}

private typealias Unit = (name: String, factor: UInt64)

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

  /// The one that is written, or else the one that is meant.
  func unit(among units: [Unit]) -> Unit? {
    let names = units.map(\.name)
    let word = String(unit.drop { $0 == " " })
    let name = names.contains(word) ? word : Habits.name(for: word, among: names)
    return units.first { $0.name == name }
  }

  /// nil: no number is that large.
  func times(_ unit: Unit) -> UInt64? {
    let (product, overflow) = number.multipliedReportingOverflow(by: unit.factor)
    return overflow ? nil : product
  }

  /// Nothing is guessed: a unit that is only meant must be written.
  func check(_ meant: Unit, _ text: String, _ syntax: String) throws(Complaint) {
    guard unit != meant.name else { return }
    throw Complaint("\(quoted(text)) is not \(syntax): write \(number)\(meant.name)")
  }
}
