// What this process is to the system: its number, its program, its environment.

import CLinux
import Glibc

public enum ProcessIdentity {
  public static var id: Int32 { getpid() }

  /// Where the program of this process lies, to be asked at start: as it was called, so that a link
  /// or a file that is replaced later leads to the new one. /proc/self/exe would follow the old one,
  /// and says where it lies only where it was called in a way that cannot be followed.
  public static func program(calledAs name: String, path: String?) -> String? {
    let own = Files.stamp("/proc/self/exe")
    let candidates =
      name.utf8.contains(UInt8(ascii: "/"))
      ? [name]
      : (path ?? "").split(separator: ":").map { "\($0)/\(name)" }
    for candidate in candidates {
      guard let absolute = absolute(candidate), Files.stamp(absolute) == own else { continue }
      return absolute
    }
    return link("/proc/self/exe")
  }

  private static func absolute(_ path: String) -> String? {
    if path.hasPrefix("/") { return path }
    return link("/proc/self/cwd").map { "\($0)/\(path)" }
  }

  private static func link(_ path: String) -> String? {
    let room = Int(PATH_MAX)
    var bytes = [CChar](repeating: 0, count: room)
    // Safety: readlink writes at most `room` bytes, and says how many.
    let count = unsafe readlink(path, &bytes, room)
    guard count > 0 else { return nil }
    return String(decoding: bytes[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}

extension Environment {
  /// `NAME=value`, all of it.
  public static func all() -> [String] {
    var found: [String] = []
    // Safety: a NULL-terminated list of C strings, which nothing in this process changes.
    guard var next = unsafe linux_environment() else { return found }
    while let entry = unsafe next.pointee {
      found.append(unsafe String(cString: entry))
      unsafe next += 1
    }
    return found
  }
}
