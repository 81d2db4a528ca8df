import Bytes
import Dispatch
import Synchronization
import Testing

@testable import TLS

@Suite("Handshake and data")
struct TransferTests {
  @Test(
    "a handshake succeeds with TLS 1.3, and with TLS 1.2 where the client knows no more",
    arguments: [(false, TLSVersion.tls13), (true, .tls12)])
  func versions(tls12Only: Bool, expected: TLSVersion) throws {
    let pair = try Setting(tls12Only: tls12Only).joined()
    #expect(pair.server.progress == .established)
    #expect(pair.client.progress == .established)
    #expect(pair.server.version == expected)
    #expect(pair.server.serverName == "a.example")
    #expect(!pair.server.isResumed)
  }

  @Test("a listener with a minimum of TLS 1.3 refuses TLS 1.2 with an alert")
  func minimumVersion() throws {
    let pair = try Setting(minimum: .tls13, tls12Only: true).pair()
    pair.exchange()
    #expect(pair.server.progress.isFailed)
    // protocol_version
    #expect(pair.client.progress == .failed(.peerAlert(70)))
  }

  @Test("the handshake works byte by byte", arguments: [false, true])
  func handshakeByteByByte(tls12Only: Bool) throws {
    let pair = try Setting(tls12Only: tls12Only).pair()
    pair.exchange(.pieces(1))
    #expect(pair.server.isEstablished && pair.client.isEstablished)
  }

  @Test("the handshake works with each flight cut at any place", arguments: [false, true])
  func handshakeCutAnywhere(tls12Only: Bool) throws {
    let setting = try Setting(tls12Only: tls12Only)
    for offset in stride(from: 1, to: 1400, by: 13) {
      let pair = try setting.pair()
      pair.exchange(.at(offset))
      #expect(pair.server.isEstablished && pair.client.isEstablished, "cut at \(offset)")
    }
  }

  @Test("data arrives the same however its records are cut", arguments: [false, true])
  func dataCutAnywhere(tls12Only: Bool) throws {
    let pair = try Setting(tls12Only: tls12Only).joined()
    let first = pattern(80)
    let second = pattern(33)
    for offset in 0...200 {
      pair.client.send(first)
      pair.client.send(second)
      let ciphertext = pair.client.takeOutput()
      for piece in Cut.at(min(offset, ciphertext.count)).pieces(of: ciphertext) {
        #expect(pair.server.receive(piece) == .established)
      }
      let got = pair.server.takePlaintext()
      #expect(got == first + second, "cut at \(offset)")
    }
    pair.server.send(first)
    for piece in Cut.pieces(1).pieces(of: pair.server.takeOutput()) { pair.client.receive(piece) }
    #expect(pair.client.takePlaintext() == first)
  }

  @Test(
    "a mebibyte passes in both directions, in pieces of any size",
    arguments: [1 << 20, 262_144, 16_406, 4_099])
  func megabyte(pieceSize: Int) throws {
    let pair = try Setting().joined()
    let data = pattern(1 << 20)
    pair.client.send(data)
    pair.server.send(data)
    pair.exchange(.pieces(pieceSize))
    #expect(pair.server.takePlaintext() == data)
    #expect(pair.client.takePlaintext() == data)
  }

  @Test("data that comes with the last flight of the handshake is delivered")
  func dataWithFinished() throws {
    let pair = try Setting().pair()
    pair.server.receive(pair.client.takeOutput())
    pair.client.receive(pair.server.takeOutput())
    pair.client.send([1, 2, 3])
    #expect(pair.server.receive(pair.client.takeOutput()) == .established)
    #expect(pair.server.takePlaintext() == [1, 2, 3])
  }

  @Test("sending before the handshake is over is refused and sends nothing")
  func sendTooEarly() throws {
    let pair = try Setting().pair()
    _ = pair.client.takeOutput()
    #expect(pair.client.send([1]) == .failed(.notEstablished))
    #expect(!pair.client.hasOutput)
  }

  @Test("close_notify comes after the data before it, once, and leaves the other way open")
  func closeNotify() throws {
    let pair = try Setting().joined()
    pair.client.send([7])
    pair.client.close()
    pair.client.close()
    let ciphertext = pair.client.takeOutput()
    #expect(pair.server.receive(ciphertext) == .closed)
    #expect(pair.server.takePlaintext() == [7])
    pair.client.close()
    #expect(!pair.client.hasOutput)

    #expect(pair.server.send([8]) == .closed)
    pair.server.close()
    #expect(pair.client.receive(pair.server.takeOutput()) == .closed)
    #expect(pair.client.takePlaintext() == [8])
    #expect(pair.server.receive([1, 2, 3]) == .closed)
  }

  @Test(
    "a session is resumed from its ticket, in another session of the same context",
    arguments: [false, true])
  func resumption(tls12Only: Bool) throws {
    let setting = try Setting(tls12Only: tls12Only)
    let first = try setting.joined()
    let ticket = try #require(Ticket(of: first.client))
    let second = try Pair(
      server: setting.server, resuming: ticket, client: setting.client, name: "a.example")
    second.exchange()
    #expect(second.server.isEstablished)
    #expect(second.server.isResumed)
  }

  @Test("a session works on after everybody else has let go of its context")
  func contextReplaced() throws {
    let pair: Pair
    do {
      let identities = [try Identity(["a.example"]), try Identity(["b.example"])]
      let server = try TLSContext.server(
        ServerTLS(certificates: identities.map(\.source), protocols: ["http/1.1"]))
      let client = try TLSContext.client(
        ClientTLS(
          caPEM: identities[1].source.certificatePEM, protocols: ["http/1.1"]))
      pair = try Pair(server: server, client: client, name: "b.example")
    }
    pair.exchange()
    #expect(pair.client.isEstablished)
    #expect(pair.server.protocolName == "http/1.1")
  }

  @Test("threads share a context")
  func sharedContext() throws {
    let setting = try Setting(protocols: ["http/1.1"], offered: ["http/1.1"])
    let joined = Mutex(0)
    DispatchQueue.concurrentPerform(iterations: 4) { _ in
      for _ in 0..<25 {
        guard let pair = try? setting.joined() else { return }
        pair.client.send(pattern(5_000))
        pair.exchange(.pieces(700))
        if pair.server.takePlaintext() == pattern(5_000) { joined.withLock { $0 += 1 } }
      }
    }
    let count = joined.withLock { $0 }
    #expect(count == 100)
  }

  @Test("plaintext that came before a broken record is delivered")
  func dataBeforeFailure() throws {
    let pair = try Setting().joined()
    pair.client.send([5])
    let good = pair.client.takeOutput()
    pair.client.send([6])
    var bad = pair.client.takeOutput()
    bad[bad.count - 1] ^= 1
    #expect(pair.server.receive(good + bad).isFailed)
    #expect(pair.server.takePlaintext() == [5])
  }

  @Test("one changed byte of a record ends the session with an alert")
  func tampering() throws {
    let pair = try Setting().joined()
    pair.client.send(pattern(100))
    var ciphertext = pair.client.takeOutput()
    ciphertext[50] ^= 1
    #expect(pair.server.receive(ciphertext).isFailed)
    #expect(pair.server.takePlaintext().isEmpty)
    // bad_record_mac
    #expect(pair.client.receive(pair.server.takeOutput()) == .failed(.peerAlert(20)))
  }
}

extension TLSProgress {
  var isFailed: Bool {
    if case .failed = self { return true }
    return false
  }
}
