// Arguments of the command line. Unknown words get one line that says what was meant, and status 64.

import Bytes

/// What the command line asks for.
enum Arguments: Equatable {
  case run(config: String)
  case check(config: String, whileRunning: Bool)
  case demo(http: UInt16, https: UInt16)
  case echo(port: UInt16)
  case reference(asSchema: Bool)
  case health(AdminTarget)
  case reload(AdminTarget)
  case drain(AdminTarget, percent: Int?)
  case top(AdminTarget)
  case version
  case help(String?)

  static let defaultConfig = "/etc/bascule/bascule.yaml"
  static let commands = [
    "run", "check", "demo", "echo", "reference", "health", "reload", "drain", "top",
  ]

  struct Mistake: Error {
    var text: String
  }

  static func parse(_ words: [String]) throws(Mistake) -> Arguments {
    guard let command = words.first else { return .help(nil) }
    let rest = Array(words.dropFirst())
    if rest.contains("--help") || rest.contains("-h") { return .help(command) }
    switch command {
    case "--help", "-h", "help": return .help(rest.first)
    case "--version", "-V", "version": return .version
    case "run": return .run(config: try config(command, rest))
    case "check":
      let others = rest.filter { $0 != "--running" }
      return .check(
        config: try config(command, others, switches: ["--running"]),
        whileRunning: others.count < rest.count)
    case "demo":
      let values = try options(command, rest, ["--http": "8080", "--https": "8443"])
      let http = try port("--http", values["--http"])
      let https = try port("--https", values["--https"])
      guard http != https || http == 0 else {
        throw Mistake(text: "--http and --https need a port each, not both \(http)")
      }
      return .demo(http: http, https: https)
    case "echo":
      return .echo(
        port: try port("--port", try options(command, rest, ["--port": "9000"])["--port"]))
    case "reference":
      let others = rest.filter { $0 != "--schema" }
      _ = try options(command, others, [:], switches: ["--schema"])
      return .reference(asSchema: others.count < rest.count)
    case "health": return .health(try admin(command, rest).target)
    case "reload": return .reload(try admin(command, rest).target)
    case "top": return .top(try admin(command, rest).target)
    case "drain":
      let found = try admin(command, rest, more: ["--percent": ""])
      return .drain(found.target, percent: try percent(found.values["--percent"]))
    default: throw unknown("command", command, commands + ["--help", "--version"])
    }
  }

  private static func config(
    _ command: String, _ words: [String], switches: [String] = []
  ) throws(Mistake) -> String {
    let values = try options(command, words, ["--config": defaultConfig], switches: switches)
    return values["--config"] ?? defaultConfig
  }

  /// Which gateway is meant, and the other flags. Without one of the two flags it is the configuration's.
  private static func admin(
    _ command: String, _ words: [String], more: [String: String] = [:]
  ) throws(Mistake) -> (target: AdminTarget, values: [String: String]) {
    let defaults = more.merging(["--config": "", "--admin": ""]) { $1 }
    let values = try options(command, words, defaults)
    let config = values["--config"] ?? ""
    let address = values["--admin"] ?? ""
    if !address.isEmpty, !config.isEmpty {
      throw Mistake(text: "--config and --admin say the same thing twice: leave one out")
    }
    if !address.isEmpty {
      guard let address = EndpointAddress(parsing: address) else {
        throw Mistake(text: "--admin needs HOST:PORT or unix:/PATH, not \"\(address)\"")
      }
      return (.address(address), values)
    }
    return (.config(config.isEmpty ? defaultConfig : config), values)
  }

  private static func percent(_ text: String?) throws(Mistake) -> Int? {
    guard let text, !text.isEmpty else { return nil }
    guard let percent = Int(text), 1...100 ~= percent else {
      throw Mistake(text: "--percent needs a number from 1 to 100, not \"\(text)\"")
    }
    return percent
  }

  /// `--name VALUE` and `--name=VALUE`, over the defaults. `switches` have been taken out before, and
  /// are only offered to whoever mistypes one.
  private static func options(
    _ command: String, _ words: [String], _ defaults: [String: String], switches: [String] = []
  ) throws(Mistake) -> [String: String] {
    var values = defaults
    var index = 0
    while index < words.count {
      let parts = words[index].split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      let name = String(parts[0])
      guard defaults[name] != nil else {
        throw unknown("flag of \(command)", name, defaults.keys.sorted() + switches + ["--help"])
      }
      if parts.count == 2 {
        values[name] = String(parts[1])
      } else {
        index += 1
        guard index < words.count else { throw Mistake(text: "\(name) needs a value") }
        values[name] = words[index]
      }
      index += 1
    }
    return values
  }

  private static func port(_ name: String, _ text: String?) throws(Mistake) -> UInt16 {
    guard let text, let port = UInt16(text) else {
      throw Mistake(text: "\(name) needs a port from 0 to 65535, not \"\(text ?? "")\"")
    }
    return port
  }

  private static func unknown(_ kind: String, _ word: String, _ known: [String]) -> Mistake {
    let nearest = known.min { distance(word, $0) < distance(word, $1) }
    let isClose = nearest.map { distance(word, $0) <= max(2, word.count / 3) } ?? false
    let hint = isClose ? "did you mean \(nearest ?? "")?" : "try: \(known.joined(separator: ", "))"
    return Mistake(text: "unknown \(kind) \"\(word)\"; \(hint)")
  }

  /// Levenshtein's.
  private static func distance(_ a: String, _ b: String) -> Int {
    let a = Array(a)
    let b = Array(b)
    var row = Array(0...b.count)
    for i in a.indices {
      var corner = row[0]
      row[0] = i + 1
      for j in b.indices {
        let replaced = corner + (a[i] == b[j] ? 0 : 1)
        corner = row[j + 1]
        row[j + 1] = min(replaced, row[j] + 1, row[j + 1] + 1)
      }
    }
    return row[b.count]
  }
}
