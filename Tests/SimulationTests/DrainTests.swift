// What a worker counts while it tells WebSockets to go.

import Bytes
import Support
import Testing

@testable import Gateway

@Suite("Drains")
struct DrainTests {
  private func tally(_ rig: Rig) -> DepartureTally.Counts {
    rig.worker.shared.process.departures.counts
  }

  @Test("a herd is told evenly, and whoever is open at the deadline is cut off and counted")
  func evenly() {
    let rig = Rig { settings in
      settings.connections = 200
      settings.timeouts.drain = .seconds(10)
      settings.timeouts.close = .seconds(60)
      settings.keepAlive(nil, .seconds(50))
    }
    let ends = (0..<60).map { _ in rig.bridge() }
    rig.post(.drain(.drain))
    rig.run(.milliseconds(4500))
    // Nine tenths of the time are for telling.
    #expect(tally(rig).due == 60 && 29...32 ~= tally(rig).told && tally(rig).cutOff == 0)
    #expect(28...32 ~= ends.count { $0.client.closeCodes == [1001] })
    rig.run(.milliseconds(4600))
    #expect(tally(rig).told == 60 && !rig.isStopped)
    for (client, backend) in ends.prefix(57) {
      for end in [client, backend] {
        end.sendClose(1001)
        end.peer.finish()
      }
    }
    rig.run(.seconds(2))
    #expect(rig.isStopped)
    #expect(tally(rig).cutOff == 3)
  }

  @Test("a part that waits for its turn when the end comes is told once")
  func partThenAll() {
    let rig = Rig { settings in
      settings.connections = 200
      settings.timeouts.close = .milliseconds(100)
      settings.keepAlive(nil, .seconds(50))
    }
    let ends = (0..<120).map { _ in rig.bridge() }
    rig.post(.dismiss(percent: 50))
    rig.run(.seconds(10))
    let before = tally(rig)
    #expect(before.due == 60 && 1..<60 ~= before.told)
    rig.post(.drain(.drain))
    rig.run(.seconds(1))
    #expect(tally(rig).due > 120)
    rig.run(.seconds(30))
    #expect(tally(rig).told == tally(rig).due && rig.isStopped && tally(rig).cutOff == 0)
    #expect(ends.allSatisfy { $0.client.closeCodes == [1001] })
  }

  @Test("who is open when the process is stopped at once is cut off")
  func stopped() {
    let rig = Rig()
    let ends = [rig.bridge(), rig.bridge()]
    rig.post(.drain(.drain))
    rig.settle()
    rig.post(.stop)
    rig.settle()
    #expect(rig.isStopped)
    #expect(tally(rig).told == 2 && tally(rig).cutOff == 2)
    #expect(ends.allSatisfy { $0.client.closeCodes == [1001] })
  }
}
