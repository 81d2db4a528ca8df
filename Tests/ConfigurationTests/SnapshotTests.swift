// What settings come out of what is written. Wrong spellings are in Golden/.
import Bytes
import Configuration
import Testing

@testable import Configuration

@Suite struct SnapshotTests {
  static func config(route: String = "", top: String = "") -> String {
    """
    listeners: [{bind: "127.0.0.1:8080"}]
    upstreams: {one: {endpoints: ["127.0.0.1:3000"]}, two: {endpoints: ["127.0.0.1:3001"]}}
    routes:
      - upstream: two
    \(route.isEmpty ? "" : route.split(separator: "\n").map { "    \($0)\n" }.joined())
    \(top)
    """
  }

  static func route(_ text: String) throws -> RouteSettings {
    let snapshot = try #require(settings(config(route: text)))
    return try #require(snapshot.routes.first)
  }

  @Test("what is left out has the documented default")
  func defaults() throws {
    let snapshot = try #require(settings(Self.config()))
    let route = try #require(snapshot.routes.first)
    #expect(snapshot.workers == nil)
    #expect(snapshot.limits == Limits())
    #expect(snapshot.timeouts == Timeouts())
    #expect(snapshot.log == LogSettings())
    #expect(route.host == .any && route.path == .prefix("/"))
    #expect(route.origins == OriginPolicy(allowsSameOrigin: true, allowsMissing: true))
    #expect(route.webSocket == WebSocketSettings())
    #expect(route.timeouts == Timeouts())
    #expect(snapshot.listeners.first?.tls == nil)
    #expect(snapshot.listeners.first?.bind.description == "127.0.0.1:8080")
  }

  @Test("the access log is a stream, nothing, or a file whose path counts from the configuration")
  func accessLog() throws {
    let rows: [(String, LogSettings.Access)] = [
      ("stderr", .stderr), ("no", .off), ("/var/log/a", .file("/var/log/a")),
      ("./log/a", .file("log/a")), ("a.log", .file("a.log")),
    ]
    for (text, access) in rows {
      let snapshot = try #require(settings(Self.config(top: "log: {access: \(text)}")))
      #expect(snapshot.log.access == access)
      #expect(snapshot.log.accessLocation.column == 15)
    }
  }

