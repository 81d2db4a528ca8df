// Endpoints that cannot be reached, through a whole worker: when one is left alone, when it is tried
// again, and that every exchange is counted in and out.

import Bytes
import Kernel
import Support
import Testing

@testable import Gateway

@Suite("Endpoints through a worker")
struct BalanceTests {
  /// A request, answered with 101 or refused; the status.
  private func ask(_ rig: Rig) -> Int? {
    let client = rig.connect()
    rig.run(atMost: .seconds(20)) { client.status != nil }
    let status = client.status
    client.peer.close()
    rig.run(.milliseconds(20))
    return status
  }

  /// Backends at every address.
  private func accept(_ rig: Rig) {
    for index in rig.remotes.indices { _ = rig.backends(index) { $0.accept() } }
  }

  private func errorLines(_ rig: Rig) -> String {
    var bytes: [UInt8] = []
    _ = rig.errors.take(upTo: .max, into: &bytes)
    return String(decoding: bytes, as: UTF8.self)
  }

  @Test("after three failed connects an endpoint is left alone for 10 s, then tried once")
  func ejection() {
    let rig = Rig { $0.backends = 2 }
    accept(rig)
    rig.remotes[0].behaviour = .fail(.connectionRefused)
    for _ in 0..<20 { #expect(ask(rig) == 101) }
    #expect(rig.remotes[0].attempts == 3)
    #expect(rig.count(.endpointsEjected) == 1)
    #expect(errorLines(rig).contains(#""message":"endpoint taken out""#))
    rig.run(.seconds(11))
    for _ in 0..<20 { #expect(ask(rig) == 101) }
    #expect(rig.remotes[0].attempts == 4)
    #expect(rig.count(.endpointsEjected) == 2)
    rig.run(.seconds(10))
    rig.expectClean()
  }

  @Test("an endpoint that is reached again is told of, and gets its share back")
  func recovery() {
    let rig = Rig { $0.backends = 2 }
    accept(rig)
    rig.remotes[0].behaviour = .fail(.hostUnreachable)
    for _ in 0..<10 { _ = ask(rig) }
    rig.remotes[0].behaviour = .accept
    rig.run(.seconds(11))
    for _ in 0..<20 { #expect(ask(rig) == 101) }
    #expect(errorLines(rig).contains(#""message":"endpoint is back""#))
    rig.run(.seconds(40))
    let before = rig.remotes[0].attempts
    for _ in 0..<20 { #expect(ask(rig) == 101) }
    #expect(rig.remotes[0].attempts == before + 10)
    rig.run(.seconds(10))
    rig.expectClean()
  }

  @Test("connects that time out take an endpoint out like refused ones, and then nobody waits")
  func silence() {
    let rig = Rig { $0.timeouts.connect = .seconds(5) }
    rig.remote.behaviour = .hang
    for _ in 0..<3 { #expect(ask(rig) == 503) }
    let start = rig.simulation.now
    #expect(ask(rig) == 503)
    #expect(rig.simulation.now - start < .seconds(1))
    #expect(rig.remote.attempts == 3)
    rig.run(.seconds(10))
    rig.expectClean()
  }

  @Test("a shortage of our own says nothing about an endpoint")
  func ownShortage() {
    let rig = Rig()
    accept(rig)
    for errno in [Errno.tooManyFiles, .noMemory, .addressNotAvailable, .tooManyFiles] {
      rig.remote.behaviour = .fail(errno)
      #expect(ask(rig) == 503)
    }
    rig.remote.behaviour = .accept
    #expect(ask(rig) == 101)
    #expect(rig.count(.endpointsEjected) == 0)
    rig.run(.seconds(10))
    rig.expectClean()
  }

  @Test("a bridge counts at its endpoint until it is over")
  func counts() {
    let rig = Rig { $0.backends = 2 }
    accept(rig)
    let clients = (0..<4).map { _ in rig.connect() }
    rig.settle()
    #expect(rig.endpoints.map(\.inUse) == [2, 2])
    for (index, client) in clients.enumerated() {
      client.peer.close()
      rig.run(.seconds(6))
      #expect(rig.endpointsInUse == 3 - index)
    }
    rig.expectClean()
  }
}
