// Connections of a proxy, each of which begins with a PROXY header: whose they are, how they count, and
// how long the header may take.

import Bytes
import Support
import Testing

@testable import Gateway

@Suite("PROXY headers of a worker's clients")
struct ProxyHeaderTests {
  private static let plain = Rig.localRequest
  private static func line(_ host: Int) -> String {
    "PROXY TCP4 192.0.2.\(host) 198.51.100.1 4660 443\r\n"
  }

  private func rig(_ edit: (inout RigSettings) -> Void = { _ in }) -> Rig {
    Rig {
      $0.expectsProxyHeader = true
      $0.trusted = [AddressBlock(parsing: "10.0.0.1")].compactMap(\.self)
      edit(&$0)
    }
  }

  private func finish(_ rig: Rig, _ ends: [End]) {
    for end in ends { end.peer.finish() }
    rig.run(.seconds(6))
    rig.expectClean()
  }

  @Test("a header in any pieces is taken off, and the request behind it served")
  func pieces() {
    let rig = rig()
    let header = Array(Self.line(7).utf8)
    var ends: [End] = []
    for offset in 0...header.count {
      let client = rig.connect(sending: "")
      client.peer.send(String(decoding: header[..<offset], as: UTF8.self))
      rig.settle()
      client.peer.send(String(decoding: header[offset...], as: UTF8.self) + Self.plain)
      rig.settle()
      #expect(client.status == 200, "split at \(offset)")
      ends.append(client)
    }
    #expect(rig.accessLines.contains("192.0.2.7"))
    finish(rig, ends)
  }

  @Test("connections count for whom they are announced, not for the proxy, and are given back")
  func perAddress() {
    let rig = rig { $0.limits.perAddress = 2 }
    let clients = (0..<3).map { _ in rig.connect(sending: Self.line(7) + Self.plain) }
    let others = (8..<12).map { rig.connect(sending: Self.line($0) + Self.plain) }
    let waiting = (0..<4).map { _ in rig.connect(sending: "PROXY") }
    rig.settle()
    #expect(clients.compactMap(\.status).count == 2)
    #expect(clients.filter(\.isGone).count == 1)
    #expect(others.allSatisfy { $0.status == 200 })
    #expect(waiting.allSatisfy { !$0.isGone })
    for client in clients { client.peer.finish() }
    rig.settle()
    let next = rig.connect(sending: Self.line(7) + Self.plain)
    rig.settle()
    #expect(next.status == 200)
    finish(rig, others + waiting + [next])
    #expect(rig.worker.clientsByAddress.isEmpty)
  }

  @Test("the proxy's own connections count for it, those that wait for a header for nobody")
  func counts() {
    let rig = rig { $0.limits.perAddress = 2 }
    let own = (0..<2).map { _ in rig.connect(sending: "PROXY UNKNOWN\r\n" + Self.plain) }
    let waiting = (0..<4).map { _ in rig.connect(sending: "PROXY") }
    rig.settle()
    #expect(own.allSatisfy { $0.status == 200 })
    for client in waiting { client.peer.finish() }
    rig.settle()
    let third = rig.connect(sending: "PROXY UNKNOWN\r\n" + Self.plain)
    rig.settle()
    #expect(third.isGone && third.status == nil)
    #expect(rig.count(.limitRefusals) == 1)
    finish(rig, own)
  }

  @Test("a header that takes longer than a head may is cut without a word")
  func slow() {
    let rig = rig()
    let client = rig.connect(sending: "PROXY TCP4")
    rig.run(.seconds(9))
    #expect(!client.isGone)
    rig.run(.milliseconds(1_100))
    #expect(client.isGone && client.status == nil)
    #expect(rig.count(.proxyRefusals) == 1)
    finish(rig, [])
  }

  @Test("a peer that is no trusted proxy is closed at once")
  func untrusted() {
    let rig = rig()
    let client = End(rig.simulation.connect(to: Rig.front, from: .v4(0x0a00_0009)), isClient: true)
    client.peer.send(Self.line(7) + Self.plain)
    rig.settle()
    #expect(client.isGone && client.status == nil)
    #expect(rig.count(.proxyRefusals) == 1)
    finish(rig, [])
  }
}
