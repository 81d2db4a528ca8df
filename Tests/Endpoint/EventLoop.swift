// The turn of the programs that play both ends of a gateway (the load generator, the integrity test):
// one thread, one epoll, a listener for the backend, sockets, and connections that carry streams.

public import Bytes
public import Kernel

/// What an epoll event is about, and how that is written into its 64 bits.
public enum Token {
  case listener
  /// A socket that is one WebSocket, client or backend.
  case socket(SlotID)
  /// An HTTP/2 connection, which carries many.
  case carrier(SlotID)

  // Slot numbers stay far below 2^31, so the bit is free.
  private static var carrierBit: UInt64 { 1 << 31 }

  public init(_ packed: UInt64) {
    if packed == .max {
      self = .listener
    } else if packed & Token.carrierBit != 0 {
      self = .carrier(SlotID(packed: packed ^ Token.carrierBit))
    } else {
      self = .socket(SlotID(packed: packed))
    }
  }

  public var packed: UInt64 {
    switch self {
    case .listener: .max
    case .socket(let id): id.packed
    case .carrier(let id): id.packed | Token.carrierBit
    }
  }
}

/// A driver of such a program. Ids in events may be stale: the handlers check.
public protocol EventLoop: ~Copyable {
  var kernel: LinuxKernel { get set }
  /// Room for what one wait returns.
  var events: [Event] { get set }
  /// The time of this turn.
  var now: MonotonicTime { get set }

  mutating func acceptAll()
  mutating func handle(_ event: Event, socket id: SlotID)
  mutating func handle(_ event: Event, carrier id: SlotID)
}

extension EventLoop where Self: ~Copyable {
  /// Waits at most `patience` and handles what happened.
  public mutating func turn(_ patience: TimeSpan) {
    var happened: [Event] = []
    swap(&happened, &events)
    defer { swap(&happened, &events) }
    kernel.wait(patience, into: &happened)
    now = kernel.now()
    for event in happened {
      switch Token(event.token) {
      case .listener: acceptAll()
      case .socket(let id): handle(event, socket: id)
      case .carrier(let id): handle(event, carrier: id)
      }
    }
  }
}
