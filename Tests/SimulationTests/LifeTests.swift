// Life cycles that end in an unusual order: what a leg leaves behind for the other one, and what a
// long-lived connection leaves behind in the worker.

import Bytes
import Support
import Testing

@testable import Gateway

@Suite("Life cycles")
struct LifeTests {
  private func smallBuffers(_ edit: (inout RigSettings) -> Void = { _ in }) -> Rig {
    Rig { settings in
      settings.machine.bufferBytes = 16_384...16_384
      settings.keepAlive(nil, .seconds(50))
      edit(&settings)
    }
  }

  @Test("a side that was paused for the sake of one that is gone is read again")
  func pausedForNobody() {
    let rig = smallBuffers()
    let ends = rig.bridge()
    ends.client.peer.isReading = false
    for _ in 0..<100 { ends.backend.send(2, Array(repeating: 0x61, count: 10_000)) }
    rig.run(.milliseconds(200))
    #expect(rig.count(.pauses) == 1)
    ends.client.peer.reset()
    rig.run(.milliseconds(200))
    #expect(ends.backend.closeCodes == [1001])
    // Its Close lies behind the megabyte that it had sent.
    ends.backend.sendClose(1001)
    ends.backend.peer.finish()
    rig.run(.seconds(1))
    #expect(!ends.backend.peer.wasReset)
    rig.expectClean()
  }

  @Test("a response that is being relayed is no handshake in flight")
  func relayedIsNoHandshake() {
    let rig = Rig { $0.limits.handshakes = 1 }
    let backends = rig.backends { end in
      end.peer.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 5\r\n\r\nno")
    }
    let first = rig.connect()
    rig.settle()
    let second = rig.connect()
    rig.settle()
    #expect([first.status, second.status] == [401, 401])
    for end in backends.ends { end.peer.send(" go") }
    rig.settle()
    for client in [first, second] { client.peer.finish() }
    rig.run(.seconds(6))
    rig.expectClean()
  }

  @Test("what a backend said before it hung up arrives, though a send to it failed first")
  func lastWords() {
    var delivered = 0
    for seed in 0..<64 as Range<UInt64> {
      let rig = Rig { $0.seed = seed }
      let ends = rig.bridge()
      // All of it while the worker sleeps: the client's message meets a socket that has gone.
      ends.backend.sendText("last")
      ends.backend.sendClose(1000, "bye")
      rig.simulation.advance(by: .milliseconds(5))
      ends.backend.peer.reset()
      ends.client.sendText("too late")
      rig.simulation.advance(by: .milliseconds(5))
      rig.run(.seconds(6))
      if ends.client.texts == ["last"], ends.client.closeCodes == [1000] { delivered += 1 }
      ends.client.peer.finish()
      rig.run(.seconds(6))
      rig.expectClean()
    }
    // The simulated system drops what has not been read at a reset half of the time.
    #expect(delivered > 24)
  }

  @Test("timers of a connection that lives long do not add up")
  func timersEnd() {
    let rig = Rig()
    let client = rig.connect(sending: "")
    for _ in 0..<50 {
      client.peer.send("GET / HTTP/1.1\r\n")
      rig.run(.seconds(1))
      client.peer.send("Host: local.example\r\n\r\n")
      rig.run(.seconds(11))
    }
    #expect(rig.count(.requests) == 50)
    let timers = rig.worker.timers.count
    // One that is due next, and those that a nearer one has replaced within the last 75 seconds.
    #expect(timers < 12)
    client.peer.finish()
    rig.settle()
    rig.expectClean()
  }

  @Test("a reader that has stalled is reset: nothing waits for it in the system either")
  func stalledReader() {
    let rig = smallBuffers()
    let ends = rig.bridge()
    ends.client.peer.isReading = false
    for _ in 0..<100 { ends.backend.send(2, Array(repeating: 0x61, count: 10_000)) }
    rig.run(.seconds(61))
    #expect(rig.count(.writeStalls) == 1)
    #expect(rig.simulation.aborts >= 1)
    #expect(ends.backend.closeCodes == [1001])
    ends.backend.peer.reset()
    rig.run(.seconds(1))
    rig.expectClean()
  }
}
