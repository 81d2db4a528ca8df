// A worker with clients over HTTP/2, by prior knowledge: what ends, what is let go and in which order,
// where the timing of single segments matters.

import Bytes
import Support
import Testing

@testable import Gateway

@Suite("HTTP/2 through a worker")
struct HTTP2Tests {
  private func makeRig(_ edit: (inout RigSettings) -> Void = { _ in }) -> Rig {
    Rig { settings in
      settings.protocols = [.h2]
      edit(&settings)
    }
  }

  @Test("a bridge over a stream carries both directions and ends with its close handshake")
  func bridge() {
    let rig = makeRig()
    let connection = rig.http2()
    let ends = rig.bridge(on: connection)
    #expect(ends.client.isOK)
    ends.client.sendText("there")
    ends.backend.sendText("and back")
    rig.settle()
    #expect(ends.backend.texts == ["there"] && ends.client.texts == ["and back"])
    ends.client.sendClose(1000)
    rig.settle()
    ends.backend.sendClose(1000)
    ends.backend.peer.finish()
    rig.settle()
    #expect(ends.client.closeCodes == [1000] && ends.client.peerHasEnded)
    ends.client.end()
    rig.settle()
    #expect(rig.worker.exchanges.count == 0 && ends.client.resetCode == nil)
    connection.peer.finish()
    rig.settle()
    rig.expectClean()
  }

  @Test("a tunnel's last bytes arrive when the stream's end comes with them")
  func lastBytes() {
    let rig = makeRig { $0.route.webSocket.mode = .tunnel }
    let connection = rig.http2()
    let ends = rig.bridge(on: connection)
    ends.backend.sendText("done")
    ends.backend.peer.finish()
    rig.settle()
    #expect(ends.client.texts == ["done"] && ends.client.peerHasEnded)
    ends.client.send(1, Array("one more".utf8), ends: true)
    rig.settle()
    #expect(ends.backend.texts == ["one more"])
    #expect(ends.backend.peer.hasEnded && !ends.backend.peer.wasReset)
    connection.peer.finish()
    rig.settle()
    rig.expectClean()
  }

  @Test("a client whose window is used up may answer the Close when its backend is gone")
  func creditAfterLoss() {
    let rig = makeRig { settings in
      settings.machine.bufferBytes = 4_096...4_096
      settings.keepAlive(nil, .seconds(50))
    }
    let connection = rig.http2()
    let ends = rig.bridge(on: connection)
    ends.backend.peer.isReading = false
    for _ in 0..<30 { ends.client.send(2, Array(repeating: 1, count: 10_000)) }
    rig.run(.milliseconds(500))
    #expect(ends.client.unsent > 100_000)
    ends.backend.peer.reset()
    rig.run(.milliseconds(500))
    #expect(ends.client.closeCodes == [1014])
    ends.client.sendClose(1014, ends: true)
    rig.run(.milliseconds(500))
    #expect(ends.client.unsent == 0 && ends.client.peerHasEnded)
    connection.peer.finish()
    rig.run(.seconds(6))
    rig.expectClean()
  }

  @Test("what a client sent before it hung up arrives although a send to it fails")
  func lastWords() {
    // The reset that answers the gateway may destroy what was not read; in some runs it does not.
    let arrived = (0..<8).map { seed in
      let rig = makeRig { $0.seed = UInt64(seed) }
      let connection = rig.http2()
      let bridges = (0..<4).map { _ in rig.bridge(on: connection) }
      for ends in bridges {
        ends.client.send(2, Array(repeating: 1, count: 50_000))
        ends.client.sendClose(1000)
      }
      rig.simulation.settle()
      connection.peer.close()
      rig.settle()
      let count = bridges.count { $0.backend.closeCodes == [1000] }
      for ends in bridges { ends.backend.peer.reset() }
      rig.run(.seconds(6))
      rig.expectClean()
      return count
    }
    #expect(arrived.contains(4), "\(arrived)")
  }

  // MARK: Time

  @Test(
    "a stream that is not read is dropped after write_stall, whatever its backend goes on sending")
  func stalledStream() {
    let rig = makeRig { settings in
      settings.timeouts.writeStall = .seconds(10)
      settings.keepAlive(nil, .seconds(50))
    }
    // INITIAL_WINDOW_SIZE 0.
    let connection = rig.http2(settings: [0, 4, 0, 0, 0, 0])
    let ends = rig.bridge(on: connection)
    for _ in 0..<30 {
      ends.backend.sendText("x")
      rig.run(.milliseconds(500))
    }
    #expect(ends.client.resetCode == 8)
    connection.peer.finish()
    rig.run(.seconds(6))
    rig.expectClean()
  }

  /// Fills the client's socket with PING answers until the gateway has bytes waiting.
  private func stick(_ rig: Rig, _ connection: HTTP2End) {
    connection.peer.isReading = false
    for _ in 0..<100 { connection.frame(6, 0, 0, Array(repeating: 1, count: 8)) }
    rig.settle()
  }

