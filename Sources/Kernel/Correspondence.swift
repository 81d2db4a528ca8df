// One question to a server and its answer, for commands. Blocks, but never longer than it is told to.

public import Bytes
import CLinux
import Glibc

public enum Correspondence {
  public static let answerBytesMax = 16 << 20

  /// Connects to `address`, sends `request` and returns all that comes until the server closes.
  public static func ask(
    _ address: SocketAddress, _ request: [UInt8], patience: TimeSpan
  ) throws(Errno) -> [UInt8] {
    let deadline = monotonic() + patience
    let descriptor = try newSocket(for: address)
    defer { Listening.close(descriptor) }
    try connect(descriptor, address, deadline)
    try send(descriptor, request, deadline)
    return try receive(descriptor, deadline)
  }

  private static func connect(
    _ descriptor: Descriptor, _ address: SocketAddress, _ deadline: MonotonicTime
  ) throws(Errno) {
    let result = unsafe withSocketAddress(address) { native, length in
      unsafe Glibc.connect(descriptor.number, native, length) == 0 ? 0 : errno
    }
    switch result {
    case 0: return
    case EINPROGRESS: break
    case let code?: throw Errno(code)
    case nil: throw .other(ENAMETOOLONG)
    }
    try wait(descriptor, POLLOUT, deadline)
    var code: CInt = 0
    var length = socklen_t(MemoryLayout<CInt>.size)
    // Safety: SO_ERROR writes one int.
    try check(unsafe getsockopt(descriptor.number, SOL_SOCKET, SO_ERROR, &code, &length))
    if code != 0 { throw Errno(code) }
  }

  private static func send(
    _ descriptor: Descriptor, _ bytes: [UInt8], _ deadline: MonotonicTime
  ) throws(Errno) {
    var sent = 0
    while sent < bytes.count {
      let rest = bytes.span.extracting(sent..<bytes.count)
      // Safety: reads the bytes of the span, which outlives the call.
      let count = unsafe rest.withUnsafeBufferPointer {
        unsafe linux_send(descriptor.number, $0.baseAddress, $0.count, 0)
      }
      if count > 0 {
        sent += count
      } else if errno == EAGAIN {
        try wait(descriptor, POLLOUT, deadline)
      } else if errno != EINTR {
        throw Errno(errno)
      }
    }
  }

  private static func receive(
    _ descriptor: Descriptor, _ deadline: MonotonicTime
  ) throws(Errno) -> [UInt8] {
    var answer: [UInt8] = []
    while answer.count < answerBytesMax {
      var code: CInt = 0
      let more = unsafe [UInt8](unsafeUninitializedCapacity: 64 << 10) { room, count in
        // Safety: writes at most the room there is, and says how much.
        let result = unsafe linux_recv(descriptor.number, room.baseAddress, room.count)
        if result < 0 { code = errno }
        count = max(result, 0)
      }
      switch code {
      case 0 where more.isEmpty: return answer
      case 0: answer += more
      case EAGAIN: try wait(descriptor, POLLIN, deadline)
      case EINTR: continue
      default: throw Errno(code)
      }
    }
    return answer
  }

  private static func wait(
    _ descriptor: Descriptor, _ events: CInt, _ deadline: MonotonicTime
  ) throws(Errno) {
    let left = (deadline - monotonic()).milliseconds
    guard left > 0 else { throw .timedOut }
    var pending = pollfd(fd: descriptor.number, events: Int16(events), revents: 0)
    // Safety: poll reads and writes one pollfd.
    let result = unsafe poll(&pending, 1, CInt(clamping: left))
    if result == 0 { throw .timedOut }
    if result < 0, errno != EINTR { throw Errno(errno) }
  }

  private static func monotonic() -> MonotonicTime {
    var time = timespec()
    // Safety: clock_gettime writes one timespec.
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return MonotonicTime(nanoseconds: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
  }
}
