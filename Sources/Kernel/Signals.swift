// Signals as a queue that one thread reads: blocked everywhere, taken from a signalfd, so that no
// code of ours ever runs inside a signal handler.

public import Bytes
import CLinux
import Glibc

public enum Signal: Sendable, Equatable {
  case terminate
  case interrupt
  case hangUp
  case user1
  case user2
}

/// The signals this process takes. One value for the life of the process.
public struct Signals: Sendable {
  private let descriptor: Int32

  /// Blocks SIGTERM, SIGINT, SIGHUP, SIGUSR1 and SIGUSR2 and ignores SIGPIPE and SIGXFSZ, which
  /// are errors of a write then. To be called before any thread is started: threads inherit what is
  /// blocked.
  public init() throws(Errno) {
    var set = sigset_t()
    // Safety: the set is ours; these calls read and write it only.
    unsafe sigemptyset(&set)
    for number in [SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2] { unsafe sigaddset(&set, number) }
    let code = unsafe pthread_sigmask(SIG_BLOCK, &set, nil)
    guard code == 0 else { throw Errno(code) }
    try check(linux_ignore_signal(SIGPIPE))
    try check(linux_ignore_signal(SIGXFSZ))
    descriptor = unsafe signalfd(-1, &set, CInt(SFD_CLOEXEC))
    guard descriptor >= 0 else { throw Errno(errno) }
  }

  /// As if it had come from outside.
  public static func raiseTerminate() { _ = kill(getpid(), SIGTERM) }
  public static func raiseHangUp() { _ = kill(getpid(), SIGHUP) }

  /// Waits for the next signal; nil when `timeout` (nil: for ever) passes first. Several of one
  /// kind that arrive together are one.
  public func next(timeout: TimeSpan? = nil) -> Signal? {
    var pending = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    // Safety: poll reads and writes one pollfd.
    guard unsafe poll(&pending, 1, milliseconds(timeout)) == 1 else { return nil }
    var information = signalfd_siginfo()
    let size = MemoryLayout<signalfd_siginfo>.size
    // Safety: a signalfd writes whole signalfd_siginfo structures; there is room for one.
    guard unsafe read(descriptor, &information, size) == size else { return nil }
    return switch CInt(truncatingIfNeeded: information.ssi_signo) {
    case SIGTERM: .terminate
    case SIGINT: .interrupt
    case SIGHUP: .hangUp
    case SIGUSR1: .user1
    case SIGUSR2: .user2
    default: nil
    }
  }
}
