// How a bridge ends, and what each side sees of it: the rows of the behaviour page, section 8, and
// the rules of the closing handshake, section 5.

import Bytes
import Support
import Testing

@testable import Gateway

/// What to expect of one way to break a bridge.
private struct Breach: Sendable, CustomTestStringConvertible {
  var name: String
  var byClient: Bool
  /// Opcode with FIN and RSV bits, and payload, of what the offender sends; masked by the test.
  var first: UInt8
  var payload: [UInt8] = []
  /// Sent with the wrong mask bit.
  var isWronglyMasked = false
  var toClient: UInt16
  var toBackend: UInt16
  var testDescription: String { name }
}

private let breaches: [Breach] = [
  Breach(name: "client: RSV bit", byClient: true, first: 0xc1, toClient: 1002, toBackend: 1001),
  Breach(name: "client: opcode 3", byClient: true, first: 0x83, toClient: 1002, toBackend: 1001),
  Breach(
    name: "client: unmasked", byClient: true, first: 0x81, payload: [1], isWronglyMasked: true,
    toClient: 1002, toBackend: 1001),
  Breach(
    name: "client: continuation of nothing", byClient: true, first: 0x80, toClient: 1002,
    toBackend: 1001),
  Breach(
    name: "client: fragmented Ping", byClient: true, first: 0x09, toClient: 1002, toBackend: 1001),
  Breach(
    name: "client: Close of one octet", byClient: true, first: 0x88, payload: [3],
    toClient: 1002, toBackend: 1001),
  Breach(
    name: "client: Close 1005", byClient: true, first: 0x88, payload: [0x03, 0xed],
    toClient: 1002, toBackend: 1001),
  Breach(
    name: "client: reason not UTF-8", byClient: true, first: 0x88, payload: [0x03, 0xe8, 0xff],
    toClient: 1007, toBackend: 1001),
  Breach(
    name: "client: too big", byClient: true, first: 0x82,
    payload: Array(repeating: 7, count: 1001), toClient: 1009, toBackend: 1001),
  Breach(name: "backend: RSV bit", byClient: false, first: 0xa1, toClient: 1014, toBackend: 1002),
  Breach(
    name: "backend: masked", byClient: false, first: 0x81, payload: [1], isWronglyMasked: true,
    toClient: 1014, toBackend: 1002),
  Breach(
    name: "backend: too big", byClient: false, first: 0x82,
    payload: Array(repeating: 7, count: 1001), toClient: 1014, toBackend: 1009),
  Breach(
    name: "backend: reason not UTF-8", byClient: false, first: 0x88, payload: [0x03, 0xe8, 0xff],
    toClient: 1014, toBackend: 1007),
]

@Suite("How a bridge ends")
struct BridgeEndTests {
  private func makeRig(_ edit: (inout RigSettings) -> Void = { _ in }) -> Rig {
    Rig { settings in
      settings.route.webSocket.maxMessage = 1_000
      settings.keepAlive(nil, .seconds(50))
      edit(&settings)
    }
  }

  /// Closes what is still open on the ends, and expects nothing to be left in the worker.
  private func finish(_ rig: Rig, _ ends: (client: End, backend: End)) {
    ends.client.peer.finish()
    ends.backend.peer.finish()
    rig.run(.seconds(6))
    rig.expectClean()
  }

