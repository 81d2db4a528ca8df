// Threads: plain pthreads with a name and a small stack. Cold; what runs on them is the caller's.

import CLinux
import Glibc

/// A started thread. Join it once.
public struct SystemThread: Sendable {
  private let handle: pthread_t

  /// Starts `body` on a thread of its own, which inherits the blocked signals of this one.
  /// - Parameters:
  ///   - name: shown by ps and debuggers; Linux keeps 15 bytes.
  ///   - stackBytes: rounded up to whole pages, and to the least the system allows.
  public static func start(
    name: String, stackBytes: Int = 1 << 20, body: @escaping @Sendable () -> Void
  ) throws(Errno) -> SystemThread {
    var attributes = pthread_attr_t()
    // Safety: initialised here, destroyed below, used in between only.
    unsafe pthread_attr_init(&attributes)
    defer { _ = unsafe pthread_attr_destroy(&attributes) }
    let page = 4_096
    let size = (max(stackBytes, 128 << 10) + page - 1) / page * page
    unsafe pthread_attr_setstacksize(&attributes, size)
    let start = unsafe Unmanaged.passRetained(ThreadStart(name: name, body: body))
    var handle = pthread_t()
    // Safety: the retained start is released by the thread, or here when there is none.
    let code = unsafe pthread_create(&handle, &attributes, runThread, start.toOpaque())
    guard code == 0 else {
      unsafe start.release()
      throw Errno(code)
    }
    return SystemThread(handle: handle)
  }

  /// Waits until `body` has returned.
  public func join() { _ = pthread_join(handle, nil) }
}

private final class ThreadStart: Sendable {
  let name: String
  let body: @Sendable () -> Void
  init(name: String, body: @escaping @Sendable () -> Void) {
    self.name = name
    self.body = body
  }
}

private func runThread(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
  guard let argument = unsafe argument else { return nil }
  // Safety: `SystemThread.start` passed exactly this, retained once.
  let start = unsafe Unmanaged<ThreadStart>.fromOpaque(argument).takeRetainedValue()
  _ = unsafe linux_set_thread_name(start.name)
  start.body()
  return nil
}
