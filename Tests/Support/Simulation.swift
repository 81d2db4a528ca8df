// A machine with a network, a clock and descriptors, in memory and on one thread. Everything that
// can vary (sizes of reads and writes, order of events, delays) is drawn from one seed; the same
// seed and the same calls give the same trace. Iterates over nothing that is ordered by hashes.

import Bytes
import Kernel

/// How unkind the simulated machine is. Percentages are per call.
public struct SimulationOptions: Sendable {
  public var bufferBytes: ClosedRange<Int> = 1...65_536
  public var shortTransferPercent = 40
  public var spuriousBlockPercent = 10
  /// Nanoseconds that bytes travel.
  public var latency: ClosedRange<Int64> = 0...2_000_000

  public init() {}
  /// Everything at once and whole: for tests of behaviour that should read like a script.
  public static var calm: SimulationOptions {
    var options = SimulationOptions()
    options.bufferBytes = 1 << 20...1 << 20
    options.shortTransferPercent = 0
    options.spuriousBlockPercent = 0
    options.latency = 0...0
    return options
  }
}

public final class Simulation {
  enum Object {
    case listener(SimulatedListener)
    case socket(SimulatedSocket)
    case wakeup(count: UInt64)
  }

  public let options: SimulationOptions
  var chance: SeededRandom
  var entropy: SeededRandom
  var objects: [Int32: Object] = [:]
  var pollers: [SimulatedPoller] = []
  private var listeners: [(address: SocketAddress, listener: SimulatedListener)] = []
  private var remotes: [SocketAddress: SimulatedRemote] = [:]
  private var sockets: [SimulatedSocket] = []
  private var peers: [SimulatedPeer] = []
  private var agenda: [(at: Int64, action: () -> Void)] = []
  private var nextPort: UInt16 = 10_000
  private var nanoseconds: Int64 = 1_000_000_000_000

  /// Descriptors that may be open at once: below it, accept and connect fail with EMFILE.
  public var descriptorLimit = 1 << 20
  /// Calls that would be faults of the worker on a real system (use of a closed descriptor, double
  /// watch, reading without room, turning without progress). A test expects none.
  public internal(set) var misuses: [String] = []
  /// Waits without timeout in which nothing could ever happen again.
  public internal(set) var stalls = 0
  public internal(set) var closes = 0
  public internal(set) var aborts = 0
  /// A fingerprint of all calls and their outcomes so far.
  public private(set) var trace: UInt64 = 0xcbf2_9ce4_8422_2325

  public init(seed: UInt64, options: SimulationOptions = SimulationOptions()) {
    chance = SeededRandom(seed: seed)
    entropy = SeededRandom(seed: ~seed)
    self.options = options
  }

  deinit { for socket in sockets { socket.other = nil } }

  // MARK: For tests

  /// A kernel with its own epoll instance, for one worker.
  public func makeKernel() -> SimulatedKernel { SimulatedKernel(simulation: self) }

  public var now: MonotonicTime { MonotonicTime(nanoseconds: nanoseconds) }
  public var openDescriptors: [Int32] { objects.keys.sorted() }

  /// A listening socket, as `Listening.open` gives; the same address may be opened several times.
  public func listen(_ address: SocketAddress) -> Descriptor {
    let listener = SimulatedListener()
    listeners.append((address, listener))
    return open(.listener(listener))
  }

  /// Connects to a listener of the gateway. Without one the peer is reset at once.
  public func connect(
    to address: SocketAddress, from host: IPAddress = .v4(0x0a00_0001)
  ) -> SimulatedPeer {
    let near = makeSocket(.ip(host, port: freshPort()), .established)
    let peer = SimulatedPeer(socket: near, simulation: self)
    peers.append(peer)
    if let listener = pickListener(address) {
      listener.pending.append(makeOther(of: near))
    } else {
      near.die(.connectionRefused)
    }
    return peer
  }

  /// Puts something at an address that the gateway may connect to. Elsewhere it is refused.
  @discardableResult
  public func remote(
    at address: SocketAddress, _ behaviour: SimulatedRemote.Behaviour = .accept
  ) -> SimulatedRemote {
    let remote = SimulatedRemote(behaviour)
    remotes[address] = remote
    return remote
  }