  @Test(
    "a frame that breaks the protocol goes nowhere, and both sides learn why", arguments: breaches)
  private func breach(_ breach: Breach) {
    let rig = makeRig()
    let ends = rig.bridge()
    let (offender, other) = breach.byClient ? ends : (ends.backend, ends.client)
    offender.sendText("before")
    let mask: [UInt8]? = breach.byClient != breach.isWronglyMasked ? [1, 2, 3, 4] : nil
    var wire = RawFrame.make(0, breach.payload, mask: mask)
    wire[0] = breach.first
    offender.peer.send(wire)
    offender.sendText("after")
    rig.settle()
    #expect(other.texts == ["before"])
    #expect(ends.client.closeCodes == [breach.toClient])
    #expect(ends.backend.closeCodes == [breach.toBackend])
    #expect(other.frames.count == 2)
    #expect(other.leftover == 0)
    // The offender's connection ends with our FIN, at once; the other side may finish properly.
    #expect(offender.peer.hasEnded)
    #expect(!other.isGone)
    other.sendClose(other.closeCodes[0])
    rig.settle()
    finish(rig, ends)
    #expect(rig.accessLines.contains("\"closed_by\":\"gateway\""))
  }

  @Test("a message that is too big in the sum of its fragments ends in 1009")
  func fragments() {
    let rig = makeRig()
    let ends = rig.bridge()
    ends.client.send(2, Array(repeating: 1, count: 600), fin: false)
    ends.client.send(0, Array(repeating: 2, count: 600))
    rig.settle()
    #expect(ends.client.closeCodes == [1009])
    #expect(ends.backend.closeCodes == [1001])
    #expect(ends.backend.frames.first?.payload.count == 600)
    finish(rig, ends)
  }

  @Test(
    "a Close passes with its code and reason, its answer too, and the gateway closes the client")
  func closing() {
    let rig = makeRig()
    let ends = rig.bridge()
    ends.client.sendClose(4_321, "bye")
    rig.settle()
    #expect(ends.backend.frames.map(\.payload) == [[0x10, 0xe1] + Array("bye".utf8)])
    #expect(!ends.client.isGone && !ends.backend.isGone)
    ends.backend.sendClose(4_321, "bye")
    rig.settle()
    #expect(ends.client.closeCodes == [4_321])
    #expect(ends.client.peer.hasEnded)
    // The backend is the server of its connection and closes it first.
    #expect(!ends.backend.isGone)
    ends.backend.peer.finish()
    rig.settle()
    #expect(ends.backend.peer.hasEnded)
    ends.client.peer.close()
    rig.settle()
    rig.expectClean()
    let log = rig.accessLines
    #expect(log.contains("\"closed_by\":\"client\""))
    #expect(log.contains("\"client_code\":4321"))
    #expect(log.contains("\"client_reason\":\"bye\""))
    #expect(rig.count(.closesByClient) == 1)
  }

  @Test("what follows a Close is discarded, and counted")
  func afterClose() {
    let rig = makeRig()
    let ends = rig.bridge()
    ends.client.sendClose(1000)
    ends.client.sendText("late")
    rig.settle()
    ends.client.sendText("later")
    ends.client.sendClose(1001)
    rig.settle()
    #expect(ends.backend.frames.count == 1)
    // Two texts of 4 and 5 octets and a Close of 2, with 6 octets of header each.
    #expect(rig.count(.bytesAfterClose) == 10 + 11 + 8)
    // The other direction still flows until its own Close.
    ends.backend.sendText("last words")
    rig.settle()
    #expect(ends.client.texts == ["last words"])
    finish(rig, ends)
  }

  @Test("a Close of the gateway is never followed by a second one")
  func oneClose() {
    let rig = makeRig()
    let ends = rig.bridge()
    ends.client.send(3)
    rig.settle()
    // The backend's Close crosses ours; the client has its 1002 already.
    ends.backend.sendClose(1000)
    rig.settle()
    rig.post(.drain(.drain))
    rig.settle()
    #expect(ends.client.closeCodes == [1002])
    #expect(ends.backend.closeCodes == [1001])
    finish(rig, ends)
  }

  @Test("Closes that cross are both delivered, and nothing is answered twice")
  func crossing() {
    let rig = makeRig()
    let ends = rig.bridge()
    ends.client.sendClose(4_001)
    ends.backend.sendClose(4_002)
    rig.settle()
    #expect(ends.client.closeCodes == [4_002])
    #expect(ends.backend.closeCodes == [4_001])
    finish(rig, ends)
  }

