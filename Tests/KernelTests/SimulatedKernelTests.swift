// The simulation is a tool of other tests; here it is the thing tested: it keeps TCP's promises, its
// randomness comes from the seed alone, and it notices a worker that breaks the rules.

import Bytes
import Kernel
import Support
import Testing

private let front = SocketAddress.ip(.v4(0x7f00_0001), port: 8_080)
private let backend = SocketAddress.ip(.v4(0x0a00_0063), port: 3_000)

/// The smallest worker: sends back what it reads, and ends when the peer has ended.
private struct EchoWorker<K: Kernel> {
  var kernel: K
  let listener: Descriptor
  var pending: [Int32: ByteState] = [:]
  let buffer = SharedBuffer(capacity: 4_096)
  var events: [Event] = []

  struct ByteState {
    var bytes: [UInt8] = []
    var hasEnded = false
  }

  init(kernel: K, listener: Descriptor) {
    self.kernel = kernel
    self.listener = listener
    _ = self.kernel.watch(listener, .read, token: UInt64(listener.number))
  }

  mutating func turn() {
    kernel.wait(.seconds(60), into: &events)
    for event in events {
      let descriptor = Descriptor(Int32(event.token))
      if descriptor == listener { acceptOne() } else { serve(descriptor) }
    }
  }

  private mutating func acceptOne() {
    guard case .accepted(let descriptor, _) = kernel.accept(listener) else { return }
    pending[descriptor.number] = ByteState()
    _ = kernel.watch(descriptor, .read, token: UInt64(descriptor.number))
  }

  private mutating func serve(_ descriptor: Descriptor) {
    guard var state = pending[descriptor.number] else { return }
    var hasFailed = false
    if !state.hasEnded, state.bytes.count < 10_000 {
      buffer.reset()
      switch kernel.receive(descriptor, into: buffer, limit: 4_096) {
      case .bytes: state.bytes += buffer.withSpan { span in (0..<span.count).map { span[$0] } }
      case .endOfStream: state.hasEnded = true
      case .failed: hasFailed = true
      case .wouldBlock: break
      }
    }
    if !state.bytes.isEmpty {
      switch kernel.send(descriptor, state.bytes.span) {
      case .bytes(let count): state.bytes.removeFirst(count)
      case .failed: hasFailed = true
      default: break
      }
    }
    if hasFailed || (state.hasEnded && state.bytes.isEmpty) {
      pending[descriptor.number] = nil
      return kernel.close(descriptor)
    }
    pending[descriptor.number] = state
    var interest: Interest = state.bytes.isEmpty ? [] : .write
    if !state.hasEnded, state.bytes.count < 10_000 { interest.insert(.read) }
    _ = kernel.rewatch(descriptor, interest, token: UInt64(descriptor.number))
  }
}

/// Runs some clients against an echo worker. Returns the trace.
private func runEchoes(seed: UInt64) -> UInt64 {
  let simulation = Simulation(seed: seed)
  var worker = EchoWorker(kernel: simulation.makeKernel(), listener: simulation.listen(front))
  var random = SeededRandom(seed: seed ^ 1)
  var clients: [(peer: SimulatedPeer, sent: [UInt8])] = []
  for index in 0..<5 {
    let bytes = random.bytes(Int.random(in: 0...30_000, using: &random))
    simulation.after(.milliseconds(Int64(index) * 3)) {
      let peer = simulation.connect(to: front)
      clients.append((peer, bytes))
      peer.send(bytes)
      peer.finish()
      if index == 4 {
        peer.isReading = false
        simulation.after(.seconds(1)) { peer.isReading = true }
      }
    }
  }
  var turns = 0
  while turns < 1_000_000, clients.count < 5 || clients.contains(where: { !$0.peer.hasEnded }) {
    worker.turn()
    turns += 1
  }
  for client in clients {
    #expect(client.peer.received == client.sent, "seed \(seed)")
    #expect(client.peer.hasEnded && !client.peer.wasReset, "seed \(seed)")
  }
  #expect(simulation.openDescriptors == [worker.listener.number], "seed \(seed)")
  #expect(simulation.misuses == [], "seed \(seed)")
  return simulation.trace
}

