// The `health` section of an upstream: how its endpoints are asked whether they are in order.
public import Bytes

/// Checks of an upstream's endpoints, made by one worker for all.
public struct HealthSettings: Sendable, Equatable {
  /// Path and query.
  public var path = "/"
  public var interval = TimeSpan.seconds(5)
  /// From connecting to the answer's head.
  public var timeout = TimeSpan.seconds(2)
  /// Statuses that count as well.
  public var expect = StatusRange(200, 399)
  /// A WebSocket is asked for, and nothing but a right 101 counts.
  public var webSocket = false
  /// Checks in a row that bring an endpoint back, and that take it out.
  public var rise = 2
  public var fall = 3

  public init() {}
}

/// From a status to another one, both included.
public struct StatusRange: Sendable, Equatable {
  public let first: UInt16
  public let last: UInt16

  public init(_ first: UInt16, _ last: UInt16) {
    self.first = first
    self.last = last
  }

  public func contains(_ status: Int) -> Bool { Int(first) <= status && status <= Int(last) }
}

extension HealthSettings: ConfigSection {
  static let mainKeys = ["path"]

  static let keys: [ConfigKey<Self>] = [
    ConfigKey("path", \.path, .checkPath, "What is asked for, with GET."),
    ConfigKey(
      "interval", \.interval, .duration(.milliseconds(100) ... .seconds(3600)),
      "From one check to the next, 10 % more or less."),
    ConfigKey(
      "timeout", \.timeout, .duration(.milliseconds(10) ... .seconds(60)),
      "For the answer; no answer is a bad one."),
    ConfigKey(
      "expect", \.expect, .statusRange,
      "The statuses that are good. With websocket nothing but 101 is."),
    ConfigKey(
      "websocket", \.webSocket, .boolean,
      "Ask for a WebSocket, as clients do: a server whose pages work may have lost its WebSockets."),
    ConfigKey(
      "rise", \.rise, .integer(1...100), "Good checks in a row that bring an endpoint back."),
    ConfigKey(
      "fall", \.fall, .integer(1...100),
      "Bad checks in a row that take an endpoint out; the first check of all does so alone."),
  ]

  static var example: Self {
    var health = Self()
    health.path = "/healthz"
    return health
  }

  mutating func validate(_ written: WrittenSection, _ reader: inout Reader) {
    guard written.areRight("websocket", "expect"), webSocket, let node = written["expect"] else {
      return
    }
    reader.report(node.location, "expect means nothing beside websocket: only 101 is good")
  }
}

extension ConfigValue<String> {
  /// A request target in origin form (RFC 9112 section 3.2.1).
  fileprivate static let checkPath = text(
    "a path such as /healthz", form: "/PATH", schema: .text(#"/[^#\s]*"#), show: { $0 }
  ) { (text) throws(Complaint) in
    guard text.hasPrefix("/"), text.utf8.count <= 1_024,
      text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "#") })
    else { throw Complaint(text, isNot: "a path such as /healthz") }
    return text
  }
}

extension ConfigValue<StatusRange> {
  fileprivate static let statusRange = text(
    "a status or a range such as 200-399", form: "STATUS | STATUS-STATUS",
    schema: .integer(200...599).or(.text("[2-5][0-9]{2}-[2-5][0-9]{2}")), show: written
  ) { (text) throws(Complaint) in
    let ends = text.split(separator: "-", omittingEmptySubsequences: false)
    let statuses = ends.compactMap { $0.utf8.count == 3 ? UInt16($0) : nil }
    guard statuses.count == ends.count, (1...2).contains(ends.count), let first = statuses.first,
      let last = statuses.last, 200 <= first, first <= last, last <= 599
    else { throw Complaint(text, isNot: "a status or a range within 200-599, such as 200-399") }
    return StatusRange(first, last)
  }

  @Sendable private static func written(_ range: StatusRange) -> String {
    range.first == range.last ? "\(range.first)" : "\(range.first)-\(range.last)"
  }
}
