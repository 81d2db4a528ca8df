// Sockets that this process was started with (sd_listen_fds(3)).

public import Bytes
import CLinux
import Glibc

extension Listening {
  /// Makes a passed descriptor one of ours, before anything else is started: close-on-exec. Returns
  /// what it is bound to, nil when it is no listening stream socket.
  public static func adopt(_ descriptor: Descriptor) -> SocketAddress? {
    guard linux_set_close_on_exec(descriptor.number) == 0,
      option(SO_ACCEPTCONN, of: descriptor) == 1,
      option(SO_TYPE, of: descriptor) == CInt(SOCK_STREAM.rawValue)
    else { return nil }
    return localAddress(of: descriptor)
  }

  /// What `open` does to a socket of ours, for one that has been opened by somebody else. Options
  /// that it does not know stay as they are.
  public static func prepare(_ descriptor: Descriptor, backlog: Int) throws(Errno) {
    try check(linux_set_non_blocking(descriptor.number))
    if case .ip = localAddress(of: descriptor) {
      _ = setOption(CInt(IPPROTO_TCP), TCP_NODELAY, on: descriptor)
      try? enableKeepAlive(descriptor)
    }
    // For a socket that listens this is a new length of its queue, and nothing else.
    try check(listen(descriptor.number, CInt(clamping: backlog)))
  }

  private static func option(_ option: CInt, of descriptor: Descriptor) -> CInt? {
    var value: CInt = 0
    var length = socklen_t(MemoryLayout<CInt>.size)
    // Safety: these options write one int.
    let result = unsafe getsockopt(
      descriptor.number, CInt(SOL_SOCKET), option, &value, &length)
    return result == 0 ? value : nil
  }
}
