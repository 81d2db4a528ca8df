import Bytes
import COpenSSL
import Testing

@testable import TLS

@Suite("Hostile peers")
struct AttackTests {
  private func server() throws -> End { try End(server: try Setting().server) }

  @Test(
    "what is not TLS fails with an alert and leaves nothing behind",
    arguments: [
      "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "SSH-2.0-x\r\n", "\u{16}\u{3}\u{1}\u{0}\u{4}abcd",
    ])
  func notTLS(text: String) throws {
    let server = try server()
    #expect(server.receive(Array(text.utf8)).isFailed)
    let reply = server.takeOutput()
    #expect(reply.isEmpty || reply[0] == 21)
    #expect(ERR_peek_error() == 0)
    #expect(server.receive([1, 2, 3]).isFailed)
    #expect(!server.hasOutput)
  }

  @Test("a ClientHello with any byte changed fails, waits or succeeds, and harms nothing else")
  func mutatedHello() throws {
    let setting = try Setting(protocols: ["http/1.1"], offered: ["http/1.1"])
    let hello = try End(client: setting.client, name: "a.example").takeOutput()
    for offset in 0..<hello.count {
      for change in [UInt8(0x01), 0x80, 0xff] {
        var mutated = hello
        mutated[offset] ^= change
        let server = try End(server: setting.server)
        server.receive(mutated)
        #expect(!server.isEstablished)
      }
    }
    #expect(ERR_peek_error() == 0)
    _ = try setting.joined()
  }

