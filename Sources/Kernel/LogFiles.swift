// Files that log lines are appended to.

import CLinux
import Glibc

/// Why lines cannot be appended to a path.
public enum LogFileFailure: Error, Sendable, Equatable {
  case isDirectory
  /// What it leads to may be anybody's choice who can write to its directory.
  case isSymbolicLink
  case noDirectory
  case failed(Errno)
}

extension LogFileFailure: CustomStringConvertible {
  public var description: String {
    switch self {
    case .isDirectory: "is a directory"
    case .isSymbolicLink: "is a symbolic link, which a log file may not be"
    case .noDirectory: "its directory does not exist"
    case .failed(let errno): errno.description
    }
  }
}

extension Files {
  /// A file that lines are appended to. One that is not there is made, is `owner`'s, and has the mode
  /// 0640 whatever the umask is, which is made for other files than these.
  public static func openLog(
    _ path: String, owner: ProcessAccount? = nil
  ) throws(LogFileFailure) -> Descriptor {
    do throws(LogFileFailure) {
      return try openThere(path)
    } catch {
      guard error == .noDirectory else { throw error }
    }
    let number = openAppending(path, making: true)
    guard number >= 0 else {
      // Another process may have been quicker.
      if errno == EEXIST { return try openThere(path) }
      throw failure(errno)
    }
    do throws(Errno) {
      if let owner { try check(fchown(number, owner.user, owner.group)) }
      try check(fchmod(number, 0o640))
    } catch {
      close(Descriptor(number))
      throw .failed(error)
    }
    return Descriptor(number)
  }

  /// What keeps this process from opening that log file, found out without making it.
  public static func obstacle(toLog path: String) -> LogFileFailure? {
    do throws(LogFileFailure) {
      close(try openThere(path))
      return nil
    } catch {
      guard error == .noDirectory else { return error }
    }
    let directory = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
    // Safety: the path is NUL-terminated for the call.
    return unsafe access(directory, W_OK | X_OK) == 0 ? nil : failure(errno)
  }

  public static func close(_ descriptor: Descriptor) { _ = Glibc.close(descriptor.number) }

  private static func openThere(_ path: String) throws(LogFileFailure) -> Descriptor {
    let number = openAppending(path, making: false)
    guard number >= 0 else { throw failure(errno) }
    return Descriptor(number)
  }

  /// A pipe without a reader is an error, for nobody is to wait here.
  private static func openAppending(_ path: String, making: Bool) -> CInt {
    let flags = O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK
    // Safety: the path is NUL-terminated for the call.
    return unsafe Glibc.open(path, making ? flags | O_CREAT | O_EXCL : flags, 0o600)
  }

  private static func failure(_ code: CInt) -> LogFileFailure {
    switch code {
    case EISDIR: .isDirectory
    case ELOOP: .isSymbolicLink
    case ENOENT, ENOTDIR: .noDirectory
    default: .failed(Errno(code))
    }
  }
}
