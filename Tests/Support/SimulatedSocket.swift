// One end of a simulated connection: what has arrived, what is on its way, and how it ended. Ends
// come in pairs; who holds one (the gateway's descriptor or a peer of the test) makes no difference.

import Bytes
import Kernel

/// What travels to an end of a connection, in order.
enum Packet: Equatable {
  case bytes([UInt8])
  case end
  case reset
  /// The answers to a connection attempt.
  case established
  case unreachable(Errno)
}

final class SimulatedSocket {
  /// Where it stands until both directions have ended.
  enum State: Equatable {
    case connecting
    case established
    /// Reset or never connected: nothing moves any more.
    case dead
  }

  let address: SocketAddress
  /// Bytes that may wait unread here, arrived or on their way: the window of the other end.
  let capacity: Int
  var state: State
  var other: SimulatedSocket?
  var inbox: [UInt8] = []
  var flight: [(at: Int64, packet: Packet)] = []
  /// The error that the next call reports; reported once, as SO_ERROR is.
  var pendingError: Errno?
  var hasEnded = false
  var writeIsShut = false
  var isClosed = false

  init(address: SocketAddress, capacity: Int, state: State) {
    self.address = address
    self.capacity = capacity
    self.state = state
  }

  /// Arrived or on their way, and not read.
  var unread: Int {
    flight.reduce(inbox.count) { sum, entry in
      if case .bytes(let bytes) = entry.packet { sum + bytes.count } else { sum }
    }
  }

  var room: Int { max(capacity - unread, 0) }

  // As tcp_poll in Linux has it.
  var isReadable: Bool { state != .connecting && (!inbox.isEmpty || hasEnded || state == .dead) }
  var isWritable: Bool {
    switch state {
    case .connecting: false
    case .dead: true
    case .established: writeIsShut || (other?.room ?? 1) > 0
    }
  }
  var isBroken: Bool { state == .dead || (hasEnded && writeIsShut) || pendingError != nil }

  func die(_ error: Errno) {
    state = .dead
    pendingError = error
  }

  /// Takes `count` bytes off the front of what has arrived.
  func take(_ count: Int) -> [UInt8] {
    let bytes = Array(inbox.prefix(count))
    inbox.removeFirst(bytes.count)
    return bytes
  }
}
