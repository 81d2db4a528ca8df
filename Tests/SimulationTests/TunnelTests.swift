// mode: tunnel. After a validated handshake bytes pass unread.

import Bytes
import Support
import Testing

@testable import Gateway

@Suite("Tunnels")
struct TunnelTests {
  private func makeRig() -> Rig {
    Rig { settings in
      settings.route.webSocket.mode = .tunnel
      settings.timeouts.tunnelIdle = .seconds(60)
    }
  }

  @Test("bytes pass that no bridge would let through, and no Ping is sent")
  func unread() {
    let rig = makeRig()
    let ends = rig.bridge()
    let odd = RawFrame.make(0xb, [1, 2, 3])
    ends.client.peer.send(odd)
    rig.settle()
    #expect(ends.backend.frames.map(\.wire) == [odd])
    rig.run(.seconds(50))
    ends.backend.sendText("a")
    rig.run(.seconds(50))
    #expect(ends.client.texts == ["a"] && ends.client.frames.count == 1)
    #expect(rig.count(.pingsSent) == 0)
    ends.client.peer.finish()
    ends.backend.peer.finish()
    rig.settle()
    rig.expectClean()
    #expect(rig.count(.tunnelsClosed) == 1)
  }

  @Test("a FIN passes, and the other direction stays open until its own", arguments: [true, false])
  func halfClose(isClient: Bool) {
    let rig = makeRig()
    let ends = rig.bridge()
    let (first, second) = isClient ? ends : (ends.backend, ends.client)
    first.sendText("done")
    first.peer.finish()
    rig.settle()
    #expect(second.texts == ["done"])
    #expect(second.peer.hasEnded && !first.isGone)
    second.sendText("one more")
    rig.settle()
    #expect(first.texts == ["one more"])
    second.peer.finish()
    rig.settle()
    #expect(first.peer.hasEnded && !first.peer.wasReset)
    rig.expectClean()
  }

  @Test("a tunnel that begins during a drain is told to go at once")
  func lateForDrain() {
    let rig = makeRig()
    let list = rig.backends { _ in }
    let client = rig.connect()
    rig.run(atMost: .seconds(1)) { !list.ends.isEmpty && !list.ends[0].head.isEmpty }
    rig.post(.drain(.drain))
    rig.settle()
    list.ends[0].accept()
    rig.settle()
    #expect(client.status == 101 && client.peer.hasEnded && list.ends[0].peer.hasEnded)
    client.peer.finish()
    list.ends[0].peer.finish()
    rig.settle()
    #expect(rig.isStopped)
    rig.expectClean()
  }

  @Test("a reset passes as a reset")
  func reset() {
    let rig = makeRig()
    let ends = rig.bridge()
    ends.backend.peer.reset()
    rig.settle()
    #expect(ends.client.peer.wasReset)
    rig.expectClean()
  }

  @Test("a tunnel without a byte for its time is closed")
  func idle() {
    let rig = makeRig()
    let ends = rig.bridge()
    rig.run(.seconds(40))
    ends.client.sendText("a")
    rig.run(.seconds(59))
    #expect(!ends.client.isGone)
    rig.run(.milliseconds(1_100))
    #expect(ends.client.peer.hasEnded && ends.backend.peer.hasEnded)
    #expect(rig.count(.tunnelIdleTimeouts) == 1)
    ends.client.peer.finish()
    ends.backend.peer.finish()
    rig.run(.seconds(6))
    rig.expectClean()
  }
}
