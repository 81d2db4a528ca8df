// Another program, started beside this one and given sockets of ours by the convention of
// sd_listen_fds(3). What happens between vfork and execve is C (`linux_become`).

import CLinux
import Glibc

public struct ChildProcess: Sendable {
  /// How a process has ended.
  public enum End: Sendable, Equatable {
    case status(Int32)
    case signal(Int32)
  }

  public let id: Int32

  /// The first descriptor that is passed (SD_LISTEN_FDS_START).
  public static var firstPassed: Int32 { 3 }

  /// Runs the program at `path`. It gets `descriptors` as 3, 4, 5 and so on, and of ours beside them
  /// only 0, 1 and 2. Its environment is `environment` and LISTEN_PID.
  /// - Parameter arguments: with the name of the program.
  public static func start(
    _ path: String, arguments: [String], environment: [String], descriptors: [Descriptor]
  ) throws(Errno) -> ChildProcess {
    let moved = try duplicates(of: descriptors)
    defer { for number in moved { _ = Glibc.close(number) } }
    let name = "LISTEN_PID="
    // Room for the digits of any process id.
    let words = unsafe copies(of: environment + [name + "0000000000"])
    let arguments = unsafe copies(of: arguments)
    defer { unsafe (words + arguments).forEach { unsafe Glibc.free($0) } }
    let child = unsafe path.withCString { path in
      unsafe words.withUnsafeBufferPointer { words in
        unsafe arguments.withUnsafeBufferPointer { arguments in
          unsafe moved.withUnsafeBufferPointer { moved -> Int32 in
            // Safety: all of it lives until the child runs its program, which the call waits for. The
            // last word is the nil behind the one with the digits.
            guard let last = unsafe words[words.count - 2] else { return -1 }
            var program = unsafe linux_program(
              path: path, arguments: arguments.baseAddress, environment: words.baseAddress,
              digits: last + name.utf8.count, descriptors: moved.baseAddress,
              count: CInt(moved.count))
            return unsafe linux_start(&program)
          }
        }
      }
    }
    guard child > 0 else { throw Errno(errno) }
    return ChildProcess(id: child)
  }

  /// Above all numbers that the child's descriptors will have.
  private static func duplicates(of descriptors: [Descriptor]) throws(Errno) -> [CInt] {
    let lowest = firstPassed + CInt(descriptors.count)
    var made: [CInt] = []
    for descriptor in descriptors {
      let number = linux_duplicate_above(descriptor.number, lowest)
      guard number >= 0 else {
        let code = errno
        for other in made { _ = Glibc.close(other) }
        throw Errno(code)
      }
      made.append(number)
    }
    return made
  }

  /// How it has ended, told once; nil while it runs.
  public func end() -> End? {
    let code = linux_child_end(id)
    guard code >= 0 else { return nil }
    return code >= 256 ? .signal(code - 256) : .status(code)
  }

  public func terminate() { _ = Glibc.kill(id, SIGTERM) }
  public func kill() { _ = Glibc.kill(id, SIGKILL) }
}

/// C strings, to be freed, and a nil behind them.
@unsafe
private func copies(of texts: [String]) -> [UnsafeMutablePointer<CChar>?] {
  // Safety: strdup copies; nil, where there is no memory, ends the list early.
  unsafe texts.map { unsafe strdup($0) } + [nil]
}
