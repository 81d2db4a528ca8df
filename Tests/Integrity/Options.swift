// The command line. Everything has a bound, so that a run ends whatever the gateway does.

struct Options {
  var sockets = 100
  /// Over all sockets and both directions.
  var messages = 20_000
  var seed: UInt64
  var seconds = 120
  var tls = false
  /// The part of the sockets that are HTTP/2 streams, 0...1.
  var http2 = 0.0

  static let usage = """
    bascule-integrity [--sockets 1...9000] [--messages N] [--seed N] [--seconds N] [--tls]
      [--http2 FRACTION]
    Prints the address of its backend, reads that of the gateway from standard input.
    """

  init?(arguments: [String], seed: UInt64) {
    self.seed = seed
    var rest = arguments[...]
    while let flag = rest.popFirst() {
      if flag == "--tls" {
        tls = true
        continue
      }
      guard let text = rest.popFirst() else { return nil }
      if flag == "--http2", let value = Double(text), (0...1).contains(value) {
        http2 = value
        continue
      }
      guard let value = UInt64(text), take(flag, value) else { return nil }
    }
    // As many in either direction.
    messages -= messages % 2
  }

  private mutating func take(_ flag: String, _ value: UInt64) -> Bool {
    switch (flag, value) {
    case ("--seed", _): seed = value
    case ("--sockets", 1...9_000): sockets = Int(value)
    case ("--messages", 1...1_000_000_000): messages = Int(value)
    case ("--seconds", 1...86_400): seconds = Int(value)
    default: return false
    }
    return true
  }
}
