// The command line of the load generator: what is driven, how hard, and for how long. Everything has
// a bound, so that a run ends whatever the proxy does.

import Bytes

struct Options {
  /// `echo` serves only; the others drive `target` and serve the echo backend beside it.
  enum Mode: String { case echo, message, open, idle }

  var mode = Mode.message
  /// Where the proxy listens.
  var target: SocketAddress?
  /// Where the echo backend listens.
  var backend: SocketAddress?
  var tls = false
  var host = "bench.example"
  var path = "/ws"
  var connections = 100
  /// WebSockets on each connection, as HTTP/2 streams; nil: HTTP/1.1, where a connection is one.
  var streams: Int?
  /// Payload bytes of a message.
  var size = 64
  /// Messages under way on each connection, 1...4.
  var inFlight = 1
  var warmUpSeconds = 1
  var seconds = 5
  /// Processes whose CPU time and memory are the figure.
  var watched: [Int32] = []

  /// WebSockets in all.
  var clients: Int { connections * (streams ?? 1) }

  static let usage = """
    bascule-load echo --backend ADDRESS
    bascule-load message|open|idle --target ADDRESS --backend ADDRESS [--tls] [--host NAME]
      [--path PATH] [--connections N] [--http2 STREAMS_PER_CONNECTION] [--size BYTES]
      [--in-flight 1...4] [--warm-up SECONDS] [--seconds SECONDS] [--watch PID,PID...]
    ADDRESS is host:port with a literal host. HTTP/2 is not for `open`. Prints one line of JSON.
    """

  init?(arguments: [String]) {
    guard let word = arguments.first, let mode = Mode(rawValue: word) else { return nil }
    self.mode = mode
    var rest = arguments.dropFirst()
    while let flag = rest.popFirst() {
      if flag == "--tls" {
        tls = true
        continue
      }
      guard let value = rest.popFirst(), take(flag, value) else { return nil }
    }
    if streams != nil, mode == .open { return nil }
    guard backend != nil || mode != .echo, target != nil || mode == .echo else { return nil }
  }

  private mutating func take(_ flag: String, _ value: String) -> Bool {
    switch flag {
    case "--target": return Self.set(&target, Self.address(value))
    case "--backend": return Self.set(&backend, Self.address(value))
    case "--host": host = value
    case "--path": path = value
    case "--connections": return Self.set(&connections, value, 1...9_000)
    case "--http2":
      var count = 0
      guard Self.set(&count, value, 1...1_000) else { return false }
      streams = count
    case "--size": return Self.set(&size, value, 0...(16 << 20))
    case "--in-flight": return Self.set(&inFlight, value, 1...4)
    case "--warm-up": return Self.set(&warmUpSeconds, value, 0...60)
    case "--seconds": return Self.set(&seconds, value, 1...600)
    case "--watch":
      watched = value.split(separator: ",").compactMap { Int32($0) }
      return !watched.isEmpty
    default: return false
    }
    return true
  }

  private static func set(_ field: inout SocketAddress?, _ value: SocketAddress?) -> Bool {
    field = value
    return value != nil
  }

  private static func set(_ field: inout Int, _ text: String, _ range: ClosedRange<Int>) -> Bool {
    guard let value = Int(text), range.contains(value) else { return false }
    field = value
    return true
  }

  private static func address(_ text: String) -> SocketAddress? {
    guard let parsed = HostPort(parsing: text), let literal = parsed.literal else { return nil }
    return .ip(literal, port: parsed.port)
  }
}
