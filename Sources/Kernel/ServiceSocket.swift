// The socket of a service manager (sd_notify(3)): one datagram per message.

import CLinux
import Glibc

public enum ServiceSocket {
  /// `name`: a path, or an abstract name with "@" in place of the NUL (unix(7)). Waits at most a
  /// second for a manager that is busy. Returns why nothing was sent.
  public static func send(_ text: String, to name: String) -> Errno? {
    var address = sockaddr_un()
    let bytes = Array(name.utf8)
    let prefix = MemoryLayout.offset(of: \sockaddr_un.sun_path) ?? 2
    guard bytes.count > 1, bytes.count < MemoryLayout.size(ofValue: address) - prefix else {
      return .other(ENAMETOOLONG)
    }
    address.sun_family = sa_family_t(AF_UNIX)
    // Safety: the name fits sun_path, by the guard.
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { path in
      unsafe path.copyBytes(from: bytes)
      if bytes[0] == UInt8(ascii: "@") { unsafe path[0] = 0 }
    }
    let descriptor = linux_datagram_socket(AF_UNIX)
    guard descriptor >= 0 else { return Errno(errno) }
    defer { _ = Glibc.close(descriptor) }
    return send(Array(text.utf8), descriptor, address, socklen_t(prefix + bytes.count))
  }

  private static func send(
    _ message: [UInt8], _ descriptor: CInt, _ address: sockaddr_un, _ length: socklen_t
  ) -> Errno? {
    var patience = timeval(tv_sec: 1, tv_usec: 0)
    // Safety: this option reads one timeval.
    _ = unsafe setsockopt(
      descriptor, CInt(SOL_SOCKET), SO_SNDTIMEO, &patience,
      socklen_t(MemoryLayout<timeval>.size))
    // Safety: every sockaddr type begins as sockaddr does; `length` bytes of it are initialised, and
    // the message outlives the call.
    let sent = unsafe withUnsafePointer(to: address) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { native in
        unsafe message.withUnsafeBytes {
          unsafe sendto(
            descriptor, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL), native, length)
        }
      }
    }
    return sent < 0 ? Errno(errno) : nil
  }
}