  @Test("services that routes ask are upstreams behind those of the file, one for each origin")
  func services() throws {
    let text = """
      listeners: [{bind: "127.0.0.1:8080"}]
      upstreams: {one: {endpoints: ["127.0.0.1:3000"]}}
      routes:
        - {path: /0, upstream: one, authorize: {url: "http://a.example/x"}}
        - {path: /1, upstream: one, authorize: {url: "http://a.example:80/y?z"}}
        - {path: /2, upstream: one, authorize: {url: "https://A.example"}}
        - {path: /3, upstream: one, authorize: {url: "https://a.example", ca: a.pem}}
        - {path: /4, upstream: one, authorize: {url: "http://[::1]?x"}}
      """
    let snapshot = try #require(settings(text))
    #expect(
      snapshot.upstreams.map(\.name) == [
        "one", "http://a.example:80", "https://a.example:443", "https://a.example:443 (a.pem)",
        "http://[::1]:80",
      ])
    #expect(snapshot.routes.map { $0.authorize?.upstream } == [1, 1, 2, 3, 4])
    #expect(snapshot.routes.map { $0.authorize?.url.target } == ["/x", "/y?z", "/", "/", "/?x"])
    #expect(snapshot.upstreams[2].tls?.verify == true && snapshot.upstreams[1].tls == nil)
  }

  @Test("the numbers of the defaults are those of the documentation")
  func numbers() {
    let limits = Limits()
    #expect(limits.requestHead == 32_768 && limits.requestLine == 8_192)
    #expect(limits.requestFields == 100 && limits.responseFields == 200)
    #expect(limits.responseHead == 65_536 && limits.handshakes == 1024)
    #expect(limits.pingBurst == 50 && limits.pingRate == 10)
    let seconds = Timeouts.keys.map { key -> String in
      guard case .scalar(let text) = key.show(Timeouts()) else { return "" }
      return "\(key.name) \(text)"
    }
    #expect(
      seconds == [
        "tls_handshake 10s", "request_head 10s", "keep_alive 75s", "upstream_keep_alive 4s",
        "drain 30s", "queue 5s", "connect 5s", "request_body 1m", "upgrade 15s", "response 2m",
        "response_idle 1h", "write_stall 1m", "close 5s", "tunnel_idle 1h",
      ])
    #expect(WebSocketSettings().maxMessage == 16 << 20)
  }

  @Test("the numbers of HTTP/2 are those of the documentation")
  func http2Numbers() {
    let limits = Limits.http2Keys.map { key -> String in
      guard case .scalar(let text) = key.show(Limits()) else { return "" }
      return "\(key.name) \(text)"
    }
    #expect(
      limits == [
        "http2_streams 100", "http2_stream_window 64KiB", "http2_connection_window 1MiB",
        "http2_header_list 32KiB", "http2_continuations 8", "http2_resets_burst 200",
        "http2_resets_rate 20", "http2_own_resets_burst 100", "http2_own_resets_rate 10",
        "http2_control_frames 1000", "http2_settings_entries 32",
      ])
  }

  @Test(
    "a listener speaks HTTP/2 and HTTP/1.1 under TLS, HTTP/1.1 without, unless it says otherwise",
    arguments: [
      ("tls: {certificates: [{certificate: a, key: b}]}", [.h2, .http11]),
      ("backlog: 1", [.http11]), ("protocols: [h2]", [.h2]),
      ("protocols: [http/1.1, h2]", [.http11, .h2]),
      ("tls: {certificates: [{certificate: a, key: b}]}, protocols: [http/1.1]", [.http11]),
    ] as [(String, [ListenerSettings.ApplicationProtocol])])
  func protocols(text: String, expected: [ListenerSettings.ApplicationProtocol]) throws {
    let config = Self.config().replacing(":8080\"}", with: ":8080\", \(text)}")
    #expect(try #require(settings(config)).listeners.first?.protocols == expected)
  }

  @Test("two listeners may each ask for any free port")
  func freePorts() {
    let two = "127.0.0.1:0\"}, {bind: \"127.0.0.1:0\"}"
    #expect(mistakes(Self.config().replacing("127.0.0.1:8080\"}", with: two)) == [])
  }

  @Test("what could be read is there for further checks, although there are mistakes")
  func readable() throws {
    let text = Self.config(top: "workers: many").replacing(":8080\"}", with: ":8080\"}, {bind: no}")
    guard case .failure(let mistakes, let readable) = World(["main.yaml": text]).load() else {
      Issue.record("there are no mistakes")
      return
    }
    #expect(mistakes.count == 2)
    let snapshot = try #require(readable)
    #expect(snapshot.listeners.map(\.bind.description) == ["127.0.0.1:8080", "unix:"])
    #expect(snapshot.upstreams.map(\.name) == ["one", "two"])
  }

  @Test("a route knows its upstream by index and by name")
  func upstream() throws {
    let snapshot = try #require(settings(Self.config()))
    #expect(snapshot.routes.first?.upstream == 1)
    #expect(snapshot.routes.first?.upstreamName == "two")
    #expect(snapshot.upstreams.map(\.name) == ["one", "two"])
  }

  @Test("a route's own timeouts lie on top of the global ones, wherever those are written")
  func timeouts() throws {
    let text = Self.config(
      route: "timeouts: {connect: 1s}", top: "timeouts: {connect: 2s, close: 3s}")
    let snapshot = try #require(settings(text))
    let route = try #require(snapshot.routes.first)
    #expect(snapshot.timeouts.connect == .seconds(2))
    #expect(route.timeouts.connect == .seconds(1))
    #expect(route.timeouts.close == .seconds(3))
    #expect(route.timeouts.upgrade == .seconds(15))
  }

  @Test(
    "an origins section refuses a missing Origin unless it says otherwise",
    arguments: [
      ("origins: {}", true, false), ("origins: {allow: [same-origin]}", true, false),
      ("origins: {missing: allow}", true, true),
      ("origins: {allow: [any], missing: refuse}", false, false),
      ("origins: {allow: [\"https://a.example\"]}", false, false), ("origins:", true, false),
    ])
  func origins(text: String, sameOrigin: Bool, missing: Bool) throws {
    let origins = try Self.route(text).origins
    #expect(origins.allowsSameOrigin == sameOrigin)
    #expect(origins.allowsMissing == missing)
  }

  @Test(
    "a timeout is twice its interval unless it is written",
    arguments: [
      ("{interval: 2s}", 2000, 4000, 25000, 50000),
      ("{interval: 2s, timeout: 3s}", 2000, 3000, 25000, 50000),
      ("{upstream_interval: 250ms}", 25000, 50000, 250, 500),
      ("{interval: off, upstream_interval: false}", nil, 50000, nil, 50000),
    ] as [(String, Int64?, Int64, Int64?, Int64)])
  func keepAlive(
    text: String, interval: Int64?, timeout: Int64, upstream: Int64?, upstreamTimeout: Int64
  ) throws {
    let keepAlive = try Self.route("websocket: {keepalive: \(text)}").webSocket.keepAlive
    #expect(keepAlive.interval?.milliseconds == interval)
    #expect(keepAlive.timeout.milliseconds == timeout)
    #expect(keepAlive.upstreamInterval?.milliseconds == upstream)
    #expect(keepAlive.upstreamTimeout.milliseconds == upstreamTimeout)
  }

  @Test(
    "booleans are taken in every spelling of YAML 1.1",
    arguments: [
      ("true", true), ("True", true), ("yes", true), ("on", true), ("ON", true),
      ("\"true\"", true), ("false", false), ("no", false), ("off", false), ("FALSE", false),
    ])
  func booleans(text: String, value: Bool) throws {
    #expect(try Self.route("origins: {report_only: \(text)}").origins.reportOnly == value)
  }

  @Test(
    "sizes are bytes, KiB, MiB or GiB",
    arguments: [
      ("512", 512), ("64KiB", 65_536), ("1MiB", 1 << 20), ("1024GiB", 1 << 40), ("1", 1),
    ] as [(String, UInt64)])
  func sizes(text: String, bytes: UInt64) throws {
    #expect(try Self.route("websocket: {max_message: \(text)}").webSocket.maxMessage == bytes)
  }

  @Test(
    "a path is a prefix unless = stands before it",
    arguments: [
      ("/ws", PathPattern.prefix("/ws")), ("\"= /ws\"", .exact("/ws")), ("=/ws", .exact("/ws")),
      ("/", .prefix("/")), ("/a...b/..c/.d", .prefix("/a...b/..c/.d")),
    ])
  func paths(text: String, path: PathPattern) throws {
    #expect(try Self.route("path: \(text)").path == path)
  }

  @Test(
    "hosts are lower-cased and have one spelling",
    arguments: [
      ("Chat.Example.COM", HostPattern.exact("chat.example.com")),
      ("\"*.Example.com\"", .wildcard(suffix: "example.com")), ("\"*\"", .any),
      ("\"[2001:DB8:0:0::1]\"", .exact("[2001:db8::1]")), ("10.0.0.1", .exact("10.0.0.1")),
    ])
  func hosts(text: String, host: HostPattern) throws {
    #expect(try Self.route("host: \(text)").host == host)
  }

  @Test("paths of files count from the file they are written in")
  func certificates() throws {
    let world = World([
      "/etc/bascule/main.yaml": "include: [sites/a.yaml]\n",
      "/etc/bascule/sites/a.yaml": Self.config().replacing(
        "bind: \"127.0.0.1:8080\"",
        with: """
          bind: "127.0.0.1:8443", tls: {certificates: [{certificate: tls/a.pem, key: /keys/a.key}]}
          """),
    ])
    guard case .success(let snapshot) = world.load("/etc/bascule/main.yaml") else {
      Issue.record("\(world.outcome("/etc/bascule/main.yaml"))")
      return
    }
    let pair = snapshot.listeners.first?.tls?.certificates.first
    #expect(pair?.certificate == "/etc/bascule/sites/tls/a.pem")
    #expect(pair?.key == "/keys/a.key")
    #expect(pair?.location.file == "/etc/bascule/sites/a.yaml")
  }

  @Test("an upstream that no route uses is no mistake")
  func unused() { #expect(mistakes(Self.config()) == []) }

  @Test("two routes with one path and different hosts, or prefix and exact, are two routes")
  func similarRoutes() {
    let more = """
        - {upstream: one, host: a.example}
        - {upstream: one, host: "*.a.example"}
        - {upstream: one, path: "= /"}
      """
    #expect(mistakes(Self.config().trimmingSuffix(while: \.isWhitespace) + "\n" + more) == [])
  }
}

extension StringProtocol {
  func trimmingSuffix(while predicate: (Character) -> Bool) -> String {
    var text = String(self)
    while let last = text.last, predicate(last) { text.removeLast() }
    return text
  }
}
