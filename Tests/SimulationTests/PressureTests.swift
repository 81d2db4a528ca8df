// Slow readers and stuck writers: what stops, what goes on, and how much memory it may cost.

import Bytes
import Support
import Testing

@testable import Gateway

@Suite("Backpressure through a worker")
struct PressureTests {
  /// Sockets that hold 16 KiB, so that waiting bytes wait in the gateway.
  private func makeRig(_ edit: (inout RigSettings) -> Void = { _ in }) -> Rig {
    Rig { settings in
      settings.machine.bufferBytes = 16_384...16_384
      settings.keepAlive(nil, .seconds(50))
      edit(&settings)
    }
  }

  private func waiting(_ rig: Rig) -> Int {
    var most = 0
    for index in 0..<rig.worker.connections.indexLimit {
      if let id = rig.worker.connections.id(at: index) {
        most = max(most, rig.worker.connections[id].output.count)
      }
    }
    return most
  }

  private func end(_ rig: Rig, _ ends: (client: End, backend: End)) {
    ends.client.peer.reset()
    ends.backend.peer.reset()
    rig.run(.seconds(6))
    rig.expectClean()
  }

  @Test("a reader that has stopped stops its writer at 64 KiB, and nothing else")
  func pauses() {
    let rig = makeRig()
    let ends = rig.bridge()
    ends.backend.peer.isReading = false
    for index in 0..<100 {
      ends.client.send(2, Array(repeating: UInt8(index), count: 10_000))
    }
    rig.run(.milliseconds(200))
    #expect(rig.count(.pauses) == 1)
    #expect(ends.client.peer.unsent > 500_000)
    let held = waiting(rig)
    #expect(held >= 64 * 1024)
    #expect(held <= 64 * 1024 + 64 * 1024)
    // The other direction flows.
    ends.backend.sendText("still here")
    rig.run(.milliseconds(10))
    #expect(ends.client.texts == ["still here"])
    // And everything arrives when the reader is back, in order.
    ends.backend.peer.isReading = true
    rig.run(.milliseconds(200))
    #expect(ends.backend.frames.map { $0.payload.first } == (0..<100).map { UInt8($0) })
    #expect(ends.backend.frames.allSatisfy { $0.payload.count == 10_000 })
    end(rig, ends)
  }

  @Test("reading goes on at 16 KiB, not before")
  func resumes() {
    let rig = makeRig()
    let ends = rig.bridge()
    ends.client.peer.isReading = false
    ends.backend.send(2, Array(repeating: 1, count: 300_000))
    rig.run(.milliseconds(200))
    var least = Int.max
    for _ in 0..<1_000 where rig.count(.pauses) == 1 {
      // The smallest sip: one move of the peer.
      ends.client.peer.isReading = true
      rig.worker.turn()
      ends.client.peer.isReading = false
      let isPaused = (0..<rig.worker.connections.indexLimit).contains { index in
        guard let id = rig.worker.connections.id(at: index) else { return false }
        return rig.worker.connections[id].pauses.contains(.backpressure)
      }
      if isPaused { least = min(least, waiting(rig)) } else { break }
    }
    #expect(least > 16 * 1024)
    ends.client.peer.isReading = true
    rig.run(.milliseconds(200))
    #expect(ends.client.frames.map(\.payload.count) == [300_000])
    end(rig, ends)
  }

  @Test(
    "a reader that takes nothing for 60 seconds is dropped, and the other side told",
    arguments: [true, false])
  func stall(isClient: Bool) {
    let rig = makeRig()
    let ends = rig.bridge()
    let (slow, writer) = isClient ? ends : (ends.backend, ends.client)
    slow.peer.isReading = false
    // Whole frames: the writer stands at a boundary.
    for _ in 0..<8 { writer.send(2, Array(repeating: 1, count: 10_000)) }
    rig.run(.seconds(59))
    #expect(!slow.isGone && writer.closeCodes.isEmpty)
    rig.run(.seconds(2))
    #expect(writer.closeCodes == [isClient ? 1001 : 1014])
    #expect(rig.count(.writeStalls) == 1)
    writer.sendClose(1000)
    end(rig, ends)
  }

  @Test("a reader that takes a little now and then is not dropped")
  func slow() {
    let rig = makeRig()
    let ends = rig.bridge()
    ends.client.peer.isReading = false
    ends.backend.send(2, Array(repeating: 1, count: 120_000))
    for _ in 0..<4 {
      rig.run(.seconds(50))
      ends.client.peer.isReading = true
      rig.worker.turn()
      ends.client.peer.isReading = false
    }
    #expect(rig.count(.writeStalls) == 0)
    ends.client.peer.isReading = true
    rig.run(.milliseconds(100))
    #expect(ends.client.frames.map(\.payload.count) == [120_000])
    end(rig, ends)
  }
}