  @Test("random bytes never establish anything")
  func randomBytes() throws {
    let setting = try Setting()
    var generator = SystemRandomNumberGenerator()
    for _ in 0..<300 {
      let server = try End(server: setting.server)
      let count = Int.random(in: 1...400, using: &generator)
      var bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) }
      if Bool.random() { bytes.replaceSubrange(0..<min(5, count), with: [22, 3, 1, 0, 60]) }
      server.receive(bytes)
      #expect(!server.isEstablished)
    }
  }

  /// A ClientHello as long as `count`, in records of at most 16,000 bytes.
  private func hello(of count: Int) -> [UInt8] {
    let body = count - 4
    var message: [UInt8] = [1, UInt8(body >> 16), UInt8(body >> 8 & 255), UInt8(body & 255)]
    message += [3, 3] + [UInt8](repeating: 7, count: body - 2)
    return stride(from: 0, to: count, by: 16_000).flatMap { start in
      let part = message[start..<min(start + 16_000, count)]
      return [22, 3, 1, UInt8(part.count >> 8), UInt8(part.count & 255)] + part
    }
  }

  @Test("a ClientHello over 16 KiB is refused at the record that announces it")
  func longHello() throws {
    let server = try server()
    let bytes = hello(of: 16_385)
    #expect(server.receive(Array(bytes[..<16_005])) == .handshaking)
    #expect(server.receive(Array(bytes[16_005..<16_009])) == .handshaking)
    #expect(server.receive([bytes[16_009]]) == .failed(.helloTooLong))
    // A fatal illegal_parameter.
    #expect(server.takeOutput() == [21, 3, 3, 0, 2, 2, 47])
  }

  @Test("a ClientHello of 16 KiB is read to its end")
  func longestHello() throws {
    let server = try server()
    guard case .failed(let failure) = server.receive(hello(of: 16_384)) else {
      Issue.record("a hello of sevens was accepted")
      return
    }
    #expect(failure != .helloTooLong)
  }

  @Test("a genuine ClientHello of 15 KB is served")
  func genuineLongHello() throws {
    let offered = (0..<60).map { String(repeating: "p", count: 240) + "\($0)" } + ["http/1.1"]
    let pair = try Setting(protocols: ["http/1.1"], offered: offered).joined()
    #expect(pair.server.protocolName == "http/1.1")
  }

  @Test("a hundred KeyUpdates in a second pass, one more ends the session")
  func keyUpdateFlood() throws {
    let pair = try Setting().joined()
    for second in 1...3 {
      pair.server.now = MonotonicTime(nanoseconds: 0) + .seconds(Int64(second) * 2)
      for _ in 0..<100 { updateKeys(of: pair.client) }
      #expect(pair.server.receive(pair.client.takeOutput()) == .established)
    }
    #expect(pair.server.takePlaintext().count == 300)
    updateKeys(of: pair.client)
    #expect(pair.server.receive(pair.client.takeOutput()) == .failed(.controlFlood))
  }

  @Test("a flood of KeyUpdates is not read to its end")
  func keyUpdateFloodInOneRead() throws {
    let pair = try Setting().joined()
    // Without data between them OpenSSL would go through all of them in one call.
    let file = MemoryFile()
    BIO_up_ref(file.bio)
    SSL_set0_wbio(pair.client.ssl, file.bio)
    for _ in 0..<5_000 {
      SSL_key_update(pair.client.ssl, SSL_KEY_UPDATE_NOT_REQUESTED)
      SSL_do_handshake(pair.client.ssl)
    }
    let flood = file.contents()
    #expect(flood.count == 5_000 * 27)
    #expect(pair.server.receive(flood) == .failed(.controlFlood))
    // What one of OpenSSL's reads had taken already, and no more.
    #expect((101...800).contains(pair.server.controls))
  }

  /// Queues a KeyUpdate and makes it leave, with one byte of data behind it.
  private func updateKeys(of end: End) {
    SSL_key_update(end.ssl, SSL_KEY_UPDATE_REQUESTED)
    end.send([0])
  }

  @Test("keys change in both directions and data still passes")
  func keyUpdate() throws {
    let pair = try Setting().joined()
    updateKeys(of: pair.client)
    pair.exchange()
    pair.server.send([1])
    pair.exchange()
    pair.client.send([2])
    pair.exchange()
    #expect(pair.server.takePlaintext() == [0, 2])
    #expect(pair.client.takePlaintext() == [1])
  }

  @Test("renegotiation is refused")
  func renegotiation() throws {
    let pair = try Setting(tls12Only: true).joined()
    SSL_clear_options(pair.client.ssl, bascule_ssl_options())
    #expect(SSL_renegotiate(pair.client.ssl) == 1)
    pair.client.send([1])
    let hello = pair.client.takeOutput()
    #expect(hello.count > 100)
    #expect(pair.server.receive(hello) == .established)
    // One encrypted warning alert, no ServerHello.
    let reply = pair.server.takeOutput()
    #expect(reply.first == 21 && reply.count < 64)
    #expect(pair.client.receive(reply).isFailed)
  }

  @Test("empty records do not go on for ever")
  func emptyRecords() throws {
    let server = try server()
    let empty: [UInt8] = [22, 3, 1, 0, 0]
    for _ in 0..<100 { server.receive(empty) }
    #expect(server.progress.isFailed)
  }

  @Test("the second's window is counted from its first message")
  func watchWindow() {
    var watch = PeerWatch()
    watch.now = MonotonicTime(nanoseconds: 500)
    for _ in 0..<100 { watch.control() }
    #expect(watch.verdict == nil)
    watch.now = watch.now + .seconds(1)
    for _ in 0..<100 { watch.control() }
    #expect(watch.verdict == nil)
    watch.now = watch.now + .milliseconds(999)
    watch.control()
    #expect(watch.verdict == .controlFlood)
  }

  @Test("bytes after a failure and after close_notify are ignored")
  func afterTheEnd() throws {
    let pair = try Setting().joined()
    pair.client.close()
    let close = pair.client.takeOutput()
    #expect(pair.server.receive(close + pattern(40_000)) == .closed)
    #expect(pair.server.receive(pattern(40_000)) == .closed)
    #expect(pair.server.takePlaintext().isEmpty)
  }
}
