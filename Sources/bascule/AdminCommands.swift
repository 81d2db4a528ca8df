// The commands that talk to a running gateway through its admin listener: `health`, `reload`, `drain`
// and `top`. 0 fine, 1 the gateway says no or nothing.

import Bytes
import Configuration
import Gateway
import Kernel

/// Where the gateway is: as its configuration says, or as the command line does.
enum AdminTarget: Equatable {
  case config(String)
  /// The token comes from `BASCULE_ADMIN_TOKEN`: a command line can be read by everybody.
  case address(EndpointAddress)
}

enum AdminCommands {
  static let failed: Int32 = 1

  /// For a HEALTHCHECK: quick, and quiet unless something is wrong.
  static func health(_ target: AdminTarget) -> Int32 {
    told(target) { (client) throws(AdminFailure) in
      let reply = try client.ask("GET", "/healthz")
      guard reply.status == 200 else { throw refused(reply) }
    }
  }

  static func reload(_ target: AdminTarget) -> Int32 {
    told(target) { (client) throws(AdminFailure) in
      let reply = try client.ask("POST", "/reload", patience: .seconds(60))
      // Every mistake is of interest.
      if reply.status == 422 {
        throw AdminFailure(
          text: reply.body.last == "\n" ? String(reply.body.dropLast()) : reply.body)
      }
      guard reply.status < 300 else { throw refused(reply) }
      Command.tell(trimmed(reply.body))
    }
  }

  static func drain(_ target: AdminTarget, percent: Int?) -> Int32 {
    told(target) { (client) throws(AdminFailure) in
      let path = "/drain" + (percent.map { "?percent=\($0)" } ?? "")
      let reply = try client.ask("POST", path)
      guard reply.status < 300 else { throw refused(reply) }
      Command.tell(trimmed(reply.body))
    }
  }

  static func top(_ target: AdminTarget) -> Int32 {
    told(target) { (client) throws(AdminFailure) in
      let samples = try samples(client)
      guard let terminal = Terminal() else { return try snapshot(client, samples) }
      Command.write("\u{1b}[?1049h\u{1b}[?25l", to: StandardStreams.output)
      var failure: AdminFailure?
      do throws(AdminFailure) {
        try run(client, terminal, samples)
      } catch {
        failure = error
      }
      Command.write("\u{1b}[?25h\u{1b}[?1049l", to: StandardStreams.output)
      terminal.restore()
      if let failure { throw failure }
    }
  }

  // MARK: Top

  private static let interval = TimeSpan.seconds(1)

  private static func samples(_ client: AdminClient) throws(AdminFailure) -> MetricSamples {
    let reply = try client.ask("GET", "/metrics")
    guard reply.status == 200 else { throw refused(reply) }
    return MetricSamples(reply.body)
  }

  /// Where nothing can be redrawn: one second, told once.
  private static func snapshot(
    _ client: AdminClient, _ first: MetricSamples
  ) throws(AdminFailure) {
    Pause.sleep(interval)
    let screen = TopScreen(try samples(client), previous: first, seconds: 1)
    Command.tell(screen.lines.joined(separator: "\n"))
  }

  private static func run(
    _ client: AdminClient, _ terminal: Terminal, _ first: MetricSamples
  ) throws(AdminFailure) {
    var previous: MetricSamples?
    var current = first
    while true {
      let screen = TopScreen(current, previous: previous, seconds: 1)
      let lines = screen.lines(atMost: terminal.rows - 2) + ["", "q ends"]
      let text = lines.map { $0 + "\u{1b}[K" }.joined(separator: "\r\n")
      Command.write("\u{1b}[H\(text)\u{1b}[J", to: StandardStreams.output)
      switch terminal.key(within: interval) {
      case nil: break
      // The end of the input, Ctrl-C and Ctrl-D.
      case 0, 3, 4, UInt8(ascii: "q"), UInt8(ascii: "Q"): return
      default: continue
      }
      previous = current
      current = try samples(client)
    }
  }

  // MARK: The listener

  private static func told(
    _ target: AdminTarget, _ body: (AdminClient) throws(AdminFailure) -> Void
  ) -> Int32 {
    do throws(AdminFailure) {
      try body(try client(target))
      return 0
    } catch {
      Command.complain("bascule: \(error.text)")
      return failed
    }
  }

  private static func client(_ target: AdminTarget) throws(AdminFailure) -> AdminClient {
    switch target {
    case .address(let address):
      return AdminClient(address, token: Environment.value("BASCULE_ADMIN_TOKEN"))
    case .config(let file):
      let snapshot: Snapshot
      switch Command.load(file).result {
      case .success(let whole): snapshot = whole
      // Mistakes elsewhere are what the gateway will say.
      case .failure(_, let readable?): snapshot = readable
      case .failure(let mistakes, nil):
        let first = mistakes.first?.description ?? file
        throw AdminFailure(
          text: "cannot read where the admin listener is, which --admin can say: \(first)")
      }
      guard let admin = snapshot.admin else {
        throw AdminFailure(
          text: "\(file) has no admin section, such as `admin: {bind: 127.0.0.1:9900}`")
      }
      return AdminClient(admin.bind, token: admin.token)
    }
  }

  private static func refused(_ reply: AdminReply) -> AdminFailure {
    if reply.status == 401 {
      return AdminFailure(
        text: "the admin listener needs its token: set BASCULE_ADMIN_TOKEN, or name the"
          + " configuration that has it with --config")
    }
    return AdminFailure(text: "the gateway refuses: \(trimmed(reply.body))")
  }

  private static func trimmed(_ text: String) -> String {
    String(text.prefix { $0 != "\n" })
  }
}