  public func makeWakeup() -> Descriptor { open(.wakeup(count: 0)) }
  public func wake(_ descriptor: Descriptor) {
    if case .wakeup(let count)? = objects[descriptor.number] {
      objects[descriptor.number] = .wakeup(count: count + 1)
    }
  }

  /// Calls `action` when simulated time gets there; waits of the worker end at that time.
  public func after(_ delay: TimeSpan, _ action: @escaping () -> Void) {
    agenda.append(((now + delay).nanoseconds, action))
  }

  /// Lets time pass without the worker: its next turn is late.
  public func advance(by span: TimeSpan) {
    nanoseconds = (now + span).nanoseconds
    settle()
  }

  // MARK: Descriptors

  /// The lowest free number, as on a real system: stale numbers soon name somebody else.
  func open(_ object: Object) -> Descriptor {
    var number: Int32 = 3
    while objects[number] != nil { number += 1 }
    objects[number] = object
    return Descriptor(number)
  }

  var isFull: Bool { objects.count >= descriptorLimit }

  func closeDescriptor(_ descriptor: Descriptor, aborting: Bool) {
    guard let object = objects.removeValue(forKey: descriptor.number) else {
      misuses.append("closed \(descriptor.number), which is not open")
      return
    }
    for poller in pollers { poller.interests[descriptor.number] = nil }
    switch object {
    case .listener(let listener):
      listeners.removeAll { $0.listener === listener }
      for socket in listener.pending { abort(socket) }
    case .socket(let socket): aborting ? abort(socket) : close(socket)
    case .wakeup: break
    }
  }

  // MARK: The network

  func makeSocket(_ address: SocketAddress, _ state: SimulatedSocket.State) -> SimulatedSocket {
    let capacity = Int.random(in: options.bufferBytes, using: &chance)
    let socket = SimulatedSocket(address: address, capacity: capacity, state: state)
    sockets.append(socket)
    return socket
  }

  private func makeOther(of near: SimulatedSocket) -> SimulatedSocket {
    let far = makeSocket(near.address, .established)
    far.other = near
    near.other = far
    return far
  }

  private func freshPort() -> UInt16 {
    defer { nextPort = nextPort == .max ? 10_000 : nextPort + 1 }
    return nextPort
  }

  private func pickListener(_ address: SocketAddress) -> SimulatedListener? {
    listeners.filter { $0.address == address }.randomElement(using: &chance)?.listener
  }

  /// A connection from the gateway to `address`.
  func connectOut(_ address: SocketAddress) -> ConnectOutcome {
    if isFull { return .failed(.tooManyFiles) }
    let remote = remotes[address]
    remote?.attempts += 1
    let listener = remote == nil ? pickListener(address) : nil
    let failure: Errno?
    switch remote?.behaviour {
    case .fail(let error): failure = error
    case nil where listener == nil: failure = .connectionRefused
    default: failure = nil
    }
    // Over loopback the answer may be there before connect returns.
    let atOnce = chance.chance(20)
    if let failure, atOnce { return .failed(failure) }
    let near = makeSocket(.ip(.v4(0x0a00_0002), port: freshPort()), .connecting)
    let descriptor = open(.socket(near))
    if remote?.behaviour == .hang { return .inProgress(descriptor) }
    if let failure {
      deliver(.unreachable(failure), to: near)
      return .inProgress(descriptor)
    }
    let far = makeOther(of: near)
    if atOnce { near.state = .established } else { deliver(.established, to: near) }
    if let remote {
      let peer = SimulatedPeer(socket: far, simulation: self)
      peers.append(peer)
      remote.connections.append(peer)
      remote.onConnect?(peer)
    } else {
      listener?.pending.append(far)
    }
    return atOnce ? .connected(descriptor) : .inProgress(descriptor)
  }

  func transmit(_ packet: Packet, from socket: SimulatedSocket) {
    if let other = socket.other { deliver(packet, to: other) }
  }

