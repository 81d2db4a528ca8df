// The far end of a connection of the gateway, played by a test: a client that connected, or a
// backend that the gateway connected to.

import Bytes
import Kernel

/// Moves by itself whenever simulated time or the worker's turn goes on: sends what is queued as the
/// window allows and reads what has arrived.
public final class SimulatedPeer {
  let socket: SimulatedSocket
  private unowned let simulation: Simulation
  private var queue: [UInt8] = []
  private var endsAfterQueue = false
  private var reported = (count: 0, isOver: false)

  /// Everything read so far.
  public private(set) var received: [UInt8] = []
  /// False makes it a reader that has stopped: its window fills and the gateway must wait.
  public var isReading = true
  /// Called after something was read, or the connection ended or was reset.
  public var onProgress: ((SimulatedPeer) -> Void)?

  init(socket: SimulatedSocket, simulation: Simulation) {
    self.socket = socket
    self.simulation = simulation
  }

  /// The gateway has sent a FIN, and all before it has been read.
  public var hasEnded: Bool { socket.hasEnded && socket.inbox.isEmpty }
  /// The gateway aborted, or closed without reading everything, or refused to begin with.
  public var wasReset: Bool { socket.state == .dead && !socket.isClosed }
  /// Queued here and not yet taken by the network.
  public var unsent: Int { queue.count }
  /// What the gateway's socket is bound to on this connection.
  public var address: SocketAddress { socket.address }

  public func send(_ bytes: [UInt8]) { queue += bytes }
  public func send(_ text: String) { queue += Array(text.utf8) }
  /// Sends a FIN after what is queued; goes on reading.
  public func finish() { endsAfterQueue = true }
  /// Closes both directions at once. What the gateway still sends is answered by a RST.
  public func close() { simulation.close(socket) }
  public func reset() { simulation.abort(socket) }

  /// Forgets what was received: for tests that read message by message.
  public func takeReceived() -> [UInt8] {
    defer {
      received = []
      reported.count = 0
    }
    return received
  }

  func move() {
    while socket.state == .established, !socket.writeIsShut, !socket.isClosed {
      let room = socket.other?.room ?? queue.count
      let count = simulation.amount(min(queue.count, room))
      if count == 0 { break }
      simulation.transmit(.bytes(Array(queue.prefix(count))), from: socket)
      queue.removeFirst(count)
    }
    if endsAfterQueue, queue.isEmpty, socket.state == .established { simulation.shut(socket) }
    if isReading, !socket.isClosed {
      received += socket.take(simulation.amount(socket.inbox.count))
    }
    let progress = (received.count, hasEnded || wasReset)
    if progress != reported {
      reported = progress
      onProgress?(self)
    }
  }

  /// Something is left to do that needs no event from the other side.
  var isBusy: Bool {
    guard !socket.isClosed else { return false }
    if isReading, !socket.inbox.isEmpty { return true }
    guard socket.state == .established, !socket.writeIsShut else { return false }
    return queue.isEmpty ? endsAfterQueue : (socket.other?.room ?? 1) > 0
  }
}

/// What is at an address that the gateway connects to.
public final class SimulatedRemote {
  public enum Behaviour: Sendable, Equatable {
    case accept
    case fail(Errno)
    /// Never answers.
    case hang
  }
  public var behaviour: Behaviour
  /// Called with each connection the gateway makes.
  public var onConnect: ((SimulatedPeer) -> Void)?
  /// All connections the gateway has made, oldest first.
  public internal(set) var connections: [SimulatedPeer] = []
  /// Attempts of every outcome.
  public internal(set) var attempts = 0

  init(_ behaviour: Behaviour) { self.behaviour = behaviour }
}
