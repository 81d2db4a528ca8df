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
}
