// What a run counts, and how it is printed.

struct Tally {
  /// By the side that sends.
  var bytes: InlineArray<2, Int> = [0, 0]
  var messages: InlineArray<2, Int> = [0, 0]
  /// Pairs whose client is an HTTP/2 stream, and the connections those were on.
  var streams = 0
  var carriers = 0
  var delivered = 0
  var frames = 0
  var segments = 0
  var pings = 0
  var pongs = 0
  var gatewayPings = 0
  /// Of those, the ones between the fragments of a message.
  var gatewayPingsInMessages = 0
  /// Answers to them: all but those that would follow a Close.
  var gatewayPongs = 0
  var closes = 0
  var milliseconds: Int64 = 0
  private(set) var violations = 0

  mutating func violated(_ what: String) {
    violations += 1
    if violations <= 20 { print("violation: \(what)") }
  }

  /// One line of JSON for run.py, then the verdict.
  func report(_ options: Options) {
    let fields: [(String, Int)] = [
      ("sockets", options.sockets), ("streams", streams), ("http2_connections", carriers),
      ("messages", messages[0] + messages[1]),
      ("client_messages", messages[0]), ("backend_messages", messages[1]),
      ("client_bytes", bytes[0]), ("backend_bytes", bytes[1]), ("frames", frames),
      ("segments", segments), ("foreign_pings", pings), ("foreign_pongs", pongs),
      ("gateway_pings", gatewayPings), ("gateway_pings_in_messages", gatewayPingsInMessages),
      ("gateway_pongs", gatewayPongs),
      ("closes", closes), ("milliseconds", Int(milliseconds)), ("violations", violations),
    ]
    let text = fields.map { "\"\($0)\": \($1)" }.joined(separator: ", ")
    print("{\"seed\": \(options.seed), \(text)}")
    let failed = violations + options.messages - delivered
    print("\(delivered) passed, \(failed) failed")
  }
}
