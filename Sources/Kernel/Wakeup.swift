// Wakes a worker from another thread: an eventfd that the worker watches with its sockets.

import CLinux
import Glibc

/// One worker's wake-up. The worker empties it with `Kernel.drainWakeups`; its owner closes it when
/// no thread can call `wake` any more.
public struct Wakeup: Sendable {
  public let descriptor: Descriptor

  public init() throws(Errno) {
    let number = eventfd(0, CInt(EFD_CLOEXEC | EFD_NONBLOCK))
    guard number >= 0 else { throw Errno(errno) }
    descriptor = Descriptor(number)
  }

  /// One that another process has made.
  public init(_ descriptor: Descriptor) {
    self.descriptor = descriptor
    _ = linux_set_close_on_exec(descriptor.number)
  }

  /// Whether somebody has called `wake` since it was asked last. Never blocks.
  public func take() -> Bool {
    var count: UInt64 = 0
    // Safety: an eventfd hands out 8 bytes. EAGAIN: nobody has.
    return unsafe read(descriptor.number, &count, MemoryLayout<UInt64>.size) > 0
  }

  /// Makes the descriptor readable. From any thread; never blocks.
  public func wake() {
    var one: UInt64 = 1
    // Safety: an eventfd reads 8 bytes. EAGAIN means that a wake-up is pending already.
    while unsafe write(descriptor.number, &one, MemoryLayout<UInt64>.size) < 0, errno == EINTR {}
  }

  /// Waits for a `wake` since it was asked last. For a thread that has nothing else to wait for.
  public func wait() {
    var pending = pollfd(fd: descriptor.number, events: Int16(POLLIN), revents: 0)
    // Safety: poll reads and writes one pollfd. When it is interrupted, the caller looks once too often.
    _ = unsafe poll(&pending, 1, -1)
    _ = take()
  }

  public func close() { _ = Glibc.close(descriptor.number) }
}
