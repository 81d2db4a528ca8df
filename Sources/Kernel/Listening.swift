// Listening sockets, opened at start and outside the data plane. Accepted sockets inherit what is
// set here, which saves calls per connection. The caller owns the descriptors and closes them.

public import Bytes
import CLinux
import Glibc

public enum Listening {
  /// Binds `address` and listens, non-blocking. Each worker may open the same TCP address: the
  /// kernel spreads connections over them (SO_REUSEPORT). A unix socket can be opened once, so
  /// workers share it; a stale file in its place is replaced, and its mode is `mode`.
  public static func open(
    _ address: SocketAddress, backlog: Int, mode: UInt32 = 0o660
  ) throws(Errno) -> Descriptor {
    if case .unix(let path) = address { try removeStaleSocket(path) }
    let descriptor = try newSocket(for: address)
    do throws(Errno) {
      if case .unix(let path) = address {
        // The mode of the socket is that of the file bind makes: it is never wider, umask aside.
        try check(fchmod(descriptor.number, mode))
        try bind(descriptor, to: address)
        // Safety: here and below, a path is NUL-terminated for the call.
        try check(unsafe chmod(path, mode))
      } else {
        try check(setOption(CInt(SOL_SOCKET), SO_REUSEPORT, on: descriptor))
        try check(setOption(CInt(IPPROTO_TCP), TCP_NODELAY, on: descriptor))
        try enableKeepAlive(descriptor)
        try bind(descriptor, to: address)
      }
      try check(listen(descriptor.number, CInt(clamping: backlog)))
      return descriptor
    } catch {
      close(descriptor)
      throw error
    }
  }

  /// Why `open` would fail, nil if it would not. Unlike `open` it finds a TCP port that another
  /// process of ours listens on, and it leaves no trace.
  public static func probe(_ address: SocketAddress) -> Errno? {
    do throws(Errno) {
      if case .unix(let path) = address {
        if try isStaleSocket(path) { return nil }
        try checkWritableParent(of: path)
      } else {
        let descriptor = try newSocket(for: address)
        defer { close(descriptor) }
        try bind(descriptor, to: address)
      }
      return nil
    } catch {
      return error
    }
  }

  /// What a socket is bound to: tells the port that port 0 became.
  public static func localAddress(of descriptor: Descriptor) -> SocketAddress? {
    var storage = SocketStorage()
    let result = unsafe storage.fill { unsafe getsockname(descriptor.number, $0, $1) }
    return result == 0 ? storage.address : nil
  }

  /// A second descriptor for the same socket: a worker's own, where a socket is shared.
  public static func duplicate(_ descriptor: Descriptor) throws(Errno) -> Descriptor {
    let number = linux_duplicate(descriptor.number)
    guard number >= 0 else { throw Errno(errno) }
    return Descriptor(number)
  }

  public static func close(_ descriptor: Descriptor) { _ = Glibc.close(descriptor.number) }

  private static func bind(_ descriptor: Descriptor, to address: SocketAddress) throws(Errno) {
    if case .ip(let ip, _) = address {
      // Connections of an earlier process in TIME_WAIT do not matter.
      try check(setOption(CInt(SOL_SOCKET), SO_REUSEADDR, on: descriptor))
      // [::] leaves 0.0.0.0 to a listener of its own, whatever the sysctl says.
      if case .v6 = ip { try check(setOption(CInt(IPPROTO_IPV6), IPV6_V6ONLY, on: descriptor)) }
    }
    let result = unsafe withSocketAddress(address) { unsafe Glibc.bind(descriptor.number, $0, $1) }
    guard let result else { throw .other(ENAMETOOLONG) }
    try check(result)
  }

  private static func removeStaleSocket(_ path: String) throws(Errno) {
    if try isStaleSocket(path) { try check(unsafe unlink(path)) }
  }

  /// False when nothing is there; throws when something is that must stay: a file that is no
  /// socket, or a socket somebody listens on.
  private static func isStaleSocket(_ path: String) throws(Errno) -> Bool {
    var information = stat()
    // Safety: lstat writes one `stat`.
    if unsafe lstat(path, &information) != 0 {
      if errno == ENOENT { return false }
      throw Errno(errno)
    }
    guard information.st_mode & S_IFMT == S_IFSOCK else { throw .addressInUse }
    let descriptor = try newSocket(for: .unix(path))
    defer { close(descriptor) }
    let result = unsafe withSocketAddress(.unix(path)) { native, length in
      unsafe connect(descriptor.number, native, length) == 0 ? 0 : errno
    }
    if result == ECONNREFUSED { return true }
    // Connected, or a full queue (EAGAIN), or not ours to touch (EACCES).
    throw result == EACCES ? .permissionDenied : .addressInUse
  }

  /// A peer that is gone without a word is noticed by the system after a minute, for all that has no
  /// Pings of ours (tunnels, relayed responses). Accepted sockets inherit it.
  static func enableKeepAlive(_ descriptor: Descriptor) throws(Errno) {
    let tcp = CInt(IPPROTO_TCP)
    try check(setOption(CInt(SOL_SOCKET), SO_KEEPALIVE, on: descriptor))
    try check(setOption(tcp, TCP_KEEPIDLE, on: descriptor, value: 30))
    try check(setOption(tcp, TCP_KEEPINTVL, on: descriptor, value: 10))
    try check(setOption(tcp, TCP_KEEPCNT, on: descriptor, value: 3))
  }

  private static func checkWritableParent(of path: String) throws(Errno) {
    let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) ?? path.startIndex
    let parent = String(path[..<slash])
    try check(unsafe access(parent.isEmpty ? "/" : parent, W_OK | X_OK))
  }
}

/// A stream socket of the right family, non-blocking and close-on-exec.
func newSocket(for address: SocketAddress) throws(Errno) -> Descriptor {
  let family =
    switch address {
    case .ip(.v4, _): AF_INET
    case .ip(.v6, _): AF_INET6
    case .unix: AF_UNIX
    }
  let number = linux_stream_socket(family)
  guard number >= 0 else { throw Errno(errno) }
  return Descriptor(number)
}

/// Sets a boolean socket option; 0 or -1 as setsockopt does.
func setOption(
  _ level: CInt, _ option: CInt, on descriptor: Descriptor, value: CInt = 1
) -> CInt {
  var value = value
  // Safety: these options read one int.
  return unsafe setsockopt(
    descriptor.number, level, option, &value, socklen_t(MemoryLayout<CInt>.size))
}

func check(_ result: CInt) throws(Errno) {
  if result != 0 { throw Errno(errno) }
}
