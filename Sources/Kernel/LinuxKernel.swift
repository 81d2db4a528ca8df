// The system calls of one worker on Linux: each function is a call, a loop over EINTR and a switch
// over errno. Owned by its worker and used from that thread only. Decides nothing: policy, retries
// and limits are the worker's.

public import Bytes
import CLinux
import Glibc

/// `Kernel` on Linux, with one level-triggered epoll instance.
@safe
public struct LinuxKernel: ~Copyable, Kernel {
  /// Events taken from the kernel per wait, at most.
  private static var eventsMax: Int { 512 }
  private static var randomWords: Int { 512 }

  private let epoll: Int32
  private let events: UnsafeMutablePointer<epoll_event>
  private let randomPool: UnsafeMutablePointer<UInt64>
  private var randomLeft = 0
  /// Open on nothing, to be given up when a descriptor is needed; -1 when it could not be had back.
  private var spare: Int32 = -1

  /// `keepsSpare`: for `turnAway`.
  public init(keepsSpare: Bool = false) throws(Errno) {
    epoll = epoll_create1(CInt(EPOLL_CLOEXEC))
    guard epoll >= 0 else { throw Errno(errno) }
    unsafe events = .allocate(capacity: Self.eventsMax)
    unsafe events.initialize(repeating: epoll_event(), count: Self.eventsMax)
    unsafe randomPool = .allocate(capacity: Self.randomWords)
    unsafe randomPool.initialize(repeating: 0, count: Self.randomWords)
    if keepsSpare { openSpare() }
  }

  deinit {
    _ = Glibc.close(epoll)
    if spare >= 0 { _ = Glibc.close(spare) }
    unsafe events.deallocate()
    unsafe randomPool.deallocate()
  }

  // MARK: Clocks and random bits

  public mutating func now() -> MonotonicTime { SystemClock.now() }

  public mutating func wallClock() -> Int64 { SystemClock.wall() }

  public mutating func random() -> UInt64 {
    if randomLeft == 0 { refillRandomPool() }
    randomLeft -= 1
    // Safety: 0 <= randomLeft < randomWords. Used words do not stay in memory.
    let word = unsafe randomPool[randomLeft]
    unsafe randomPool[randomLeft] = 0
    return word
  }

  private mutating func refillRandomPool() {
    let size = Self.randomWords * MemoryLayout<UInt64>.size
    var filled = 0
    while filled < size {
      // Safety: filled < size, the size of the pool.
      let count = unsafe getrandom(UnsafeMutableRawPointer(randomPool) + filled, size - filled, 0)
      if count > 0 {
        filled += count
      } else {
        invariant(errno == EINTR, "getrandom fails for wrong arguments only")
      }
    }
    randomLeft = Self.randomWords
  }

  // MARK: Connections

  public mutating func accept(_ listener: Descriptor) -> AcceptOutcome {
    var peer = SocketStorage()
    while true {
      let number = unsafe peer.fill { unsafe linux_accept4(listener.number, $0, $1) }
      if number >= 0 { return .accepted(Descriptor(number), peer.address) }
      switch errno {
      case EINTR: continue
      case EAGAIN: return .wouldBlock
      // accept(2), "Error handling": pending network errors of the new socket.
      case ECONNABORTED, EPROTO, ENETDOWN, ENOPROTOOPT, EHOSTDOWN, ENONET, EHOSTUNREACH,
        ENETUNREACH,
        EOPNOTSUPP, EPERM, ETIMEDOUT:
        return .retry
      case let code: return .failed(failure(code))
      }
    }
  }

  public mutating func turnAway(_ listener: Descriptor) -> Bool {
    if spare < 0 { openSpare() }
    guard spare >= 0 else { return false }
    _ = Glibc.close(spare)
    spare = -1
    defer { openSpare() }
    guard case .accepted(let descriptor, _) = accept(listener) else { return false }
    close(descriptor)
    return true
  }

  private mutating func openSpare() {
    // Safety: the path is a literal.
    spare = unsafe open("/dev/null", O_RDONLY | O_CLOEXEC)
  }

