// Socket addresses in the kernel's form, both ways. Pointers to them live for one call.

import Bytes
import CLinux
import Glibc

/// Calls `body` with `address` as a sockaddr. Nil when it is a path that no sockaddr_un can hold.
@unsafe
func withSocketAddress<Result>(
  _ address: SocketAddress, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
) -> Result? {
  switch address {
  case .ip(.v4(let value), let port):
    var native = sockaddr_in()
    native.sin_family = sa_family_t(AF_INET)
    native.sin_port = port.bigEndian
    native.sin_addr.s_addr = value.bigEndian
    return unsafe lend(&native, count: MemoryLayout<sockaddr_in>.size, body)
  case .ip(.v6(let high, let low), let port):
    var native = sockaddr_in6()
    native.sin6_family = sa_family_t(AF_INET6)
    native.sin6_port = port.bigEndian
    // Safety: in6_addr is 16 bytes.
    unsafe withUnsafeMutableBytes(of: &native.sin6_addr) { bytes in
      unsafe bytes.storeBytes(of: high.bigEndian, toByteOffset: 0, as: UInt64.self)
      unsafe bytes.storeBytes(of: low.bigEndian, toByteOffset: 8, as: UInt64.self)
    }
    return unsafe lend(&native, count: MemoryLayout<sockaddr_in6>.size, body)
  case .unix(let path):
    guard path.utf8.count <= EndpointAddress.unixPathBytesMax, !path.utf8.contains(0)
    else { return nil }
    var native = sockaddr_un()
    native.sun_family = sa_family_t(AF_UNIX)
    // Safety: the path and its NUL (already there) fit sun_path, by the guard.
    unsafe withUnsafeMutableBytes(of: &native.sun_path) { unsafe $0.copyBytes(from: path.utf8) }
    return unsafe lend(&native, count: MemoryLayout<sockaddr_un>.size, body)
  }
}

@unsafe
private func lend<Native, Result>(
  _ native: inout Native, count: Int, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
) -> Result {
  // Safety: every sockaddr type begins as sockaddr does; the kernel reads `count` bytes.
  unsafe withUnsafePointer(to: &native) { pointer in
    unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
      unsafe body($0, socklen_t(count))
    }
  }
}

/// Room for an address that a system call writes.
struct SocketStorage {
  private var storage = sockaddr_storage()
  private var length = socklen_t(MemoryLayout<sockaddr_storage>.size)

  init() {}

  /// A copy of what `source` points to.
  @unsafe
  init(_ source: UnsafePointer<sockaddr>, _ count: socklen_t) {
    length = min(count, length)
    // Safety: the caller vouches for `count` bytes at `source`; no more than there is room for.
    unsafe withUnsafeMutableBytes(of: &storage) {
      unsafe $0.copyMemory(from: UnsafeRawBufferPointer(start: source, count: Int(length)))
    }
  }

  /// Calls `body` with room for any address.
  @unsafe
  mutating func fill(
    _ body: (UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32
  ) -> Int32 {
    // Safety: sockaddr_storage is made for this cast (RFC 3493 section 3.10).
    unsafe withUnsafeMutablePointer(to: &storage) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe body($0, &length) }
    }
  }

  var address: SocketAddress {
    // Safety: all loads stay inside the 128 bytes of sockaddr_storage, which are initialised.
    unsafe withUnsafeBytes(of: storage) { bytes in
      switch Int32(storage.ss_family) {
      case AF_INET:
        let native = unsafe bytes.loadUnaligned(as: sockaddr_in.self)
        return .ip(
          .v4(UInt32(bigEndian: native.sin_addr.s_addr)), port: UInt16(bigEndian: native.sin_port))
      case AF_INET6:
        let native = unsafe bytes.loadUnaligned(as: sockaddr_in6.self)
        let bits = unsafe withUnsafeBytes(of: native.sin6_addr) {
          unsafe $0.loadUnaligned(as: UInt128.self)
        }
        return .ip(
          IPAddress(bits: UInt128(bigEndian: bits)), port: UInt16(bigEndian: native.sin6_port))
      default:
        let start = 2
        let end = min(max(Int(length), start), bytes.count)
        let path = unsafe bytes[start..<end].prefix { $0 != 0 }
        return .unix(unsafe String(decoding: path, as: UTF8.self))
      }
    }
  }
}
