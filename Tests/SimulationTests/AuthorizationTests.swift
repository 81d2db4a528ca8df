// Asking an authorization service, through a whole worker: that every handshake, exchange and
// connection is given back whatever becomes of the question.

import Bytes
import Configuration
import Support
import Telemetry
import Testing

@testable import Gateway

@Suite("Authorization through a worker")
struct AuthorizationTests {
  /// The route's service is the second remote.
  private func rig(_ edit: (inout AuthorizeSettings) -> Void = { _ in }) -> Rig {
    var authorize = AuthorizeSettings(address: HostPort(.v4(0x0a00_0064), port: 3_000))
    authorize.copy = ["X-User"]
    edit(&authorize)
    return Rig {
      $0.route.authorize = authorize
      $0.hasService = true
    }
  }

  private func service(_ rig: Rig, answering text: String) -> BackendList {
    rig.backends(1) { $0.peer.send(text) }
  }

  private static let granted = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-User: ann\r\n\r\n"
  private static let refused = "HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno"
  private static let plain = "GET /x HTTP/1.1\r\nHost: gateway.example\r\nX-User: root\r\n\r\n"

  private func finish(_ rig: Rig, _ ends: [End]) {
    for end in ends where !end.isGone { end.peer.finish() }
    rig.post(.drain(.drain))
    rig.run(.seconds(40))
    rig.expectClean()
  }

  @Test("a handshake that is let through is bridged, with the field of the service")
  func letThrough() {
    let rig = rig()
    _ = service(rig, answering: Self.granted)
    let backends = rig.backends()
    let client = rig.connect()
    rig.run(atMost: .seconds(5)) { client.status != nil }
    #expect(client.status == 101)
    #expect(backends.ends[0].field("X-User") == "ann")
    let handshakes = rig.worker.handshakesInFlight
    #expect(handshakes == 0)
    finish(rig, [client] + backends.ends)
  }

  @Test("a refusal is the client's answer, and nobody dials the backend")
  func refusal() {
    let rig = rig()
    _ = service(rig, answering: Self.refused)
    let clients = [rig.connect(), rig.connect(sending: Self.plain)]
    rig.run(atMost: .seconds(5)) { clients.allSatisfy { $0.body.count == 2 } }
    #expect(clients.map(\.status) == [401, 401])
    #expect(rig.count(.authorizationRefusals) == 2)
    #expect(rig.remotes[0].attempts == 0)
    let handshakes = rig.worker.handshakesInFlight
    #expect(handshakes == 0)
    finish(rig, clients)
  }

  @Test(
    "a service without a verdict: 503, or passed without a field",
    arguments: [AuthorizeSettings.OnFailure.refuse, .allow],
    ["", "HTTP/1.1 500 X\r\n\r\n", "x\r\n"])
  func noVerdict(_ onFailure: AuthorizeSettings.OnFailure, _ answer: String) {
    let rig = rig { $0.onFailure = onFailure }
    let services = service(rig, answering: answer)
    let backends = rig.backends()
    let client = rig.connect()
    let start = rig.simulation.now
    rig.run(atMost: .seconds(10)) { client.status != nil }
    #expect(client.status == (onFailure == .allow ? 101 : 503))
    #expect(backends.ends.allSatisfy { $0.field("X-User") == nil })
    #expect(rig.count(.authorizationFailures) == 1)
    #expect(rig.simulation.now - start < .milliseconds(5_200))
    rig.run(.milliseconds(10))
    #expect(services.ends.allSatisfy { $0.isGone }, "nothing is kept of what may still be answered")
    let handshakes = rig.worker.handshakesInFlight
    #expect(handshakes == 0)
    finish(rig, [client] + backends.ends)
  }

  @Test("a client that has gone before the verdict leaves nothing", arguments: [true, false])
  func gone(isHandshake: Bool) {
    let rig = rig()
    let services = service(rig, answering: "")
    let client = rig.connect(sending: isHandshake ? Rig.request : Self.plain)
    rig.run(.milliseconds(100))
    #expect(services.ends.count == 1)
    client.peer.reset()
    rig.run(.seconds(1))
    let exchanges = rig.worker.exchanges.count
    #expect(exchanges == 0)
    #expect(rig.remotes[0].attempts == 0)
    finish(rig, [])
  }

