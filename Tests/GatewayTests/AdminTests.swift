import Bytes
import Configuration
import Testing

@testable import Gateway

@Suite("The admin listener's protection")
struct AdminProtectionTests {
  private func protection(
    bound: SocketAddress = .ip(.v4(0x7f00_0001), port: 9_900), token: String? = nil,
    hosts: [String] = []
  ) -> AdminProtection {
    var settings = AdminSettings(bind: .unix("/run/unused"))
    settings.token = token
    settings.hosts = hosts
    return AdminProtection(settings, bound: bound)
  }

  @Test("on every address of the machine literal addresses will do, and names will not")
  func everywhere() {
    let everywhere = protection(bound: .ip(.v4(0), port: 9_900), hosts: ["gateway.internal"])
    for host in ["10.1.2.3:9900", "[2001:db8::1]", "localhost", "gateway.internal:80"] {
      #expect(everywhere.refusal(request(host: host), .read) == nil, "\(host)")
    }
    #expect(everywhere.refusal(request(host: "evil.example"), .read) == .host)
    #expect(protection().refusal(request(host: "10.1.2.3:9900"), .read) == .host)
  }

  @Test("two Origins are as bad as a wrong one")
  func origins() {
    let own = "Origin: http://localhost:9900"
    let host = "localhost:9900"
    #expect(protection().refusal(request([own], host: host), .read) == nil)
    #expect(protection().refusal(request([own, own], host: host), .read) == .origin)
    #expect(protection().refusal(request(["Origin: null"], host: host), .open) == .origin)
  }

  @Test("a browser that tells of a page of another site changes nothing")
  func sites() {
    for (site, refusal) in [
      ("cross-site", AdminRefusal.origin), ("Same-Site", .origin), ("same-origin", nil),
      ("none", nil),
    ] {
      let head = request(["Sec-Fetch-Site: \(site)", "X-Bascule: 1"], host: "localhost")
      #expect(protection().refusal(head, .change) == refusal, "\(site)")
      #expect(protection().refusal(head, .read) == nil, "\(site)")
    }
  }

  @Test("a token is one field, whole, and nothing for probes")
  func token() {
    let guarded = protection(token: "0123456789abcdef")
    let right = "Authorization: Bearer 0123456789abcdef"
    #expect(guarded.refusal(request(host: "localhost"), .open) == nil)
    #expect(guarded.refusal(request(host: "localhost"), .read) == .token)
    #expect(guarded.refusal(request([right], host: "localhost"), .read) == nil)
    #expect(guarded.refusal(request([right, right], host: "localhost"), .read) == .token)
    for wrong in ["Bearer", "Bearer ", "Bearer 0123456789abcde", "0123456789abcdef"] {
      let head = request(["Authorization: \(wrong)"], host: "localhost")
      #expect(guarded.refusal(head, .read) == .token)
    }
    #expect(guarded.refusal(request([right], host: "localhost"), .change) == .field)
    #expect(guarded.refusal(request([right, "x-bascule: 1"], host: "localhost"), .change) == nil)
  }
}

@Suite("What the admin listener is asked")
struct AdminQueryTests {
  private func query(_ text: String) -> AdminQuery? {
    AdminQuery(Array(text.utf8)[...], known: ["a", "b"])
  }

  @Test("values are decoded, and what cannot be is refused")
  func decoding() {
    #expect(query("a=%2Fx%20y+z&b=")?["a"] == "/x y z")
    #expect(query("a=%2Fx&b=")?["b"] == "")
    #expect(query("")?["a"] == nil)
    for text in ["a=%", "a=%2", "a=%2x", "a", "a=1&a=2", "c=1", "%zz=1"] {
      #expect(query(text) == nil, "\(text)")
    }
  }

