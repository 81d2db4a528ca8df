// Error numbers as an enum. The only place where errno values are known by name; above this module
// nobody compares numbers.

import CLinux

/// Why a system call failed. `other` keeps the number for the log.
public enum Errno: Error, Sendable, Hashable {
  case connectionRefused
  case connectionReset
  case brokenPipe
  case timedOut
  case hostUnreachable
  case networkUnreachable
  /// No free local port, or an address this host does not have.
  case addressNotAvailable
  case addressInUse
  case permissionDenied
  /// The descriptor limit of the process or of the system.
  case tooManyFiles
  case noMemory
  case notFound
  case noSpace
  case fileTooLarge
  case other(Int32)

  init(_ code: Int32) {
    self =
      switch code {
      case ECONNREFUSED: .connectionRefused
      case ECONNRESET, ECONNABORTED: .connectionReset
      case EPIPE: .brokenPipe
      case ETIMEDOUT: .timedOut
      case EHOSTUNREACH, EHOSTDOWN: .hostUnreachable
      case ENETUNREACH, ENETDOWN: .networkUnreachable
      case EADDRNOTAVAIL: .addressNotAvailable
      case EADDRINUSE: .addressInUse
      case EACCES, EPERM: .permissionDenied
      case EMFILE, ENFILE: .tooManyFiles
      case ENOBUFS, ENOMEM: .noMemory
      case ENOENT: .notFound
      case ENOSPC, EDQUOT: .noSpace
      case EFBIG: .fileTooLarge
      default: .other(code)
      }
  }
}

extension Errno: CustomStringConvertible {
  /// For people and log lines: `connection refused`, `error 71`.
  public var description: String {
    if case .other(let code) = self { "error \(code)" } else { "\(word)" }
  }

  /// The same without the number, for tables of fixed words.
  public var word: StaticString {
    switch self {
    case .connectionRefused: "connection refused"
    case .connectionReset: "connection reset"
    case .brokenPipe: "broken pipe"
    case .timedOut: "timed out"
    case .hostUnreachable: "host unreachable"
    case .networkUnreachable: "network unreachable"
    case .addressNotAvailable: "address not available"
    case .addressInUse: "address in use"
    case .permissionDenied: "permission denied"
    case .tooManyFiles: "too many open files"
    case .noMemory: "out of memory"
    case .notFound: "not found"
    case .noSpace: "no space left on the device"
    case .fileTooLarge: "file too large"
    case .other: "other error"
    }
  }
}
