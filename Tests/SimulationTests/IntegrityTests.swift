// The property that matters most, over thousands of seeds: whatever the network does, and however
// often the gateway puts in Pings of its own, each side gets exactly the frames the other has sent.
//
// BASCULE_SEEDS=n runs n seeds instead of 10,000; BASCULE_SEED=n runs that one.

import Bytes
import Foundation
import Support
import Testing

@testable import Gateway

/// How the bridges of a run end.
private enum Ending: CaseIterable {
  case clientCloses, backendCloses, bothClose
  case clientEnds, backendEnds, clientResets, backendResets
  case drain
}

private struct Outcome {
  var trace: UInt64
  var problem: String?
  var pings = 0
}

private struct Run {
  let rig: Rig
  var random: SeededRandom
  var pairs: [Pair] = []
  let ending: Ending
  /// The end comes when everything has arrived; otherwise in the middle of it.
  let isPatient: Bool

  init(seed: UInt64) {
    random = SeededRandom(seed: seed)
    rig = Rig { settings in
      settings.seed = seed
      settings.machine = SimulationOptions()
      settings.machine.bufferBytes = 64...65_536
      settings.keepAlive(.milliseconds(20), .seconds(20))
      settings.connections = 4
    }
    ending = Ending.allCases.randomElement(using: &random) ?? .drain
    isPatient = random.chance(70)
  }

  mutating func play() -> Outcome {
    for _ in 0..<(random.chance(70) ? 1 : 2) {
      if let problem = open() { return Outcome(trace: rig.simulation.trace, problem: problem) }
    }
    let pairs = self.pairs
    if isPatient {
      let isDone = rig.turn(atMost: .seconds(60)) {
        pairs.allSatisfy { $0.isDelivered || $0.complaint != nil }
      }
      if !isDone { return outcome("not everything arrived") }
      if random.chance(50) { rig.run(.milliseconds(Int64.random(in: 1...100, using: &random))) }
    } else {
      rig.run(.milliseconds(Int64.random(in: 0...40, using: &random)))
    }
    end()
    let isOver = rig.turn(atMost: .seconds(60)) { [rig] in rig.isEmpty || rig.isStopped }
    rig.simulation.advance(by: .seconds(1))
    return outcome(isOver ? leftovers() : "slots are still taken")
  }

  private mutating func open() -> String? {
    let pair = Pair(rig: rig, random: &random)
    pairs.append(pair)
    rig.remote.onConnect = { [unowned pair] in pair.backend.begin($0) }
    // Now and then a message that fills buffers and pauses the other direction.
    let large = random.chance(3) ? 17.0 : 13.0
    pair.client.writeScript(
      messages: Int.random(in: 0...4, using: &random), sizeLog2Max: large, foreignPings: 3)
    pair.backend.writeScript(
      messages: Int.random(in: 0...4, using: &random), sizeLog2Max: 13, foreignPings: 3)
    pair.client.begin(rig.simulation.connect(to: Rig.front))
    if random.chance(30) { pair.client.sendSome() }
    keepSending(pair.client)
    keepSending(pair.backend)
    let isConnected = rig.turn(atMost: .seconds(10)) { pair.backend.peer != nil }
    return isConnected ? nil : "no connection to the backend"
  }

  private mutating func keepSending(_ player: Player) {
    let pause = TimeSpan.milliseconds(Int64.random(in: 1...12, using: &random))
    Self.keepSending(player, every: pause, rig.simulation)
  }

  private static func keepSending(
    _ player: Player, every pause: TimeSpan, _ simulation: Simulation
  ) {
    simulation.after(pause) { [unowned simulation] in
      player.sendSome()
      if !player.script.isEmpty, !player.isGone {
        keepSending(player, every: pause, simulation)
      }
    }
  }

  private mutating func end() {
    for pair in pairs {
      pair.hasEnded = true
      let close: [UInt8] = random.chance(30) ? [] : [0x03, 0xe8] + Array("bye".utf8)
      switch ending {
      case .clientCloses: pair.client.sendClose(close)
      case .backendCloses: pair.backend.sendClose(close)
      case .bothClose:
        pair.client.sendClose(close)
        pair.backend.sendClose(close)
      case .clientEnds: pair.client.vanish(byReset: false)
      case .backendEnds: pair.backend.vanish(byReset: false)
      case .clientResets: pair.client.vanish(byReset: true)
      case .backendResets: pair.backend.vanish(byReset: true)
      case .drain: break
      }
    }
    if ending == .drain { rig.post(.drain(.drain)) }
  }

  private func leftovers() -> String? {
    if !rig.simulation.misuses.isEmpty { return "misuse: \(rig.simulation.misuses)" }
    var own = [rig.wakeup.number]
    if rig.worker.listeners[0].isOpen { own.append(rig.listener.number) }
    let open = rig.simulation.openDescriptors
    if open != own.sorted() { return "descriptors \(open) are open" }
    if !rig.isEmpty { return "slots are still taken" }
    return nil
  }

  private func outcome(_ problem: String?) -> Outcome {
    Outcome(
      trace: rig.simulation.trace,
      problem: pairs.lazy.compactMap(\.complaint).first ?? problem,
      pings: pairs.reduce(0) { $0 + $1.client.gatewayPings + $1.backend.gatewayPings })
  }
}

private let seedCount = ProcessInfo.processInfo.environment["BASCULE_SEEDS"].flatMap(UInt64.init)
private let onlySeed = ProcessInfo.processInfo.environment["BASCULE_SEED"].flatMap(UInt64.init)
private let partCount: UInt64 = 8

@Suite("Integrity of a bridge on a simulated machine")
struct IntegrityTests {
  @Test(
    "every frame arrives whole, unchanged and in order, and everything is freed",
    arguments: 0..<partCount)
  func integrity(part: UInt64) {
    if let onlySeed {
      if part == 0 { check(onlySeed) }
      return
    }
    let seeds = (seedCount ?? 10_000) / partCount
    var pings = 0
    for seed in part * seeds..<(part + 1) * seeds {
      guard let found = check(seed) else { return }
      pings += found
    }
    // The property means nothing where no Ping of ours is among the frames.
    #expect(seeds < 20 || pings > seeds, "\(pings) Pings of the gateway in \(seeds) runs")
  }

  @Test("the same seed gives the same trace")
  func traces() {
    var traces: Set<UInt64> = []
    for seed in 0..<20 as Range<UInt64> {
      var first = Run(seed: seed)
      var second = Run(seed: seed)
      let trace = first.play().trace
      #expect(second.play().trace == trace, "seed \(seed)")
      traces.insert(trace)
    }
    #expect(traces.count == 20)
  }

  @discardableResult
  private func check(_ seed: UInt64) -> Int? {
    var run = Run(seed: seed)
    let outcome = run.play()
    guard let problem = outcome.problem else { return outcome.pings }
    Issue.record(
      """
      \(problem) (\(run.ending), \(run.isPatient ? "when all had arrived" : "amid the traffic"))
      again: BASCULE_SEED=\(seed) swift test --filter SimulationTests.IntegrityTests
      """)
    return nil
  }
}