  @Test("a cursor is what it was written as")
  func cursors() {
    #expect(ConnectionCursor("3.77") == ConnectionCursor(worker: 3, slot: 77))
    #expect(ConnectionCursor(worker: 3, slot: 77).text == "3.77")
    for text in ["", "3", "3.", ".7", "-1.0", "1.2.3", "1.+2", "9999999999999999999999.0"] {
      #expect(ConnectionCursor(text) == nil, "\(text)")
    }
  }
}

@Suite("bascule top")
struct TopScreenTests {
  private func metrics(messages: Int) -> MetricSamples {
    MetricSamples(
      """
      # HELP bascule_bridges_open X.
      bascule_bridges_open 7
      bascule_messages_total{direction="from_client",opcode="text"} \(messages)
      bascule_messages_total{direction="from_client",opcode="binary"} 1
      bascule_route_requests_total{route="*/a"} \(messages)
      bascule_route_websockets_open{route="*/a"} 5
      bascule_endpoint_in_use{upstream="u",endpoint="10.0.0.1:80"} 4
      bascule_endpoint_state{upstream="u",endpoint="10.0.0.1:80",state="up"} 0
      bascule_endpoint_state{upstream="u",endpoint="10.0.0.1:80",state="ejected"} 1
      bascule_ping_round_trip_seconds_bucket{peer="client",le="0.001"} 0
      bascule_ping_round_trip_seconds_bucket{peer="client",le="0.025"} 9
      bascule_ping_round_trip_seconds_bucket{peer="client",le="+Inf"} 10
      broken
      bascule_broken x
      """)
  }

  @Test("rates are what happened between two readings")
  func rates() {
    let lines = TopScreen(metrics(messages: 300), previous: metrics(messages: 100), seconds: 2)
      .lines.joined(separator: "\n")
    #expect(lines.contains("7 bridged"))
    #expect(lines.contains("100/s from clients"))
    #expect(lines.contains("half within 25 ms, 95 % within more than a minute"))
    #expect(lines.contains("*/a       5         100"))
    #expect(lines.contains("u 10.0.0.1:80  ejected"))
  }

  @Test("without a reading before there are none, and without any metrics nothing breaks")
  func beginning() {
    #expect(
      TopScreen(metrics(messages: 1), previous: nil, seconds: 0).lines
        .contains { $0.contains("-/s from clients") })
    #expect(!TopScreen(MetricSamples(""), previous: nil, seconds: 0).lines.isEmpty)
  }

  private func screen(routes: Int, endpoints: Int) -> TopScreen {
    let samples =
      (0..<routes).map { "bascule_route_requests_total{route=\"*/\($0)\"} 1" }
      + (0..<endpoints).map {
        "bascule_endpoint_in_use{upstream=\"u\",endpoint=\"10.0.0.1:\($0)\"} 1"
      }
    return TopScreen(
      MetricSamples(samples.joined(separator: "\n")), previous: nil, seconds: 1)
  }

  @Test(
    "on a small terminal each table keeps its titles and some rows",
    arguments: [(40, 40), (40, 1), (1, 40), (3, 3), (0, 0)])
  func small(routes: Int, endpoints: Int) throws {
    let screen = screen(routes: routes, endpoints: endpoints)
    for rows in 15...22 {
      let lines = screen.lines(atMost: rows)
      #expect(lines.count == min(rows, screen.lines.count))
      let titles = try #require(lines.firstIndex { $0.hasPrefix("ENDPOINT") })
      let above = lines[..<titles].filter { $0.hasPrefix("*/") }.count
      let below = lines[titles...].filter { $0.hasPrefix("u ") }.count
      #expect(above >= min(routes, 1) && below >= min(endpoints, 1))
      let told = lines.compactMap { $0.hasPrefix("… ") ? Int($0.split(separator: " ")[1]) : nil }
      // Where there is room for it, what is left out is told.
      if rows > 16 { #expect(above + below + told.reduce(0, +) == routes + endpoints) }
    }
    #expect(screen.lines(atMost: -3).count == 1)
    #expect(screen.lines(atMost: 100) == screen.lines)
  }
}
