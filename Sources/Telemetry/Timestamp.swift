// Wall-clock time as log lines show it. The only place that knows the calendar.

extension LineBuilder {
  /// A field with an ISO 8601 time in UTC, to the millisecond. `wall`: nanoseconds since 1970,
  /// UTC; a clock set before that year counts as its first moment.
  public mutating func field(_ name: StaticString, wall: Int64) {
    key(name)
    bytes.append(UInt8(ascii: "\""))
    appendTimestamp(UInt64(max(wall, 0)))
    bytes.append(UInt8(ascii: "\""))
  }

  private mutating func appendTimestamp(_ wall: UInt64) {
    let seconds = wall / 1_000_000_000
    let date = civilDate(daysSince1970: seconds / 86_400)
    let second = seconds % 86_400
    appendDecimal(date.year, digits: 4)
    append("-")
    appendDecimal(date.month, digits: 2)
    append("-")
    appendDecimal(date.day, digits: 2)
    append("T")
    appendDecimal(second / 3600, digits: 2)
    append(":")
    appendDecimal(second / 60 % 60, digits: 2)
    append(":")
    appendDecimal(second % 60, digits: 2)
    append(".")
    appendDecimal(wall / 1_000_000 % 1000, digits: 3)
    append("Z")
  }
}

/// The Gregorian date; the arithmetic of Howard Hinnant's "chrono-compatible low-level date
/// algorithms" (days_from_civil), in years that begin on 1 March.
private func civilDate(daysSince1970 days: UInt64) -> (year: UInt64, month: UInt64, day: UInt64) {
  let shifted = days + 719_468
  let era = shifted / 146_097
  let dayOfEra = shifted % 146_097
  let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
  let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
  let marchMonth = (5 * dayOfYear + 2) / 153
  let month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
  let day = dayOfYear - (153 * marchMonth + 2) / 5 + 1
  return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day)
}
