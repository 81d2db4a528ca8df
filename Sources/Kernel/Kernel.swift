// Every system call the data plane makes, as a protocol. The worker is generic over it, so that the
// same worker runs on Linux, on a scripted kernel and on a simulated one; random bytes and clocks
// are included, which makes a simulation a function of its seed.

public import Bytes

/// An open file descriptor. A number with a type; closing is the owner's business.
public struct Descriptor: Sendable, Hashable {
  public var number: Int32
  @inlinable public init(_ number: Int32) { self.number = number }
  /// Of what has none; every system call refuses it.
  public static let none = Descriptor(-1)
}

/// How one read or write went. "Would block" is an outcome, never an error.
public enum IOOutcome: Sendable, Equatable {
  case bytes(Int)
  case wouldBlock
  case endOfStream
  case failed(Errno)
}

public enum AcceptOutcome: Sendable {
  case accepted(Descriptor, SocketAddress)
  case wouldBlock
  /// The peer was gone before we took it (ECONNABORTED and its kin): try the next one.
  case retry
  case failed(Errno)
}

public enum ConnectOutcome: Sendable {
  case connected(Descriptor)
  case inProgress(Descriptor)
  case failed(Errno)
}

/// What epoll is asked to report. Errors and hang-ups are always reported.
public struct Interest: OptionSet, Sendable {
  public let rawValue: UInt8
  @inlinable public init(rawValue: UInt8) { self.rawValue = rawValue }
  public static let read = Interest(rawValue: 1)
  public static let write = Interest(rawValue: 2)
  /// One waiter is woken, not all (EPOLLEXCLUSIVE): for a listener shared by workers.
  public static let exclusive = Interest(rawValue: 4)
}

public struct Event: Sendable {
  public var token: UInt64
  public var readable: Bool
  public var writable: Bool
  /// EPOLLERR or EPOLLHUP: the next read or write tells which error.
  public var broken: Bool
  @inlinable
  public init(token: UInt64, readable: Bool, writable: Bool, broken: Bool) {
    self.token = token
    self.readable = readable
    self.writable = writable
    self.broken = broken
  }
}

/// The system calls of one worker. Implementations are used from one thread.
public protocol Kernel: ~Copyable {
  /// CLOCK_MONOTONIC.
  mutating func now() -> MonotonicTime
  /// CLOCK_REALTIME in nanoseconds since 1970, for log lines only.
  mutating func wallClock() -> Int64
  /// 64 unpredictable bits, from the operating system's generator (buffered).
  mutating func random() -> UInt64

  mutating func accept(_ listener: Descriptor) -> AcceptOutcome
  /// For when no descriptor is free: takes the next client that waits with the one that is kept for
  /// this, and closes it, so that it knows. False when none waits, or it did not work.
  mutating func turnAway(_ listener: Descriptor) -> Bool
  /// Starts a non-blocking connection; the socket has TCP_NODELAY.
  /// `delayingAck`: our first bytes go out at once and carry the ACK that ends the TCP handshake. A
  /// peer that answers in pieces and waits for an ACK between them (Nagle) is slower then.
  mutating func connect(_ address: SocketAddress, delayingAck: Bool) -> ConnectOutcome
  /// The pending error of a socket (SO_ERROR), nil when there is none: tells how a connect ended.
  mutating func pendingError(_ descriptor: Descriptor) -> Errno?

  /// Appends at most `limit` bytes to `buffer` with one read.
  mutating func receive(
    _ descriptor: Descriptor, into buffer: SharedBuffer, limit: Int
  ) -> IOOutcome
  /// One write. `finFollows`: the caller closes or shuts down next; the bytes may wait for that and
  /// go with the FIN in one packet (MSG_MORE).
  mutating func send(
    _ descriptor: Descriptor, _ bytes: Span<UInt8>, finFollows: Bool
  ) -> IOOutcome
  /// Bytes that were sent and that the peer's system has not acknowledged (SIOCOUTQ); 0 for unix
  /// sockets' readers that took all. For rare decisions, not for the data path.
  mutating func unacknowledged(_ descriptor: Descriptor) -> Int
  /// Sends the ACK that is owed without waiting for data to go with it (TCP_QUICKACK). A peer whose
  /// second write waits for it (Nagle) would otherwise lose some 40 ms.
  mutating func acknowledgeNow(_ descriptor: Descriptor)
  /// What a socket is bound to here; nil when the system will not say.
  mutating func localAddress(of descriptor: Descriptor) -> SocketAddress?
  /// Sends a FIN; what was sent before still arrives.
  mutating func shutdownWrite(_ descriptor: Descriptor)
  mutating func close(_ descriptor: Descriptor)
  /// Closes with a RST (SO_LINGER 0): what is unsent is dropped and the peer sees an error.
  mutating func abort(_ descriptor: Descriptor)

  /// False when the kernel refuses (out of memory or watches).
  mutating func watch(_ descriptor: Descriptor, _ interest: Interest, token: UInt64) -> Bool
  mutating func rewatch(_ descriptor: Descriptor, _ interest: Interest, token: UInt64) -> Bool
  mutating func unwatch(_ descriptor: Descriptor)
  /// Waits up to `timeout` (nil: until something happens) and replaces `events`. At most
  /// `events.capacity` are returned.
  mutating func wait(_ timeout: TimeSpan?, into events: inout [Event])
  /// Empties an eventfd after a wake-up.
  mutating func drainWakeups(_ descriptor: Descriptor)
}

extension Kernel where Self: ~Copyable {
  @inlinable
  public mutating func connect(_ address: SocketAddress) -> ConnectOutcome {
    connect(address, delayingAck: false)
  }

  @inlinable
  public mutating func send(_ descriptor: Descriptor, _ bytes: Span<UInt8>) -> IOOutcome {
    send(descriptor, bytes, finFollows: false)
  }
}
