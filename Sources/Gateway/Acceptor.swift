// Accepting: a bounded number per turn, within the limit of connections. When the table is full the
// listeners rest and the kernel's backlog holds the arrivals. When the process is out of descriptors they
// rest as well, for a moment, and the arrivals are turned away.

import Configuration
import Bytes
import Kernel
import TLS
import Telemetry
import Wire

/// Where a worker listens. With TCP each worker has a socket of its own (SO_REUSEPORT); unix sockets
/// cannot do that and are shared by all workers.
struct Listener: Sendable {
  /// Several where more were inherited than there are workers. Empty when they have been closed:
  /// connections they have accepted go on.
  var sockets: [Descriptor]
  var service: ListenerService
  var tls: TLSContext?
  var isShared = false
  /// What its clients may speak; under TLS that is what ALPN offers.
  var protocols = [ListenerSettings.ApplicationProtocol.http11]
  /// Every connection begins with a PROXY header.
  var expectsProxyHeader = false
  /// The port clients connect to, for X-Forwarded-Port; 0 for unix sockets.
  var port: UInt16 = 0

  var isOpen: Bool { !sockets.isEmpty }
}

enum ListenerService: Sendable {
  case gateway
  /// The built-in echo backend.
  case echo
  /// Alone on a worker of its own, whose `admin` is set.
  case admin
}

extension Worker where K: ~Copyable {
  /// EMFILE must not become a loop at full speed, nor the end.
  private static var acceptPause: TimeSpan { .milliseconds(250) }

  /// In one pause, so that turning away is no loop at full speed either.
  private static var turnedAwayMax: Int { 512 }

  mutating func watchListener(_ index: Int) -> Bool {
    let interest: Interest = listeners[index].isShared ? [.read, .exclusive] : .read
    for socket in listeners[index].sockets
    where !kernel.watch(socket, interest, token: Token.listener(index)) {
      return false
    }
    return true
  }

  mutating func acceptReady(_ index: Int) {
    for socket in listeners[index].sockets { _ = accept(socket, listener: index) }
  }

  /// Whether more may be waiting.
  private mutating func accept(_ socket: Descriptor, listener index: Int) -> Bool {
    for _ in 0..<Self.acceptsPerTurn {
      guard isAccepting, drainDeadline == nil else { return false }
      if clients >= clientsMax {
        restAccepting(resumeAfter: nil)
        return false
      }
      switch kernel.accept(socket) {
      case .accepted(let descriptor, let peer): admit(descriptor, peer, listener: index)
      case .wouldBlock: return false
      case .retry: continue
      case .failed(let errno):
        metrics.add(.acceptFailures)
        logEvent(.acceptFailed, errno: errno)
        if errno == .tooManyFiles { turnAwayWaiting(socket) }
        restAccepting(resumeAfter: Self.acceptPause)
        return false
      }
    }
    return true
  }

  /// Turns' worth of connections that are taken from a queue before it is left: who goes on coming is
  /// for the process that has the socket as well.
  private static var lastAcceptsMax: Int { 256 }

  /// Takes what waits, before the sockets are closed: nobody else may accept from one that the
  /// successor has no use for.
  mutating func acceptWaiting() {
    for index in listeners.indices {
      for socket in listeners[index].sockets {
        for _ in 0..<Self.lastAcceptsMax where !accept(socket, listener: index) { break }
      }
    }
  }

  /// A client that is left in the backlog waits for as long as it likes, and one that is closed tries
  /// again elsewhere.
  private mutating func turnAwayWaiting(_ socket: Descriptor) {
    for _ in 0..<Self.turnedAwayMax {
      guard kernel.turnAway(socket) else { return }
      metrics.add(.connectionsTurnedAway)
    }
  }

  private mutating func admit(_ descriptor: Descriptor, _ peer: SocketAddress, listener: Int) {
    let isProxied = listeners[listener].expectsProxyHeader
    if isProxied, !isTrustedProxy(peer) {
      refuseProxy(peer, reason: "not-a-trusted-proxy")
      return kernel.close(descriptor)
    }
    // Whose a proxy's connection is will be seen.
    guard isProxied || hasRoom(for: peer) else {
      metrics.add(.limitRefusals)
      logAddressFull(peer)
      return kernel.close(descriptor)
    }
    var session: TLSSession?
    if let context = listeners[listener].tls {
      guard let made = TLSSession(server: context) else { return kernel.close(descriptor) }
      session = consume made
    }
    var connection = Connection(
      descriptor: descriptor, peer: peer, listener: listener, role: role(listener),
      tls: session, interest: .read)
    connection.awaitsProxyHeader = isProxied
    connection.isUnwelcome = memory != .calm
    guard let id = connections.insert(connection) else { return kernel.close(descriptor) }
    clients += 1
    if !isProxied { countAddress(of: peer) }
    metrics.add(.connectionsAccepted)
    guard kernel.watch(descriptor, .read, token: id.packed) else { return closeNow(id) }
    if isProxied { return setTimeout(id, .requestHead, after: shared.timeouts.requestHead) }
    begin(id, listener)
  }

