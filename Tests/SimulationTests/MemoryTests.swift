// Short of memory: who is refused, who is let go, and who stays.

import Bytes
import Kernel
import Support
import Testing

@testable import Gateway

@Suite("Memory")
struct MemoryTests {
  @Test("refusing begins at 90 % and ends below 85 %, closing begins at 95 %")
  func steps() {
    let steps: [(UInt64, MemoryPressure)] = [
      (0, .calm), (89, .calm), (90, .short), (89, .short), (85, .short), (84, .calm), (89, .calm),
      (95, .critical), (94, .short), (96, .critical), (86, .short), (84, .calm), (200, .critical),
      (50, .calm),
    ]
    var pressure = MemoryPressure.calm
    for (used, expected) in steps {
      pressure = pressure.next(used: used * 1_000_000, ceiling: 100_000_000)
      #expect(pressure == expected, "\(used) %")
    }
    #expect(MemoryPressure.calm.next(used: 1, ceiling: 0) == .critical)
  }

  private func request(_ path: String = "/") -> String {
    "GET \(path) HTTP/1.1\r\nHost: local.example\r\n\r\n"
  }

  @Test("new clients get 503 and are closed, those that were there are served")
  func newClients() {
    let rig = Rig()
    let old = rig.connect(sending: request())
    rig.settle()
    #expect(old.status == 200)
    rig.post(.memory(.short))
    rig.settle()
    let new = rig.connect(sending: request())
    old.peer.send(request())
    rig.run(.seconds(1))
    #expect(new.status == 503 && new.isGone)
    #expect(old.peer.hasEnded == false)
    #expect(rig.count(.memoryRefusals) == 1 && rig.count(.memoryCloses) == 0)
    rig.post(.memory(.calm))
    rig.settle()
    let last = rig.connect(sending: request())
    rig.settle()
    #expect(last.status == 200)
    for end in [old, new, last] { end.peer.finish() }
    rig.run(.seconds(6))
    rig.expectClean()
  }

  @Test("whoever was refused only for a moment is served once there is memory again")
  func forAMoment() {
    let rig = Rig()
    rig.post(.memory(.short))
    rig.settle()
    let client = rig.connect(sending: "")
    rig.settle()
    rig.post(.memory(.calm))
    rig.settle()
    client.peer.send(request())
    rig.settle()
    #expect(client.status == 200)
    client.peer.finish()
    rig.run(.seconds(6))
    rig.expectClean()
  }

  @Test("at 95 % idle connections go; requests under way and whoever has not asked yet stay")
  func idle() {
    let rig = Rig()
    let idle = (0..<3).map { _ in rig.connect(sending: request()) }
    let waiting = rig.connect(sending: Rig.request)
    let silent = rig.connect(sending: "")
    rig.settle()
    #expect(idle.allSatisfy { $0.status == 200 })
    rig.post(.memory(.critical))
    rig.settle()
    #expect(idle.allSatisfy { $0.isGone })
    #expect(!waiting.isGone && !silent.isGone)
    #expect(rig.count(.memoryCloses) == 3)
    for end in idle + [waiting, silent] { end.peer.finish() }
    rig.run(.seconds(20))
    rig.expectClean()
  }
}