  public mutating func connect(
    _ address: SocketAddress, delayingAck: Bool
  ) -> ConnectOutcome {
    let descriptor: Descriptor
    do {
      descriptor = try newSocket(for: address)
    } catch {
      return .failed(error)
    }
    // A socket that refuses an option still works.
    if address.ip != nil {
      _ = setOption(CInt(IPPROTO_TCP), TCP_NODELAY, on: descriptor)
      // tcp(7): one packet less.
      if delayingAck {
        _ = setOption(CInt(IPPROTO_TCP), TCP_QUICKACK, on: descriptor, value: 0)
      }
    }
    let code = unsafe withSocketAddress(address) { native, length in
      unsafe Glibc.connect(descriptor.number, native, length) == 0 ? 0 : errno
    }
    switch code ?? ENAMETOOLONG {
    case 0: return .connected(descriptor)
    case EINPROGRESS, EINTR: return .inProgress(descriptor)
    case let code:
      close(descriptor)
      // unix(7): the listener's queue is full, which TCP would report as a refusal.
      return .failed(code == EAGAIN ? .connectionRefused : failure(code))
    }
  }

  public mutating func pendingError(_ descriptor: Descriptor) -> Errno? {
    var code: Int32 = 0
    var length = socklen_t(MemoryLayout<Int32>.size)
    // Safety: SO_ERROR writes one int.
    let result = unsafe getsockopt(descriptor.number, SOL_SOCKET, SO_ERROR, &code, &length)
    invariant(result == 0, "SO_ERROR of a socket of ours")
    return code == 0 ? nil : Errno(code)
  }

  // MARK: Bytes

  public mutating func receive(
    _ descriptor: Descriptor, into buffer: SharedBuffer, limit: Int
  ) -> IOOutcome {
    var code: Int32 = 0
    // Safety: recv writes at most `room.count` bytes at `room.baseAddress`.
    let count = unsafe buffer.appendUnsafe(limit: limit) { room in
      // A read of nothing would look like the end of the stream.
      invariant(room.count > 0, "read without room")
      while true {
        let count = unsafe linux_recv(descriptor.number, room.baseAddress, room.count)
        if count >= 0 { return count }
        code = errno
        if code != EINTR { return 0 }
      }
    }
    if count > 0 { return .bytes(count) }
    switch code {
    // EINTR: left behind by the call that was retried.
    case 0, EINTR: return .endOfStream
    case EAGAIN: return .wouldBlock
    default: return .failed(failure(code))
    }
  }

  public mutating func send(
    _ descriptor: Descriptor, _ bytes: Span<UInt8>, finFollows: Bool
  ) -> IOOutcome {
    if bytes.isEmpty { return .bytes(0) }
    while true {
      // Safety: send reads `bytes.count` bytes of the span, which outlives the call.
      let count = unsafe bytes.withUnsafeBufferPointer {
        unsafe linux_send(descriptor.number, $0.baseAddress, $0.count, finFollows ? 1 : 0)
      }
      if count >= 0 { return .bytes(count) }
      switch errno {
      case EINTR: continue
      case EAGAIN: return .wouldBlock
      case let code: return .failed(failure(code))
      }
    }
  }

  public mutating func localAddress(of descriptor: Descriptor) -> SocketAddress? {
    Listening.localAddress(of: descriptor)
  }

  public mutating func unacknowledged(_ descriptor: Descriptor) -> Int {
    let count = linux_unacknowledged(descriptor.number)
    return count >= 0 ? Int(count) : 0
  }

  public mutating func acknowledgeNow(_ descriptor: Descriptor) {
    // Other sockets than TCP's refuse it, and need it not.
    _ = setOption(CInt(IPPROTO_TCP), TCP_QUICKACK, on: descriptor)
  }

  public mutating func shutdownWrite(_ descriptor: Descriptor) {
    // ENOTCONN: the peer was faster; the next read tells.
    if shutdown(descriptor.number, CInt(SHUT_WR)) != 0, errno != ENOTCONN { _ = failure(errno) }
  }

  public mutating func close(_ descriptor: Descriptor) {
    // Linux frees the number even when close reports EINTR or a late write error.
    if Glibc.close(descriptor.number) != 0 { _ = failure(errno) }
  }

  public mutating func abort(_ descriptor: Descriptor) {
    var option = linger(l_onoff: 1, l_linger: 0)
    let size = socklen_t(MemoryLayout<linger>.size)
    // Safety: SO_LINGER reads one `linger`. If it fails the close is an ordinary one.
    _ = unsafe setsockopt(descriptor.number, SOL_SOCKET, SO_LINGER, &option, size)
    close(descriptor)
  }

