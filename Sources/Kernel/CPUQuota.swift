// The CPU quota of this process's control group, in whole processors. The parsers are pure.

enum CPUQuota {
  /// The smallest quota of our group and its ancestors, rounded up; nil when there is none.
  static func current() -> Int? {
    ControlGroup.directories(of: "cpu").compactMap { place in
      if place.isVersion2 { return place.text(of: "cpu.max").flatMap(version2) }
      guard let quota = place.text(of: "cpu.cfs_quota_us"),
        let period = place.text(of: "cpu.cfs_period_us")
      else { return nil }
      return version1(quota: quota, period: period)
    }.min()
  }

  /// cpu.max: `QUOTA PERIOD` or `max PERIOD`, in microseconds.
  static func version2(_ text: String) -> Int? {
    let parts = text.split { $0 == " " || $0 == "\n" }
    guard parts.count == 2 else { return nil }
    return processors(quota: parts[0], period: parts[1])
  }

  /// cpu.cfs_quota_us (-1: none) and cpu.cfs_period_us.
  static func version1(quota: String, period: String) -> Int? {
    guard let quota = quota.split(separator: "\n").first,
      let period = period.split(separator: "\n").first
    else { return nil }
    return processors(quota: quota, period: period)
  }

  private static func processors(quota: Substring, period: Substring) -> Int? {
    guard let quota = Int(quota), let period = Int(period), quota > 0, period > 0
    else { return nil }
    let (whole, rest) = quota.quotientAndRemainder(dividingBy: period)
    return rest == 0 ? whole : whole + 1
  }
}
