// `Kernel` over a `Simulation`: what a worker sees of the simulated machine. Readiness is
// level-triggered and always true; reads and writes are cut short or block at random all the same.

import Bytes
import Kernel

final class SimulatedPoller {
  var interests: [Int32: (interest: Interest, token: UInt64)] = [:]
  /// Waits with events since a call last achieved something.
  var idleTurns = 0
}

/// A value to be stored in a worker; the test keeps the `Simulation`.
public struct SimulatedKernel: Kernel {
  public let simulation: Simulation
  private let poller = SimulatedPoller()

  init(simulation: Simulation) {
    self.simulation = simulation
    simulation.pollers.append(poller)
  }

  public func now() -> MonotonicTime { simulation.now }
  public func wallClock() -> Int64 { 1_800_000_000_000_000_000 + simulation.now.nanoseconds }
  public func random() -> UInt64 { simulation.entropy.next() }

  // MARK: Connections

  public func accept(_ descriptor: Descriptor) -> AcceptOutcome {
    guard case .listener(let listener)? = simulation.objects[descriptor.number] else {
      return misuse(.failed(.other(9)), "accept on \(descriptor.number)")
    }
    guard !listener.pending.isEmpty else { return .wouldBlock }
    if simulation.isFull { return .failed(.tooManyFiles) }
    if simulation.blocksForNoReason { return .retry }
    let socket = listener.pending.removeFirst()
    let accepted = simulation.open(.socket(socket))
    progress(1, UInt64(accepted.number))
    return .accepted(accepted, socket.address)
  }

  public func turnAway(_ descriptor: Descriptor) -> Bool {
    guard case .listener(let listener)? = simulation.objects[descriptor.number] else {
      return misuse(false, "turnAway on \(descriptor.number)")
    }
    guard !listener.pending.isEmpty else { return false }
    close(simulation.open(.socket(listener.pending.removeFirst())))
    return true
  }

  public func connect(_ address: SocketAddress) -> ConnectOutcome {
    connect(address, delayingAck: false)
  }

  public func connect(_ address: SocketAddress, delayingAck: Bool) -> ConnectOutcome {
    let outcome = simulation.connectOut(address)
    switch outcome {
    case .connected(let descriptor): progress(2, UInt64(descriptor.number))
    case .inProgress(let descriptor): progress(3, UInt64(descriptor.number))
    case .failed: progress(4, 0)
    }
    return outcome
  }

  public func pendingError(_ descriptor: Descriptor) -> Errno? {
    guard let socket = socket(descriptor, "pendingError") else { return nil }
    defer { socket.pendingError = nil }
    return socket.pendingError
  }

  // MARK: Bytes

  public func receive(
    _ descriptor: Descriptor, into buffer: SharedBuffer, limit: Int
  ) -> IOOutcome {
    guard let socket = socket(descriptor, "receive") else { return .failed(.other(9)) }
    let room = min(limit, buffer.room)
    if room <= 0 { return misuse(.endOfStream, "receive without room") }
    if socket.state == .connecting || simulation.blocksForNoReason { return .wouldBlock }
    if !socket.inbox.isEmpty {
      let bytes = socket.take(simulation.amount(min(room, socket.inbox.count)))
      buffer.append(bytes)
      progress(5, UInt64(descriptor.number), UInt64(bytes.count))
      return .bytes(bytes.count)
    }
    if let error = socket.pendingError {
      socket.pendingError = nil
      progress(6, UInt64(descriptor.number))
      return .failed(error)
    }
    guard socket.hasEnded || socket.state == .dead else { return .wouldBlock }
    progress(7, UInt64(descriptor.number))
    return .endOfStream
  }

  public func send(_ descriptor: Descriptor, _ bytes: Span<UInt8>) -> IOOutcome {
    send(descriptor, bytes, finFollows: false)
  }

  public func send(
    _ descriptor: Descriptor, _ bytes: Span<UInt8>, finFollows: Bool
  ) -> IOOutcome {
    guard let socket = socket(descriptor, "send") else { return .failed(.other(9)) }
    if bytes.isEmpty { return .bytes(0) }
    if socket.state == .connecting || simulation.blocksForNoReason { return .wouldBlock }
    if let error = socket.pendingError {
      socket.pendingError = nil
      progress(8, UInt64(descriptor.number))
      return .failed(error)
    }
    if socket.writeIsShut { return misuse(.failed(.brokenPipe), "send after shutdownWrite") }
    if socket.state == .dead { return .failed(.brokenPipe) }
    let count = simulation.amount(min(bytes.count, socket.other?.room ?? bytes.count))
    if count == 0 { return .wouldBlock }
    simulation.transmit(.bytes((0..<count).map { bytes[$0] }), from: socket)
    progress(9, UInt64(descriptor.number), UInt64(count))
    return .bytes(count)
  }

  /// What the other end has not read.
  /// The gateway's own side has one address in every simulation.
  public func localAddress(of descriptor: Descriptor) -> SocketAddress? {
    socket(descriptor, "localAddress").map { _ in .ip(.v4(0x7f00_0001), port: 8_080) }
  }