  @Test("an idle connection that takes nothing more does not outlive its good-bye")
  func stuckGoodBye() {
    let rig = makeRig { settings in
      settings.machine.bufferBytes = 128...128
      settings.timeouts.keepAlive = .seconds(5)
      settings.timeouts.writeStall = .seconds(10)
    }
    let connection = rig.http2()
    rig.run(.seconds(4))
    connection.peer.isReading = false
    // Just as much as the socket takes.
    for _ in 0..<7 { connection.frame(6, 0, 0, Array(repeating: 1, count: 8)) }
    rig.run(.seconds(30))
    rig.expectClean()
  }

  @Test("a connection that fails says why behind what is stuck")
  func stuckFailure() {
    let rig = makeRig { $0.machine.bufferBytes = 512...512 }
    let connection = rig.http2()
    rig.settle()
    stick(rig, connection)
    // DATA on stream 0.
    connection.frame(0, 0, 0, [1])
    rig.settle()
    connection.peer.isReading = true
    rig.settle()
    #expect(connection.goAways.map(\.code) == [1])
    #expect(connection.peer.hasEnded && !connection.peer.wasReset)
    connection.peer.finish()
    rig.settle()
    rig.expectClean()
  }

  // MARK: Drain

  @Test("a stream that came between the two GOAWAY of an idle connection is told to go by a drain")
  func drainAfterIdleness() {
    let rig = makeRig { $0.timeouts.keepAlive = .seconds(5) }
    let connection = rig.http2()
    connection.answersPings = false
    rig.run(atMost: .seconds(10)) { !connection.goAways.isEmpty }
    let ends = rig.bridge(on: connection)
    #expect(ends.client.isOK)
    rig.run(.seconds(2))
    #expect(connection.goAways.count == 2)
    rig.post(.drain(.drain))
    rig.run(.seconds(1))
    #expect(ends.client.closeCodes == [1001] && ends.backend.closeCodes == [1001])
    ends.client.sendClose(1001, ends: true)
    ends.backend.sendClose(1001)
    ends.backend.peer.finish()
    rig.run(.seconds(1))
    connection.peer.finish()
    rig.run(.seconds(1))
    #expect(rig.isStopped)
    rig.expectClean()
  }

  @Test("a preface that a drain finds half sent does not hold the drain up")
  func drainDuringPreface() {
    let rig = makeRig { $0.protocols = [.http11, .h2] }
    let peer = rig.simulation.connect(to: Rig.front)
    peer.send("PR")
    rig.settle()
    rig.post(.drain(.drain))
    rig.settle()
    peer.send("I * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    peer.send(HTTP2End.frame(4, 0, 0, []))
    rig.run(.seconds(2))
    #expect(peer.hasEnded)
    peer.finish()
    rig.settle()
    #expect(rig.isStopped)
    rig.expectClean()
  }

  // MARK: Memory

  @Test("streams leave room for clients and for their backends")
  func room() {
    let rig = makeRig { settings in
      settings.connections = 4
      settings.keepAlive(nil, .seconds(50))
    }
    _ = rig.backends()
    // Answers that nobody takes.
    let greedy = rig.http2(settings: [0, 4, 0, 0, 0, 0])
    let asked = (0..<20).map { _ in greedy.plain(host: "local.example") }
    rig.run(.milliseconds(100))
    let answered = asked.count(where: \.isAnswered)
    let refused = asked.count { $0.resetCode == 7 }
    #expect(answered == 4 && refused == 16)
    let others = (0..<3).map { _ in rig.http2() }
    rig.settle()
    let isGone = others.contains(where: \.isGone)
    #expect(!isGone)
    greedy.peer.reset()
    rig.settle()
    let streams = others.map { $0.webSocket() }
    rig.run(.milliseconds(100))
    let isOK = streams.allSatisfy(\.isOK)
    #expect(isOK)
    for other in others { other.peer.reset() }
    for remote in rig.remote.connections { remote.reset() }
    rig.run(.seconds(6))
    rig.expectClean()
  }

  @Test("what waits for all streams of a connection is bounded together")
  func together() {
    let rig = makeRig { settings in
      settings.keepAlive(nil, .seconds(50))
      settings.connections = 128
    }
    let list = rig.backends()
    let connection = rig.http2(settings: [0, 4, 0, 0, 0, 0])
    let streams = (0..<60).map { _ in connection.webSocket() }
    rig.run(atMost: .seconds(5)) { streams.allSatisfy(\.isAnswered) }
    // In pieces, so that a stream has something waiting when the next one is read.
    for count in [7_000, 7_000, 60_000, 60_000] {
      for end in list.ends { end.send(2, Array(repeating: 1, count: count)) }
      rig.settle()
    }
    var held = 0
    for index in 0..<rig.worker.connections.indexLimit {
      if let id = rig.worker.connections.id(at: index) { held += rig.worker.connections[id].queued }
    }
    #expect(held >= HTTP2Front.queuedMax)
    #expect(held <= HTTP2Front.queuedMax + 60 * 24 * 1024)
    connection.peer.reset()
    for end in list.ends { end.peer.reset() }
    rig.run(.seconds(6))
    rig.expectClean()
  }
}
