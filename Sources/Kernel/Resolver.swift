// Host names to addresses with the system's resolver (hosts file, search domains, DNS). Blocks for
// seconds when a name server is silent: for start and for a thread of its own, never for a worker.

public import Bytes
import CLinux
import Glibc

public enum ResolveFailure: Error, Sendable, Equatable {
  /// The name does not exist or has no address.
  case notFound
  /// No answer from a name server: trying again may help.
  case temporary
  /// Another EAI_ code of getaddrinfo(3).
  case other(Int32)
}

extension ResolveFailure: CustomStringConvertible {
  public var description: String {
    switch self {
    case .notFound: "name does not resolve"
    case .temporary: "name server does not answer"
    case .other(let code): "resolver error \(code)"
    }
  }
}

public enum Resolver {
  /// EAI_NODATA, which netdb.h declares under _GNU_SOURCE only.
  private static let noData: Int32 = -5

  /// The addresses of `host`, without duplicates, in the resolver's order (RFC 6724). Families that
  /// this machine has no address for are left out.
  public static func resolve(_ host: String) throws(ResolveFailure) -> [IPAddress] {
    var hints = unsafe addrinfo()
    // One entry per address, not one per kind of socket.
    unsafe hints.ai_socktype = CInt(SOCK_STREAM.rawValue)
    unsafe hints.ai_flags = AI_ADDRCONFIG
    var list: UnsafeMutablePointer<addrinfo>?
    // Safety: the strings and hints live for the call; the list is ours to free once.
    switch unsafe getaddrinfo(host, nil, &hints, &list) {
    case 0: break
    case EAI_NONAME, noData: throw .notFound
    case EAI_AGAIN: throw .temporary
    case let code: throw .other(code)
    }
    defer { unsafe freeaddrinfo(list) }
    var addresses: [IPAddress] = []
    var next = unsafe list
    // Safety: the list is not freed before the function returns.
    while let entry = unsafe next {
      if let native = unsafe entry.pointee.ai_addr,
        let address = unsafe SocketStorage(native, entry.pointee.ai_addrlen).address.ip,
        !addresses.contains(address)
      {
        addresses.append(address)
      }
      unsafe next = entry.pointee.ai_next
    }
    if addresses.isEmpty { throw .notFound }
    return addresses
  }
}
