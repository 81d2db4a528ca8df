// Connections of many streams over an unkind network, drawn from a seed: streams that behave among
// such that are reset, ended too early, refused, stalled or flooded. Whatever those do, the others get
// every message, and at the end nothing of anybody is left.
//
// BASCULE_SEEDS=n runs n seeds instead of 240; BASCULE_SEED=n runs that one.

import Bytes
import Foundation
import Support
import Testing

@testable import Gateway

/// What becomes of a stream.
private enum Fate: CaseIterable {
  /// Messages both ways, a close handshake, and both ends of the stream.
  case healthy
  case resets, ends, endsWithHandshake, vanishedBackend
  case plain, upload
  /// Its client gives no credit: what its backend sends waits.
  case stalled
}

private enum Finale: CaseIterable {
  case goAway, finish, reset, drain, idle, broken
}

private final class Wire {
  let fate: Fate
  let stream: StreamEnd
  var backend: End?
  let messages: Int
  var sent = 0

  init(_ fate: Fate, _ stream: StreamEnd, messages: Int) {
    self.fate = fate
    self.stream = stream
    self.messages = messages
  }

  var expected: [String] { (0..<sent).map(text) }
  func text(_ index: Int) -> String {
    String(repeating: "\(stream.id)-\(index) ", count: 1 + index * index * 100)
  }
}

private final class HTTP2Run {
  let rig: Rig
  var random: SeededRandom
  let finale: Finale
  private var connection: HTTP2End
  private var wires: [Wire] = []
  private var ends: [End] = []
  private var floods = 0

  init(seed: UInt64) {
    random = SeededRandom(seed: seed)
    rig = Rig { settings in
      settings.seed = seed
      settings.machine = SimulationOptions()
      settings.machine.bufferBytes = 256...65_536
      settings.protocols = [.h2]
      settings.keepAlive(nil, .seconds(50))
      settings.timeouts.keepAlive = .seconds(5)
      settings.timeouts.writeStall = .seconds(10)
      settings.connections = 16
    }
    finale = Finale.allCases.randomElement(using: &random) ?? .drain
    connection = rig.http2()
    rig.remote.onConnect = { [unowned self] peer in adopt(End(peer, isClient: false)) }
  }

  /// The path of its request tells a backend whose it is.
  private func adopt(_ end: End) {
    ends.append(end)
    end.onRequest = { [unowned self] end in
      let target = end.head.split(separator: " ")[1]
      let id = target.split(separator: "?").last.flatMap { UInt32($0) }
      let wire = wires.first { $0.stream.id == id }
      wire?.backend = end
      if wire?.fate == .vanishedBackend { return end.peer.reset() }
      guard end.field("Upgrade") == nil else { return end.accept() }
      end.peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    }
  }

  func play() -> String? {
    for _ in 0..<Int.random(in: 1...12, using: &random) {
      open()
      if random.chance(50) { step() }
    }
    for _ in 0..<Int.random(in: 5...40, using: &random) { step() }
    let isDone = rig.run(atMost: .seconds(20)) { [self] in
      for wire in healthy { say(wire) }
      return healthy.allSatisfy(isDelivered)
    }
    if !isDone { return "not everything arrived" }
    if let problem = closeHealthy() { return problem }
    end()
    rig.run(atMost: .seconds(60)) { [rig] in rig.isEmpty || rig.isStopped }
    rig.simulation.advance(by: .seconds(1))
    return leftovers()
  }

  private var healthy: [Wire] { wires.filter { $0.fate == .healthy } }

  private func isDelivered(_ wire: Wire) -> Bool {
    guard let backend = wire.backend, wire.sent == wire.messages,
      backend.frames.count >= wire.sent, wire.stream.frames.count >= wire.sent
    else { return false }
    return backend.texts == wire.expected && wire.stream.texts == wire.expected
  }

  private func open() {
    let fate = Fate.allCases.randomElement(using: &random) ?? .healthy
    let stream: StreamEnd
    switch fate {
    case .plain: stream = connection.plain()
    case .upload: stream = connection.plain("POST", ends: false)
    case .endsWithHandshake: stream = connection.webSocket(ends: true)
    default: stream = connection.webSocket()
    }
    stream.givesCredit = fate != .stalled
    wires.append(Wire(fate, stream, messages: Int.random(in: 0...9, using: &random)))
  }

