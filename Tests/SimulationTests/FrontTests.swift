// Clients before they have a WebSocket: accepting and its limits, slow and idle connections, and the
// way a connection is let go.

import Bytes
import Kernel
import Support
import Testing

@testable import Gateway

@Suite("The front of a worker")
struct FrontTests {
  private func finish(_ rig: Rig, _ ends: [End]) {
    for end in ends { end.peer.finish() }
    rig.run(.seconds(6))
    rig.expectClean()
  }

  private static let plain = Rig.localRequest

  @Test("out of descriptors: clients are turned away without spinning, until there are some again")
  func noDescriptors() {
    let rig = Rig()
    let first = rig.connect(sending: Self.plain)
    rig.settle()
    #expect(first.status == 200)
    rig.simulation.descriptorLimit = rig.simulation.openDescriptors.count
    let second = rig.connect(sending: Self.plain)
    let turns = rig.turns
    rig.run(.seconds(10))
    #expect(second.status == nil && second.isGone)
    #expect(rig.count(.connectionsTurnedAway) == 1)
    #expect(rig.turns - turns < 200)
    #expect(rig.count(.acceptFailures) >= 1)
    #expect(first.peer.hasEnded == false)
    rig.simulation.descriptorLimit = 1 << 20
    let third = rig.connect(sending: Self.plain)
    rig.run(.milliseconds(500))
    #expect(third.status == 200)
    finish(rig, [first, second, third])
  }

  @Test("out of descriptors for a backend: 503")
  func noDescriptorForTheBackend() {
    let rig = Rig()
    let client = rig.connect(sending: "")
    rig.settle()
    rig.simulation.descriptorLimit = rig.simulation.openDescriptors.count
    client.peer.send(Rig.request)
    rig.settle()
    #expect(client.status == 503)
    finish(rig, [client])
  }

  @Test("at the limit of connections arrivals wait, and get in when one has left")
  func full() {
    let rig = Rig { $0.connections = 3 }
    let clients = (0..<4).map { _ in rig.connect(sending: Self.plain) }
    rig.run(.seconds(1))
    #expect(clients.compactMap(\.status).count == 3)
    let waiting = clients.first { $0.status == nil }
    clients.first { $0.status != nil }?.peer.finish()
    rig.run(.seconds(1))
    #expect(waiting?.status == 200)
    finish(rig, clients)
  }

  @Test("connections of one address are limited, and given back")
  func perAddress() {
    let rig = Rig { $0.limits.perAddress = 2 }
    let clients = (0..<3).map { _ in rig.connect(sending: Self.plain) }
    let other = End(
      rig.simulation.connect(to: Rig.front, from: .v4(0x0a00_0009)), isClient: true)
    other.peer.send(Self.plain)
    rig.settle()
    #expect(clients.compactMap(\.status).count == 2)
    #expect(clients.filter(\.isGone).count == 1)
    #expect(other.status == 200)
    for client in clients { client.peer.finish() }
    rig.settle()
    let next = rig.connect(sending: Self.plain)
    rig.settle()
    #expect(next.status == 200)
    finish(rig, [other, next])
  }

  @Test("a head that takes longer than 10 seconds is answered 408, however it drips")
  func slowHead() {
    let rig = Rig()
    let client = rig.connect(sending: "GET / HTTP/1.1\r\nHost: a\r\n")
    for _ in 0..<9 {
      rig.run(.seconds(1))
      client.peer.send("X-A: b\r\n")
    }
    #expect(client.status == nil && !client.isGone)
    rig.run(.milliseconds(1_100))
    #expect(client.status == 408)
    #expect(client.peer.hasEnded)
    #expect(rig.count(.requestsTooSlow) == 1)
    let line = rig.accessLines
    #expect(line.contains("head_too_slow") && line.contains(#""protocol":"http/1.1""#))
    #expect(line.contains(#""bytes":\#(client.body.count)"#))
    // What was not read is not told.
    for field in ["id", "host", "path", "method", "duration_ms"] {
      #expect(!line.contains("\"\(field)\""), "\(field)")
    }
    finish(rig, [client])
  }

  @Test("a connection on which nothing comes is closed after 10 seconds without a word")
  func nothing() {
    let rig = Rig()
    let client = rig.connect(sending: "")
    rig.run(.milliseconds(9_900))
    #expect(!client.isGone)
    rig.run(.milliseconds(200))
    #expect(client.peer.hasEnded && client.head.isEmpty && client.body.isEmpty)
    rig.run(.milliseconds(10))
    finish(rig, [])
  }

  @Test("an idle connection is closed after 75 seconds")
  func idle() {
    let rig = Rig()
    let client = rig.connect(sending: Self.plain)
    rig.run(.milliseconds(74_900))
    #expect(client.status == 200 && !client.isGone)
    rig.run(.milliseconds(200))
    #expect(client.peer.hasEnded)
    finish(rig, [])
  }