  /// The client of a proxy's connection is known. False when it has too many already.
  mutating func admitAnnounced(_ id: SlotID) -> Bool {
    guard hasRoom(for: connections[id].peer), let listener = connections[id].listener,
      listener < listeners.count
    else { return false }
    connections[id].awaitsProxyHeader = false
    countAddress(of: connections[id].peer)
    begin(id, listener)
    return true
  }

  /// What the client sends from here on is its own.
  private mutating func begin(_ id: SlotID, _ listener: Int) {
    if listeners[listener].tls != nil {
      setTimeout(id, .tlsHandshake, after: shared.timeouts.tlsHandshake)
    } else if listeners[listener].protocols == [.h2] {
      beginHTTP2(id)
    } else {
      setTimeout(id, .requestHead, after: shared.timeouts.requestHead)
    }
  }

  /// After the handshake. A client without ALPN gets HTTP/1.1 wherever that is spoken.
  mutating func speaksHTTP2(_ id: SlotID) -> Bool {
    guard let listener = connections[id].listener, listener < listeners.count else { return false }
    if let name = connections[id].tls?.protocolName { return name == "h2" }
    return listeners[listener].protocols == [.h2]
  }

  private func role(_ listener: Int) -> ConnectionRole {
    switch listeners[listener].service {
    case .gateway, .admin: .front(RequestParser(limits: shared.requestLimits))
    case .echo: .echo(EchoSession(limits: shared.requestLimits))
    }
  }

  // MARK: Limits

  private var clientsMax: Int {
    admin == nil ? shared.connectionsPerWorker : AdminDesk.connectionsMax
  }

  private func hasRoom(for peer: SocketAddress) -> Bool {
    guard admin == nil, let limit = shared.snapshot.limits.perAddress,
      case .ip(let address, _) = peer
    else {
      return true
    }
    // Each worker sees its share of an address's connections.
    return clientsByAddress[address, default: 0] < max(1, limit / shared.workerCount)
  }

  private mutating func countAddress(of peer: SocketAddress) {
    guard shared.snapshot.limits.perAddress != nil, case .ip(let address, _) = peer else { return }
    clientsByAddress[address, default: 0] += 1
  }

  /// An accepted connection has ended. `isCounted`: for its address.
  mutating func clientGone(_ peer: SocketAddress, isCounted: Bool) {
    clients -= 1
    metrics.add(.connectionsClosed)
    if isCounted, shared.snapshot.limits.perAddress != nil, case .ip(let address, _) = peer,
      let count = clientsByAddress[address]
    {
      clientsByAddress[address] = count > 1 ? count - 1 : nil
    }
    // Some places at once, so that a full table does not re-arm its listeners for every one.
    let places = clientsMax - clients
    if !isAccepting, !isResting, places > clientsMax / 64 { resumeAccepting() }
  }

  private mutating func restAccepting(resumeAfter pause: TimeSpan?) {
    guard isAccepting else { return }
    isAccepting = false
    for socket in listeners.lazy.flatMap(\.sockets) { kernel.unwatch(socket) }
    if let pause {
      isResting = true
      timers.add(.acceptPause, at: now + pause)
    } else {
      logEvent(.connectionsFull)
    }
  }

  mutating func resumeAccepting() {
    isResting = false
    guard !isAccepting, drainDeadline == nil else { return }
    isAccepting = true
    for index in listeners.indices where listeners[index].isOpen && !watchListener(index) {
      return restAccepting(resumeAfter: Self.acceptPause)
    }
  }

  /// Stops for good: the sockets are closed, so that the kernel refuses new connections, unless
  /// another process has them as well.
  mutating func closeListeners() {
    for index in listeners.indices { closeListener(index) }
    isAccepting = false
  }

  /// A socket that another process has open stays with epoll until it is taken out.
  mutating func closeListener(_ index: Int) {
    for socket in listeners[index].sockets {
      if isAccepting { kernel.unwatch(socket) }
      kernel.close(socket)
    }
    listeners[index].sockets = []
  }
}
