// The gateway's own Pings on a whole worker: when they go out, who is given up and who is not, and
// that nobody but the peer they were for ever sees them or their answers.

import Bytes
import Support
import Testing

@testable import Gateway

@Suite("Keep-alive through a worker")
struct KeepAliveRunTests {
  private func makeRig(_ edit: (inout RigSettings) -> Void = { _ in }) -> Rig {
    Rig { settings in
      settings.keepAlive(.seconds(25), .seconds(50))
      edit(&settings)
    }
  }

  private func end(_ rig: Rig, _ ends: (client: End, backend: End)) {
    ends.client.peer.reset()
    ends.backend.peer.reset()
    rig.run(.seconds(6))
    rig.expectClean()
  }

  @Test(
    "both sides of a silent bridge are pinged after the interval, give or take a tenth, with jitter"
  )
  func interval() {
    var times: Set<Int64> = []
    for seed in 1...8 as ClosedRange<UInt64> {
      let rig = makeRig { $0.seed = seed }
      let ends = rig.bridge()
      let start = rig.simulation.now
      rig.run(atMost: .seconds(40)) {
        ends.client.frames.contains(where: \.isPing)
          && ends.backend.frames.contains(where: \.isPing)
      }
      let waited = (rig.simulation.now - start).milliseconds
      #expect(waited >= 22_400 && waited <= 27_600)
      for end in [ends.client, ends.backend] {
        #expect(end.frames.map(\.payload.count) == [8])
        #expect(end.frames.first?.isMasked == !end.isClient)
      }
      times.insert(waited)
      end(rig, ends)
    }
    #expect(times.count > 4)
  }

  @Test("a peer that answers stays for an hour; the other side sees neither Ping nor Pong")
  func alive() {
    let rig = makeRig()
    let ends = rig.bridge()
    ends.client.answersPings = true
    ends.backend.answersPings = true
    rig.run(.seconds(3_600))
    #expect(ends.client.pings > 120 && ends.backend.pings > 120)
    #expect(ends.client.frames == [] && ends.backend.frames == [])
    #expect(rig.count(.pongsSwallowed) == rig.count(.pingsSent))
    ends.client.sendText("alive")
    rig.settle()
    #expect(ends.backend.texts == ["alive"])
    ends.client.peer.finish()
    ends.backend.peer.finish()
    rig.settle()
    #expect(rig.accessLines.contains("\"client_pings\":\(ends.client.pings)"))
    #expect(rig.accessLines.contains("\"client_rtt_ms\":"))
    #expect(rig.accessLines.contains("\"backend_rtt_max_ms\":"))
    end(rig, ends)
  }

  @Test(
    "a peer from which nothing comes is given up after the timeout and at most a tenth more",
    arguments: [true, false])
  func gone(isClient: Bool) {
    let rig = makeRig()
    let ends = rig.bridge()
    let (silent, other) = isClient ? ends : (ends.backend, ends.client)
    other.answersPings = true
    let start = rig.simulation.now
    rig.run(atMost: .seconds(100)) { !other.closeCodes.isEmpty }
    let waited = (rig.simulation.now - start).milliseconds
    #expect(waited >= 50_000 && waited <= 55_000)
    #expect(other.closeCodes == [isClient ? 1001 : 1014])
    #expect(silent.peer.wasReset)
    other.sendClose(other.closeCodes.first ?? 1000)
    end(rig, ends)
    #expect(rig.accessLines.contains(isClient ? "client_timed_out" : "backend_timed_out"))
    #expect(rig.count(isClient ? .clientTimeouts : .backendTimeouts) == 1)
  }

  @Test("any byte counts as life, a Pong of its own or half a frame")
  func anyByte() {
    let rig = makeRig()
    let ends = rig.bridge()
    ends.backend.answersPings = true
    let frame = ends.client.wire(2, Array(repeating: 1, count: 100))
    for byte in frame.prefix(20) {
      rig.run(.seconds(20))
      ends.client.peer.send([byte])
    }
    rig.run(.seconds(40))
    #expect(!ends.client.isGone && !ends.backend.isGone)
    end(rig, ends)
  }

  @Test("with the interval off nobody is pinged and nobody is given up")
  func off() {
    let rig = makeRig { $0.keepAlive(nil, .seconds(50)) }
    let ends = rig.bridge()
    let turns = rig.turns
    rig.run(.seconds(7_200))
    #expect(rig.turns - turns < 5)
    #expect(rig.count(.pingsSent) == 0)
    #expect(!ends.client.isGone && !ends.backend.isGone)
    end(rig, ends)
  }