  // MARK: Any way

  private static let answers = [
    granted, granted, refused, "", "HTTP/1.1 200 OK\r\nX-User: a", "x\r\n\r\n",
    "HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 302 X\r\nLocation: /\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "HTTP/1.1 103 X\r\n\r\nHTTP/1.1 204 OK\r\n\r\n",
  ]
  private static let requests = [
    plain, plain + plain, Rig.request, Rig.request + plain,
    "POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\nsome",
    "HEAD /x HTTP/1.1\r\nHost: a.example\r\n\r\n",
  ]

  /// The service does something, and then perhaps ends the connection.
  private func answer(_ end: End, _ rig: Rig, _ random: inout SeededRandom) {
    let text = Self.answers.randomElement(using: &random) ?? ""
    let kind = Int.random(in: 0..<6, using: &random)
    rig.simulation.after(.milliseconds(Int64.random(in: 0...200, using: &random))) {
      end.peer.send(text)
      if kind == 0 { end.peer.finish() }
      if kind == 1 { end.peer.reset() }
    }
  }

  @Test(
    "whatever network, service, backend and clients do, everything is given back",
    arguments: UInt64(1)...150)
  func anyWay(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    var authorize = AuthorizeSettings(address: HostPort(.v4(0x0a00_0064), port: 3_000))
    authorize.onFailure = random.chance(50) ? .allow : .refuse
    authorize.timeout = .milliseconds(300)
    let rig = Rig {
      $0.seed = seed
      $0.machine = SimulationOptions()
      $0.route.authorize = authorize
      $0.hasService = true
      $0.limits.handshakes = 3
    }
    _ = rig.backends(1) { self.answer($0, rig, &random) }
    _ = rig.backends { end in
      if end.field("Upgrade") != nil { return end.accept() }
      end.peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    }
    if random.chance(20) { rig.remotes[1].behaviour = .hang }
    if random.chance(20) { rig.remotes[1].behaviour = .fail(.connectionRefused) }
    var clients: [End] = []
    for _ in 0..<8 {
      let client = rig.connect(sending: Self.requests.randomElement(using: &random) ?? "")
      clients.append(client)
      rig.run(.milliseconds(Int64.random(in: 0...100, using: &random)))
      if random.chance(30) { client.peer.reset() }
      if random.chance(20) { client.peer.finish() }
    }
    if random.chance(50) { rig.run(.seconds(1)) }
    for end in clients where !end.isGone { end.peer.finish() }
    rig.post(.drain(.drain))
    rig.run(.seconds(60))
    #expect(rig.isStopped, "seed \(seed)")
    let inUse = rig.worker.upstreams.flatMap(\.table.endpoints).reduce(0) { $0 + $1.inUse }
    #expect(inUse == 0, "seed \(seed)")
    rig.expectClean()
  }

  @Test("a kept verdict is good for its token and its time")
  func kept() throws {
    let rig = rig { $0.cache = AuthorizeCacheSettings(by: .header("authorization")) }
    let services = service(rig, answering: Self.granted)
    _ = rig.backends { $0.peer.send("HTTP/1.1 204 None\r\nConnection: close\r\n\r\n") }
    let request = "GET / HTTP/1.1\r\nHost: gateway.example\r\nAuthorization: x\r\n\r\n"
    var clients: [End] = []
    for _ in 0..<5 {
      clients.append(rig.connect(sending: request))
      rig.run(.milliseconds(100))
      #expect(clients.last?.status == 204)
    }
    #expect(services.ends.count == 1 && rig.count(.authorizationsKept) == 4)
    let entries = rig.worker.verdicts.count
    #expect(entries == 1)
    rig.run(.seconds(10))
    clients.append(rig.connect(sending: request))
    rig.run(.milliseconds(100))
    #expect(rig.count(.authorizationsKept) == 4)
    finish(rig, clients)
  }
}