  /// Something happens on one stream, or to the connection.
  private func step() {
    if random.chance(5) { flood() }
    if let wire = wires.randomElement(using: &random) { advance(wire) }
    for wire in healthy { say(wire) }
    rig.run(.milliseconds(Int64.random(in: 0...3, using: &random)))
  }

  private func say(_ wire: Wire) {
    guard wire.backend != nil, wire.sent < wire.messages else { return }
    let text = wire.text(wire.sent)
    wire.stream.sendText(text)
    wire.backend?.sendText(text)
    wire.sent += 1
  }

  private func advance(_ wire: Wire) {
    switch wire.fate {
    case .healthy, .plain, .vanishedBackend, .endsWithHandshake: break
    case .upload: wire.stream.send(Array(repeating: 1, count: 30_000))
    case .stalled:
      if wire.backend != nil { wire.backend?.send(2, Array(repeating: 1, count: 40_000)) }
    case .resets: random.chance(50) ? wire.stream.reset() : wire.stream.sendText("cut")
    case .ends: random.chance(30) ? wire.stream.end() : wire.stream.sendText("then the end")
    }
  }

  /// Below every budget: nobody may suffer from it.
  private func flood() {
    guard floods < 3 else { return }
    floods += 1
    for _ in 0..<20 {
      connection.frame(6, 0, 0, Array(repeating: 3, count: 8))
      connection.frame(8, 0, 0, HTTP2End.big(1))
    }
    for _ in 0..<5 { connection.webSocket().reset() }
  }

  private func closeHealthy() -> String? {
    for wire in healthy where random.chance(70) {
      wire.stream.sendClose(1000)
      let isTold = rig.run(atMost: .seconds(5)) { wire.backend?.closeCodes == [1000] }
      if !isTold { return "no Close for the backend" }
      wire.backend?.sendClose(1000)
      wire.backend?.peer.finish()
      let isOver = rig.run(atMost: .seconds(5)) { wire.stream.peerHasEnded }
      if !isOver || wire.stream.closeCodes != [1000] { return "no Close for the client" }
      wire.stream.end()
    }
    return nil
  }

  private func end() {
    switch finale {
    case .goAway: connection.goAway()
    case .finish: connection.peer.finish()
    case .reset: connection.peer.reset()
    case .drain: rig.post(.drain(.drain))
    case .idle: break
    // DATA of no stream.
    case .broken: connection.frame(0, 0, 0, [1])
    }
    rig.run(.milliseconds(Int64.random(in: 0...20, using: &random)))
    // What is still there goes by itself, one by one.
    for wire in wires {
      if !wire.stream.isOver, !connection.isGone, finale != .drain { wire.stream.reset() }
      if let backend = wire.backend, random.chance(50) { backend.peer.finish() }
    }
    rig.run(atMost: .seconds(40)) { [connection] in connection.isGone }
    connection.peer.close()
    for remote in rig.remote.connections { remote.close() }
  }

  private func leftovers() -> String? {
    if !rig.simulation.misuses.isEmpty { return "misuse: \(rig.simulation.misuses)" }
    if !rig.isEmpty || rig.worker.streams != 0 { return "slots are still taken" }
    let own = rig.worker.listeners[0].isOpen ? 2 : 1
    return rig.simulation.openDescriptors.count == own ? nil : "descriptors are open"
  }
}

private let seedCount = ProcessInfo.processInfo.environment["BASCULE_SEEDS"].flatMap(UInt64.init)
private let onlySeed = ProcessInfo.processInfo.environment["BASCULE_SEED"].flatMap(UInt64.init)
private let partCount: UInt64 = 8

@Suite("Many streams on a simulated machine")
struct HTTP2RunTests {
  @Test(
    "streams that behave lose nothing by the others, and everything is freed",
    arguments: 0..<partCount)
  func streams(part: UInt64) {
    if let onlySeed {
      if part == 0 { check(onlySeed) }
      return
    }
    let seeds = (seedCount ?? 240) / partCount
    for seed in part * seeds..<(part + 1) * seeds { if !check(seed) { return } }
  }

  @discardableResult
  private func check(_ seed: UInt64) -> Bool {
    let run = HTTP2Run(seed: seed)
    guard let problem = run.play() else { return true }
    Issue.record(
      """
      \(problem) (\(run.finale))
      again: BASCULE_SEED=\(seed) swift test --filter SimulationTests.HTTP2RunTests
      """)
    return false
  }
}