  // MARK: Readiness

  public mutating func watch(
    _ descriptor: Descriptor, _ interest: Interest, token: UInt64
  ) -> Bool {
    control(EPOLL_CTL_ADD, descriptor, interest, token)
  }

  public mutating func rewatch(
    _ descriptor: Descriptor, _ interest: Interest, token: UInt64
  ) -> Bool {
    control(EPOLL_CTL_MOD, descriptor, interest, token)
  }

  public mutating func unwatch(_ descriptor: Descriptor) {
    if epoll_ctl(epoll, EPOLL_CTL_DEL, descriptor.number, nil) != 0 {
      invariant(errno == ENOENT, "unwatched a descriptor that is not open")
    }
  }

  private func control(
    _ operation: Int32, _ descriptor: Descriptor, _ interest: Interest, _ token: UInt64
  ) -> Bool {
    var mask: UInt32 = 0
    if interest.contains(.read) { mask |= EPOLLIN.rawValue }
    if interest.contains(.write) { mask |= EPOLLOUT.rawValue }
    if interest.contains(.exclusive) { mask |= EPOLLEXCLUSIVE.rawValue }
    var event = unsafe epoll_event(events: mask, data: epoll_data_t(u64: token))
    // Safety: epoll_ctl reads one event.
    if unsafe epoll_ctl(epoll, operation, descriptor.number, &event) == 0 { return true }
    invariant(errno == ENOMEM || errno == ENOSPC, "watched a descriptor in the wrong state")
    return false
  }

  public mutating func wait(_ timeout: TimeSpan?, into events: inout [Event]) {
    events.removeAll(keepingCapacity: true)
    if events.capacity == 0 { events.reserveCapacity(Self.eventsMax) }
    let limit = min(events.capacity, Self.eventsMax)
    // Safety: the event buffer holds eventsMax >= limit entries.
    let count = unsafe linux_epoll_wait(epoll, self.events, CInt(limit), milliseconds(timeout))
    guard count >= 0 else {
      invariant(errno == EINTR, "epoll_wait fails for wrong arguments only")
      return
    }
    for index in 0..<Int(count) {
      // Safety: the kernel wrote `count` entries; every token was stored through `u64`.
      let (mask, token) = unsafe (self.events[index].events, self.events[index].data.u64)
      events.append(
        Event(
          token: token, readable: mask & EPOLLIN.rawValue != 0,
          writable: mask & EPOLLOUT.rawValue != 0,
          broken: mask & (EPOLLERR.rawValue | EPOLLHUP.rawValue) != 0))
    }
  }

  public mutating func drainWakeups(_ descriptor: Descriptor) {
    var count: UInt64 = 0
    // Safety: an eventfd hands out 8 bytes and sets its count to zero. EAGAIN: it was zero.
    while unsafe read(descriptor.number, &count, MemoryLayout<UInt64>.size) < 0 {
      if errno != EINTR { return }
    }
  }
}

/// Milliseconds for epoll_wait, rounded up: waking early would spin until the deadline.
func milliseconds(_ timeout: TimeSpan?) -> Int32 {
  guard let timeout else { return -1 }
  let (rounded, overflow) = max(timeout.nanoseconds, 0).addingReportingOverflow(999_999)
  return overflow ? .max : Int32(clamping: rounded / 1_000_000)
}

/// Makes `code` an `Errno`, unless it can only mean that we mixed up our descriptors.
private func failure(_ code: Int32) -> Errno {
  invariant(
    code != EBADF && code != EFAULT && code != ENOTSOCK, "system call on a wrong descriptor")
  return Errno(code)
}

/// The clocks alone, for a thread that has no other use for a kernel and its descriptors.
public enum SystemClock {
  public static func now() -> MonotonicTime { MonotonicTime(nanoseconds: read(CLOCK_MONOTONIC)) }

  /// Nanoseconds since 1970.
  public static func wall() -> Int64 { read(CLOCK_REALTIME) }

  private static func read(_ clock: clockid_t) -> Int64 {
    var time = timespec()
    // Safety: clock_gettime writes one timespec; it cannot fail for these clocks.
    _ = unsafe clock_gettime(clock, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
  }
}