  @Test("a peer that does not finish the closing handshake is cut after 5 seconds")
  func closeTimeout() {
    let rig = makeRig()
    let ends = rig.bridge()
    ends.client.sendClose(1000)
    rig.run(.milliseconds(4_900))
    #expect(!ends.client.isGone && !ends.backend.isGone)
    rig.run(.milliseconds(200))
    #expect(ends.client.isGone && ends.backend.isGone)
    rig.expectClean()
    #expect(rig.count(.closeTimeouts) == 1)
  }

  @Test("a backend that does not close its connection is cut after 5 seconds")
  func backendLingers() {
    let rig = makeRig()
    let ends = rig.bridge()
    ends.client.sendClose(1000)
    ends.backend.sendClose(1000)
    rig.run(.milliseconds(4_900))
    #expect(!ends.backend.isGone)
    rig.run(.milliseconds(200))
    #expect(ends.backend.peer.hasEnded)
    rig.expectClean()
  }

  // MARK: Vanished

  @Test(
    "one side gone without a Close: the other gets 1001 or 1014", arguments: [true, false],
    [true, false])
  func vanished(isClient: Bool, byReset: Bool) {
    let rig = makeRig()
    let ends = rig.bridge()
    let (gone, other) = isClient ? ends : (ends.backend, ends.client)
    gone.sendText("last")
    rig.settle()
    if byReset { gone.peer.reset() } else { gone.peer.finish() }
    rig.settle()
    #expect(other.texts == ["last"])
    #expect(other.closeCodes == [isClient ? 1001 : 1014])
    #expect(!other.isGone)
    other.sendClose(other.closeCodes[0])
    rig.settle()
    finish(rig, ends)
    let log = rig.accessLines
    #expect(log.contains("\"closed_by\":\"\(isClient ? "client" : "backend")\""))
    #expect(log.contains("\"why\":\"\(isClient ? "client_vanished" : "backend_vanished")\""))
    #expect(rig.count(isClient ? .clientsVanished : .backendsVanished) == 1)
  }

  @Test("one side gone in the middle of its frame: the other is reset", arguments: [true, false])
  func vanishedInAFrame(isClient: Bool) {
    let rig = makeRig()
    let ends = rig.bridge()
    let (gone, other) = isClient ? ends : (ends.backend, ends.client)
    gone.peer.send(Array(gone.wire(2, Array(repeating: 5, count: 500)).prefix(300)))
    rig.settle()
    gone.peer.finish()
    rig.settle()
    #expect(other.peer.wasReset)
    #expect(other.frames.isEmpty)
    rig.expectClean()
  }

  @Test("one side gone with half a header sent: the other was never in a frame and gets its Close")
  func vanishedInAHeader() {
    let rig = makeRig()
    let ends = rig.bridge()
    ends.client.peer.send(Array(ends.client.wire(2, Array(repeating: 5, count: 500)).prefix(5)))
    rig.settle()
    ends.client.peer.finish()
    rig.settle()
    #expect(ends.backend.closeCodes == [1001])
    finish(rig, ends)
  }

  // MARK: Rates

  @Test("more Pings than the burst end in 1008; slower ones pass for ever")
  func pingFlood() {
    let rig = makeRig()
    let ends = rig.bridge()
    for _ in 0..<50 { ends.client.send(9, [1]) }
    rig.settle()
    #expect(ends.backend.takeFrames().count == 50)
    for _ in 0..<30 {
      rig.run(.milliseconds(110))
      ends.client.send(9, [2])
    }
    rig.settle()
    #expect(ends.backend.takeFrames().count == 30)
    for _ in 0..<20 { ends.client.send(9, [3]) }
    rig.settle()
    #expect(ends.client.closeCodes == [1008])
    #expect(ends.backend.closeCodes == [1001])
    #expect(ends.backend.frames.count < 10)
    #expect(rig.count(.clientPingFloods) == 1)
    finish(rig, ends)
  }