  private func deliver(_ packet: Packet, to socket: SimulatedSocket) {
    let delay = Int64.random(in: options.latency, using: &chance)
    // Nothing overtakes.
    let arrival = max(nanoseconds + delay, socket.flight.last?.at ?? 0)
    socket.flight.append((arrival, packet))
    if arrival <= nanoseconds { arrive(socket) }
  }

  private func arrive(_ socket: SimulatedSocket) {
    while let first = socket.flight.first, first.at <= nanoseconds {
      socket.flight.removeFirst()
      guard socket.state != .dead else { continue }
      switch first.packet {
      case .established: socket.state = .established
      case .unreachable(let error): socket.die(error)
      case .bytes where socket.isClosed: answerClosed(socket)
      case .bytes(let bytes): socket.inbox += bytes
      case .end: socket.hasEnded = true
      case .reset:
        // After a FIN, Linux calls it EPIPE. Unread bytes may be lost or not.
        socket.die(socket.hasEnded ? .brokenPipe : .connectionReset)
        if chance.chance(50) { socket.inbox = [] }
      }
    }
  }

  /// Bytes for a socket that nobody reads any more: RFC 9293 section 3.10.7.1.
  private func answerClosed(_ socket: SimulatedSocket) {
    socket.state = .dead
    transmit(.reset, from: socket)
  }

  func shut(_ socket: SimulatedSocket) {
    guard socket.state == .established, !socket.writeIsShut else { return }
    socket.writeIsShut = true
    transmit(.end, from: socket)
  }

  /// An orderly close, unless bytes are unread: then it is a reset (RFC 2525 section 2.17).
  func close(_ socket: SimulatedSocket) {
    guard !socket.isClosed else { return }
    if !socket.inbox.isEmpty || socket.state == .connecting { return abort(socket) }
    shut(socket)
    socket.isClosed = true
  }

  func abort(_ socket: SimulatedSocket) {
    guard !socket.isClosed else { return }
    socket.isClosed = true
    socket.inbox = []
    guard socket.state != .dead else { return }
    socket.state = .dead
    // What was sent may have left or not.
    if chance.chance(50) { socket.other?.flight.removeAll { $0.packet != .established } }
    transmit(.reset, from: socket)
  }

  // MARK: Time

  /// Brings everything up to the present: arrivals, the agenda, the peers.
  public func settle() {
    for socket in sockets { arrive(socket) }
    let due = agenda.filter { $0.at <= nanoseconds }
    agenda.removeAll { $0.at <= nanoseconds }
    for entry in due.sorted(by: { $0.at < $1.at }) { entry.action() }
    for peer in peers { peer.move() }
    // A socket whose ends are both closed is history; a peer keeps its own.
    for socket in sockets where socket.isClosed && socket.other?.isClosed ?? true {
      socket.other = nil
    }
    sockets.removeAll { $0.isClosed && $0.other == nil && $0.flight.isEmpty }
    peers.removeAll { $0.socket.isClosed }
  }

  /// Moves on to the next thing that happens, at most to `limit`. False when nothing ever will.
  func moveOn(to limit: MonotonicTime?) -> Bool {
    if peers.contains(where: \.isBusy) {
      settle()
      return true
    }
    var next = limit.map(\.nanoseconds)
    for socket in sockets {
      if let arrival = socket.flight.first?.at { next = min(next ?? arrival, arrival) }
    }
    for entry in agenda { next = min(next ?? entry.at, entry.at) }
    guard let next else { return false }
    nanoseconds = max(nanoseconds, next)
    settle()
    return true
  }

  // MARK: Chance

  /// All of `count`, or less of it (at least 1).
  func amount(_ count: Int) -> Int {
    guard count > 1, chance.chance(options.shortTransferPercent) else { return count }
    return Int.random(in: 1..<count, using: &chance)
  }

  var blocksForNoReason: Bool { chance.chance(options.spuriousBlockPercent) }

  /// FNV-1a over what happened.
  func note(_ values: UInt64...) {
    for value in values { trace = (trace ^ value) &* 0x100_0000_01b3 }
  }
}

final class SimulatedListener {
  var pending: [SimulatedSocket] = []
}