  @Test(
    "a slow reader's connection has its time-outs again when the answer has gone",
    arguments: [true, false])
  func timeoutsAfterAStall(sendsHalfAHead: Bool) {
    let rig = Rig { $0.machine.bufferBytes = 64...64 }
    let client = rig.connect(sending: Self.plain)
    client.peer.isReading = false
    rig.run(.seconds(1))
    #expect(rig.metrics.value(.outputWaiting) > 0)
    if sendsHalfAHead { client.peer.send("GET / HT") }
    rig.run(.seconds(1))
    client.peer.isReading = true
    rig.run(.seconds(5))
    #expect(rig.metrics.value(.outputWaiting) == 0)
    #expect(client.status == 200 && !client.isGone)
    rig.run(.seconds(sendsHalfAHead ? 12 : 80))
    #expect(client.isGone)
    finish(rig, [client])
  }

  @Test(
    "a client that sends requests and reads no answers costs a bounded amount, and then its place")
  func unreadAnswers() {
    let rig = Rig { $0.machine.bufferBytes = 4_096...4_096 }
    let client = rig.connect(sending: String(repeating: Self.plain, count: 20_000))
    client.peer.isReading = false
    rig.run(.seconds(5))
    #expect(client.peer.unsent > 400_000)
    var waiting = 0
    for index in 0..<rig.worker.connections.indexLimit {
      if let id = rig.worker.connections.id(at: index) {
        waiting += rig.worker.connections[id].output.count + rig.worker.connections[id].input.count
      }
    }
    #expect(waiting <= 200_000)
    rig.run(.seconds(60))
    #expect(client.isGone || client.peer.wasReset)
    #expect(rig.count(.writeStalls) == 1)
    rig.expectClean()
  }

  @Test("answers that were stuck are followed by the rest of them")
  func readAnswersLate() {
    let rig = Rig { $0.machine.bufferBytes = 4_096...4_096 }
    let client = rig.connect(sending: String(repeating: Self.plain, count: 5_000))
    client.peer.isReading = false
    rig.run(.seconds(5))
    client.peer.isReading = true
    rig.run(.seconds(5))
    #expect(rig.count(.requests) == 5_000)
    #expect(client.answers(200) == 5_000)
    finish(rig, [client])
  }

  @Test("requests in one packet are answered one by one")
  func pipelined() {
    let rig = Rig()
    let client = rig.connect(sending: Self.plain + Self.plain)
    rig.settle()
    #expect(rig.count(.requests) == 2)
    #expect(client.answers(200) == 2)
    finish(rig, [client])
  }

  @Test("a refused request is read on until the peer's FIN, so that its answer is not lost")
  func lingering() {
    let rig = Rig()
    let client = rig.connect(
      sending: "POST / HTTP/1.1\r\nHost: local.example\r\nContent-Length: 100000\r\n\r\n")
    rig.settle()
    #expect(client.status == 200 && client.field("Connection") == "close")
    client.peer.send(Array(repeating: 97, count: 100_000))
    rig.settle()
    #expect(client.peer.hasEnded && !client.peer.wasReset)
    client.peer.finish()
    rig.settle()
    rig.expectClean()
  }

  @Test("a peer that never stops sending is cut when its time is up")
  func lingersTooLong() {
    let rig = Rig()
    let greedy = rig.connect(sending: "BAD\r\n\r\n")
    let slow = rig.connect(sending: "BAD\r\n\r\n")
    rig.settle()
    greedy.peer.send(Array(repeating: 97, count: 2 << 20))
    rig.run(.seconds(1))
    #expect(greedy.status == 400 && slow.status == 400)
    #expect(!greedy.peer.wasReset && !slow.peer.wasReset)
    rig.run(.seconds(5))
    rig.expectClean()
  }

  private static let refusals: [(String, String, Int)] = [
    ("malformed", "BAD\r\n\r\n", 400),
    ("method", "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    ("line", "GET /" + String(repeating: "a", count: 9_000) + " HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    (
      "fields",
      "GET / HTTP/1.1\r\nHost: a\r\n" + String(repeating: "X: y\r\n", count: 100) + "\r\n", 431
    ),
    (
      "head",
      "GET / HTTP/1.1\r\nHost: a\r\n"
        + String(repeating: "X: " + String(repeating: "y", count: 1_000) + "\r\n", count: 40)
        + "\r\n", 431
    ),
    ("version", "GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
    (
      "origin", Rig.request.replacing("\r\n\r\n", with: "\r\nOrigin: http://evil.example\r\n\r\n"),
      403
    ),
    ("websocket version", Rig.request.replacing("Version: 13", with: "Version: 8"), 426),
    ("key", Rig.request.replacing("dGhl", with: "dGh"), 400),
  ]

  @Test("what is refused never costs a connection to a backend", arguments: refusals)
  func refused(_ name: String, _ request: String, _ status: Int) {
    let rig = Rig()
    let client = rig.connect(sending: request)
    rig.settle()
    #expect(client.status == status, "\(name)")
    #expect(rig.remote.attempts == 0)
    finish(rig, [client])
  }
}