@Suite("The simulated kernel")
struct SimulatedKernelTests {
  @Test("loses, repeats and reorders no byte, and the trace is a function of the seed")
  func echoes() {
    var traces: Set<UInt64> = []
    for seed in 0..<20 as Range<UInt64> {
      let trace = runEchoes(seed: seed)
      if seed < 3 { #expect(trace == runEchoes(seed: seed)) }
      traces.insert(trace)
    }
    #expect(traces.count == 20)
  }

  private func read(
    _ kernel: SimulatedKernel, _ descriptor: Descriptor
  ) -> (IOOutcome, [UInt8]) {
    let buffer = SharedBuffer(capacity: 1_024)
    let outcome = kernel.receive(descriptor, into: buffer, limit: 1_024)
    return (outcome, buffer.withSpan { span in (0..<span.count).map { span[$0] } })
  }

  private func accept(
    _ kernel: SimulatedKernel, _ listener: Descriptor
  ) throws -> Descriptor {
    guard case .accepted(let descriptor, let address) = kernel.accept(listener) else {
      throw Errno.timedOut
    }
    #expect(address.ip == .v4(0x0a00_0001))
    return descriptor
  }

  @Test("a peer's FIN ends the stream for good, and the other direction stays open")
  func halfClose() throws {
    let simulation = Simulation(seed: 1, options: .calm)
    let kernel = simulation.makeKernel()
    let listener = simulation.listen(front)
    let peer = simulation.connect(to: front)
    let descriptor = try accept(kernel, listener)
    peer.send("ab")
    peer.finish()
    simulation.settle()
    #expect(read(kernel, descriptor) == (.bytes(2), Array("ab".utf8)))
    #expect(read(kernel, descriptor).0 == .endOfStream)
    #expect(read(kernel, descriptor).0 == .endOfStream)
    #expect(kernel.send(descriptor, Array("cd".utf8).span) == .bytes(2))
    kernel.close(descriptor)
    simulation.settle()
    #expect(peer.takeReceived() == Array("cd".utf8))
    #expect(peer.hasEnded && !peer.wasReset)
    #expect(simulation.misuses == [])
  }

  @Test("a reset is an error once, then the end; writing breaks the pipe")
  func reset() throws {
    let simulation = Simulation(seed: 1, options: .calm)
    let kernel = simulation.makeKernel()
    let listener = simulation.listen(front)
    let peer = simulation.connect(to: front)
    let descriptor = try accept(kernel, listener)
    peer.reset()
    #expect(read(kernel, descriptor).0 == .failed(.connectionReset))
    #expect(read(kernel, descriptor).0 == .endOfStream)
    #expect(kernel.send(descriptor, [1].span) == .failed(.brokenPipe))
    kernel.close(descriptor)
    #expect(simulation.openDescriptors == [listener.number])
  }

  @Test("closing with bytes unread resets the peer, as does an abort")
  func closeUnread() throws {
    let simulation = Simulation(seed: 1, options: .calm)
    let kernel = simulation.makeKernel()
    let listener = simulation.listen(front)
    for aborting in [false, true] {
      let peer = simulation.connect(to: front)
      let descriptor = try accept(kernel, listener)
      if !aborting { peer.send("unread") }
      simulation.settle()
      aborting ? kernel.abort(descriptor) : kernel.close(descriptor)
      #expect(peer.wasReset)
    }
    #expect((simulation.closes, simulation.aborts) == (1, 1))
  }

  @Test("a write to a peer that has closed succeeds, and is answered by a reset")
  func writeAfterClose() throws {
    let simulation = Simulation(seed: 1, options: .calm)
    let kernel = simulation.makeKernel()
    let listener = simulation.listen(front)
    let peer = simulation.connect(to: front)
    let descriptor = try accept(kernel, listener)
    peer.close()
    #expect(kernel.send(descriptor, [1].span) == .bytes(1))
    // After its FIN, the reset is EPIPE.
    #expect(kernel.send(descriptor, [1].span) == .failed(.brokenPipe))
  }

  @Test("a peer that does not read fills its window; reading opens it again")
  func window() throws {
    var options = SimulationOptions.calm
    options.bufferBytes = 10...10
    let simulation = Simulation(seed: 1, options: options)
    let kernel = simulation.makeKernel()
    let listener = simulation.listen(front)
    let peer = simulation.connect(to: front)
    let descriptor = try accept(kernel, listener)
    peer.isReading = false
    #expect(kernel.send(descriptor, [UInt8](repeating: 1, count: 16).span) == .bytes(10))
    #expect(kernel.send(descriptor, [1].span) == .wouldBlock)
    _ = kernel.watch(descriptor, .write, token: 4)
    var events: [Event] = []
    kernel.wait(.seconds(1), into: &events)
    #expect(events.isEmpty)
    peer.isReading = true
    kernel.wait(.seconds(1), into: &events)
    #expect(events.map(\.token) == [4])
    #expect(peer.received.count == 10)
  }

  @Test("connections out are accepted, refused or never answered, by what is at the address")
  func connecting() throws {
    for seed in 0..<30 as Range<UInt64> {
      let simulation = Simulation(seed: seed)
      let kernel = simulation.makeKernel()
      let remote = simulation.remote(at: backend)
      var events: [Event] = []
      remote.onConnect = { $0.send("hello") }
      switch kernel.connect(backend) {
      case .failed(let error): Issue.record("\(error)")
      case .connected(let descriptor): kernel.close(descriptor)
      case .inProgress(let descriptor):
        _ = kernel.watch(descriptor, .write, token: 1)
        kernel.wait(.seconds(1), into: &events)
        #expect(events.map(\.writable) == [true])
        #expect(kernel.pendingError(descriptor) == nil)
        kernel.close(descriptor)
      }
      remote.behaviour = .fail(.hostUnreachable)
      switch kernel.connect(backend) {
      case .failed(let error): #expect(error == .hostUnreachable)
      case .connected: Issue.record("connected")
      case .inProgress(let descriptor):
        _ = kernel.watch(descriptor, .write, token: 1)
        kernel.wait(.seconds(1), into: &events)
        #expect(events.map(\.broken) == [true])
        #expect(kernel.pendingError(descriptor) == .hostUnreachable)
        #expect(kernel.pendingError(descriptor) == nil)
        kernel.close(descriptor)
      }
      remote.behaviour = .hang
      guard case .inProgress(let descriptor) = kernel.connect(backend) else { throw Errno.timedOut }
      _ = kernel.watch(descriptor, .write, token: 1)
      let before = kernel.now()
      kernel.wait(.seconds(5), into: &events)
      #expect(events.isEmpty)
      #expect(kernel.now() - before == .seconds(5))
      kernel.close(descriptor)
      #expect(remote.attempts == 3)
      #expect(remote.connections.count == 1)
      #expect(simulation.openDescriptors == [])
      #expect(simulation.misuses == [])
    }
  }

  @Test("below the descriptor limit accept and connect fail, and the client stays in the queue")
  func descriptorLimit() throws {
    let simulation = Simulation(seed: 1, options: .calm)
    let kernel = simulation.makeKernel()
    let listener = simulation.listen(front)
    simulation.descriptorLimit = 1
    let peer = simulation.connect(to: front)
    guard case .failed(.tooManyFiles) = kernel.accept(listener) else { throw Errno.timedOut }
    guard case .failed(.tooManyFiles) = kernel.connect(backend) else { throw Errno.timedOut }
    simulation.descriptorLimit = 2
    let descriptor = try accept(kernel, listener)
    #expect(!peer.wasReset)
    kernel.close(descriptor)
  }

  @Test("a wake-up interrupts a wait, and the agenda runs at its time")
  func wakeups() {
    let simulation = Simulation(seed: 1, options: .calm)
    let kernel = simulation.makeKernel()
    let wakeup = simulation.makeWakeup()
    _ = kernel.watch(wakeup, .read, token: 2)
    let start = simulation.now
    simulation.after(.milliseconds(40)) { simulation.wake(wakeup) }
    var events: [Event] = []
    kernel.wait(nil, into: &events)
    #expect(events.map(\.token) == [2])
    #expect(simulation.now == start + .milliseconds(40))
    kernel.drainWakeups(wakeup)
    kernel.wait(nil, into: &events)
    #expect(events.isEmpty)
    #expect(simulation.stalls == 1)
  }

  @Test("breaking the rules is recorded")
  func misuse() throws {
    let simulation = Simulation(seed: 1, options: .calm)
    let kernel = simulation.makeKernel()
    let listener = simulation.listen(front)
    _ = simulation.connect(to: front)
    let descriptor = try accept(kernel, listener)
    _ = kernel.watch(descriptor, .write, token: 1)
    _ = kernel.watch(descriptor, .write, token: 1)
    #expect(simulation.misuses.count == 1)
    var events: [Event] = []
    for _ in 0..<200 { kernel.wait(nil, into: &events) }
    #expect(simulation.misuses.count == 2)
    kernel.shutdownWrite(descriptor)
    _ = kernel.send(descriptor, [1].span)
    #expect(simulation.misuses.count == 3)
    kernel.close(descriptor)
    kernel.close(descriptor)
    _ = read(kernel, descriptor)
    _ = kernel.rewatch(descriptor, .read, token: 1)
    #expect(simulation.misuses.count == 6)
  }
}