  public func unacknowledged(_ descriptor: Descriptor) -> Int {
    guard let socket = socket(descriptor, "unacknowledged") else { return 0 }
    return socket.other?.unread ?? 0
  }

  public func acknowledgeNow(_ descriptor: Descriptor) {
    _ = socket(descriptor, "acknowledgeNow")
  }

  public func shutdownWrite(_ descriptor: Descriptor) {
    guard let socket = socket(descriptor, "shutdownWrite") else { return }
    progress(10, UInt64(descriptor.number))
    simulation.shut(socket)
  }

  public func close(_ descriptor: Descriptor) {
    progress(11, UInt64(descriptor.number))
    simulation.closes += 1
    simulation.closeDescriptor(descriptor, aborting: false)
  }

  public func abort(_ descriptor: Descriptor) {
    progress(12, UInt64(descriptor.number))
    simulation.aborts += 1
    simulation.closeDescriptor(descriptor, aborting: true)
  }

  // MARK: Readiness

  public func watch(_ descriptor: Descriptor, _ interest: Interest, token: UInt64) -> Bool {
    guard simulation.objects[descriptor.number] != nil else {
      return misuse(false, "watch on \(descriptor.number), which is not open")
    }
    guard poller.interests[descriptor.number] == nil else {
      return misuse(false, "\(descriptor.number) watched twice")
    }
    poller.interests[descriptor.number] = (interest, token)
    return true
  }

  public func rewatch(_ descriptor: Descriptor, _ interest: Interest, token: UInt64) -> Bool {
    guard poller.interests[descriptor.number] != nil else {
      return misuse(false, "rewatch on \(descriptor.number), which is not watched")
    }
    if interest.contains(.exclusive) { return misuse(false, "rewatch with exclusive") }
    poller.interests[descriptor.number] = (interest, token)
    return true
  }

  public func unwatch(_ descriptor: Descriptor) {
    if simulation.objects[descriptor.number] == nil {
      misuse((), "unwatch on \(descriptor.number), which is not open")
    }
    poller.interests[descriptor.number] = nil
  }

  /// Returns some of the events that hold, in random order. When none holds, time goes on: to the
  /// next thing that happens, or to the timeout.
  public func wait(_ timeout: TimeSpan?, into events: inout [Event]) {
    events.removeAll(keepingCapacity: true)
    if events.capacity == 0 { events.reserveCapacity(64) }
    let deadline = timeout.map { simulation.now + max($0, .zero) }
    simulation.settle()
    var ready = readyEvents()
    while ready.isEmpty {
      if let deadline, simulation.now >= deadline { break }
      guard simulation.moveOn(to: deadline) else {
        simulation.stalls += 1
        break
      }
      ready = readyEvents()
    }
    ready.shuffle(using: &simulation.chance)
    events.append(contentsOf: ready.prefix(simulation.amount(min(ready.count, events.capacity))))
    for event in events { simulation.note(13, event.token) }
    simulation.note(14, UInt64(bitPattern: simulation.now.nanoseconds))
    poller.idleTurns = events.isEmpty ? 0 : poller.idleTurns + 1
    if poller.idleTurns == 200 { misuse((), "200 turns with events and no progress") }
  }

  public func drainWakeups(_ descriptor: Descriptor) {
    guard case .wakeup? = simulation.objects[descriptor.number] else {
      return misuse((), "drainWakeups on \(descriptor.number)")
    }
    progress(15, UInt64(descriptor.number))
    simulation.objects[descriptor.number] = .wakeup(count: 0)
  }

  private func readyEvents() -> [Event] {
    poller.interests.keys.sorted().compactMap { number in
      guard let (interest, token) = poller.interests[number] else { return nil }
      var event = Event(token: token, readable: false, writable: false, broken: false)
      switch simulation.objects[number] {
      case .listener(let listener): event.readable = !listener.pending.isEmpty
      case .wakeup(let count): event.readable = count > 0
      case .socket(let socket):
        event.readable = socket.isReadable
        event.writable = socket.isWritable
        event.broken = socket.isBroken
      case nil: return nil
      }
      event.readable = event.readable && interest.contains(.read)
      event.writable = event.writable && interest.contains(.write)
      return event.readable || event.writable || event.broken ? event : nil
    }
  }

  // MARK: Book-keeping

  private func socket(_ descriptor: Descriptor, _ call: String) -> SimulatedSocket? {
    if case .socket(let socket)? = simulation.objects[descriptor.number] { return socket }
    return misuse(nil, "\(call) on \(descriptor.number), which is no open socket")
  }

  private func progress(_ call: UInt64, _ first: UInt64, _ second: UInt64 = 0) {
    simulation.note(call, first, second)
    poller.idleTurns = 0
  }

  private func misuse<Result>(_ result: Result, _ text: String) -> Result {
    simulation.misuses.append(text)
    return result
  }
}