  @Test("a Ping waits for the end of the frame under way, and its peer is not given up meanwhile")
  func behindAFrame() {
    let rig = makeRig()
    let ends = rig.bridge()
    let frame = ends.client.wire(2, Array(repeating: 5, count: 1_000))
    ends.client.peer.send(Array(frame.prefix(500)))
    // 120 s: the backend has heard nothing but half a frame and says nothing.
    let turns = rig.turns
    for byte in frame[500..<506] {
      rig.run(.seconds(20))
      ends.client.peer.send([byte])
    }
    rig.settle()
    #expect(ends.backend.frames == [])
    #expect(!ends.backend.isGone && !ends.client.isGone)
    // Waiting is free: no spinning on a deadline that has passed.
    #expect(rig.turns - turns < 100)
    ends.client.peer.send(Array(frame.dropFirst(506)))
    ends.client.sendText("next")
    rig.settle()
    #expect(ends.backend.frames.map(\.opcode) == [2, 9, 1])
    // From here the Ping has left, and silence means something.
    ends.client.answersPings = true
    rig.run(.seconds(20))
    #expect(!ends.backend.isGone)
    rig.run(.seconds(35))
    #expect(ends.backend.peer.wasReset)
    #expect(ends.client.closeCodes == [1014])
    end(rig, ends)
  }

  @Test("a peer that is not being read is not given up; the writer's stall decides")
  func behindBackpressure() {
    let rig = makeRig { settings in
      settings.machine.bufferBytes = 16_384...16_384
      settings.keepAlive(.seconds(2), .seconds(4))
    }
    let ends = rig.bridge()
    ends.client.answersPings = true
    // The backend does not read: the client is paused, however much it has to say.
    ends.backend.peer.isReading = false
    for _ in 0..<40 { ends.client.send(2, Array(repeating: 1, count: 10_000)) }
    rig.run(.seconds(40))
    #expect(!ends.client.isGone && !ends.backend.isGone)
    #expect(rig.count(.clientTimeouts) == 0 && rig.count(.backendTimeouts) == 0)
    ends.backend.answersPings = true
    ends.backend.peer.isReading = true
    rig.run(.seconds(20))
    #expect(!ends.client.isGone && !ends.backend.isGone)
    #expect(ends.backend.frames.count == 40)
    end(rig, ends)
  }

  @Test("Pings and Pongs of others pass byte for byte, whatever they look like")
  func foreign() {
    let rig = makeRig()
    let ends = rig.bridge()
    rig.run(atMost: .seconds(40)) { !ends.client.frames.isEmpty && !ends.backend.frames.isEmpty }
    let ours = ends.client.takeFrames()[0].payload
    _ = ends.backend.takeFrames()
    // Same length; the tag with a number that was never sent; empty; long.
    let unsent = Array(ours.prefix(7)) + [ours[7] &+ 7]
    let payloads = [[1, 2, 3, 4, 5, 6, 7, 8], unsent, [], Array(repeating: 9, count: 125)]
    for payload in payloads {
      ends.client.send(9, payload)
      ends.client.send(10, payload)
    }
    rig.settle()
    #expect(ends.backend.frames.map(\.opcode) == [9, 10, 9, 10, 9, 10, 9, 10])
    #expect(ends.backend.takeFrames().map(\.payload) == payloads.flatMap { [$0, $0] })
    // The answer to ours ends here, once; said again it is somebody else's.
    ends.client.send(10, ours)
    rig.settle()
    #expect(ends.backend.takeFrames() == [])
    ends.client.send(10, ours)
    rig.settle()
    #expect(ends.backend.takeFrames().map(\.payload) == [ours])
    end(rig, ends)
  }

  @Test("a Pong that arrives in pieces amid other frames is still swallowed whole")
  func splitPong() {
    let rig = makeRig()
    let ends = rig.bridge()
    rig.run(atMost: .seconds(40)) { !ends.client.frames.isEmpty }
    let pong = ends.client.wire(10, ends.client.takeFrames()[0].payload)
    _ = ends.backend.takeFrames()
    let bytes = ends.client.wire(1, [65], fin: false) + pong + ends.client.wire(0, [66])
    for byte in bytes {
      ends.client.peer.send([byte])
      rig.settle()
    }
    #expect(ends.backend.takeFrames().filter { !$0.isPing }.map(\.payload) == [[65], [66]])
    #expect(rig.count(.pongsSwallowed) == 1)
    end(rig, ends)
  }

  @Test("round trips are measured")
  func roundTrip() {
    let rig = makeRig { $0.machine.latency = 10_000_000...10_000_000 }
    let ends = rig.bridge()
    ends.client.answersPings = true
    ends.backend.answersPings = true
    rig.run(.seconds(60))
    ends.client.peer.finish()
    rig.run(.milliseconds(100))
    ends.backend.peer.finish()
    rig.run(.milliseconds(100))
    let log = rig.accessLines
    #expect(log.contains("\"client_rtt_ms\":20"), "\(log)")
    #expect(log.contains("\"backend_rtt_ms\":20"))
    end(rig, ends)
  }
}