  @Test("a backend may ping as it likes")
  func backendPings() {
    let rig = makeRig()
    let ends = rig.bridge()
    for _ in 0..<200 { ends.backend.send(9, [1]) }
    rig.settle()
    #expect(ends.client.frames.count == 200)
    finish(rig, ends)
  }

  // MARK: Drain

  @Test("a drain tells both sides 1001, and the worker ends when they have gone")
  func drain() {
    let rig = makeRig()
    let ends = rig.bridge()
    rig.post(.drain(.drain))
    rig.settle()
    #expect(ends.client.closeCodes == [1001])
    #expect(ends.backend.closeCodes == [1001])
    #expect(!rig.isStopped)
    ends.client.sendClose(1001)
    ends.backend.sendClose(1001)
    ends.backend.peer.finish()
    rig.settle()
    // The FIN of the gateway is answered with the client's own.
    #expect(ends.client.peer.hasEnded)
    ends.client.peer.finish()
    rig.settle()
    rig.expectClean()
    let isStopped = rig.isStopped
    #expect(isStopped)
    #expect(rig.count(.drainCloses) == 1)
  }

  @Test("a drain waits for the end of a frame, longer than a peer gets for its Close")
  func drainInAFrame() {
    let rig = makeRig()
    let ends = rig.bridge()
    let frame = ends.client.wire(2, Array(repeating: 5, count: 500))
    ends.client.peer.send(Array(frame.prefix(300)))
    rig.settle()
    rig.post(.drain(.drain))
    rig.run(.seconds(8))
    // Towards the client nothing is under way; the backend must first get the rest.
    #expect(ends.client.closeCodes == [1001])
    #expect(ends.backend.closeCodes == [])
    #expect(!ends.backend.isGone && !ends.client.isGone)
    ends.client.peer.send(Array(frame.dropFirst(300)))
    ends.client.sendText("not any more")
    rig.settle()
    #expect(ends.backend.frames.map(\.opcode) == [2, 8])
    #expect(ends.backend.closeCodes == [1001])
    ends.client.sendClose(1001)
    ends.backend.sendClose(1001)
    ends.backend.peer.finish()
    rig.settle()
    // The FIN of the gateway is answered with the client's own.
    #expect(ends.client.peer.hasEnded)
    ends.client.peer.finish()
    rig.settle()
    rig.expectClean()
  }

  @Test("a drain ends when its time is up, whoever is still there")
  func drainTimesOut() {
    let rig = makeRig()
    let ends = rig.bridge()
    ends.client.peer.send(Array(ends.client.wire(2, Array(repeating: 5, count: 500)).prefix(300)))
    rig.settle()
    rig.post(.drain(.drain))
    rig.run(.milliseconds(29_900))
    let before = rig.isStopped
    #expect(!before)
    rig.run(.milliseconds(300))
    let after = rig.isStopped
    #expect(after)
    #expect(ends.client.isGone && ends.backend.isGone)
    rig.expectClean()
  }

  @Test("a drain closes idle connections, takes no new ones and refuses the last handshakes")
  func drainTheFront() {
    let rig = makeRig()
    let idle = rig.connect(sending: "")
    let late = rig.connect(sending: "GET / HTTP/1.1\r\nHost: a\r\n")
    rig.settle()
    rig.post(.drain(.drain))
    rig.settle()
    #expect(idle.isGone)
    late.peer.send(
      "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
    rig.settle()
    #expect(late.status == 503)
    #expect(late.field("Connection") == "close")
    let refused = rig.connect()
    rig.run(.seconds(1))
    #expect(refused.peer.wasReset)
    late.peer.finish()
    rig.settle()
    rig.expectClean()
    let isStopped = rig.isStopped
    #expect(isStopped)
  }
}
