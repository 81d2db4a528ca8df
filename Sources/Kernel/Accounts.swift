// The names of users and groups, as the system has them. Read at start; may ask a directory service.

import CLinux
import Glibc

/// The names of users and groups.
public enum Accounts {
  /// By name or number. A number needs no account; its group is the account's, or the same number.
  public static func user(_ text: String) -> ProcessAccount? {
    if let number = UInt32(text) {
      return ProcessAccount(user: number, group: entry(number)?.group ?? number)
    }
    return entry(text)
  }

  public static func group(_ text: String) -> UInt32? {
    if let number = UInt32(text) { return number }
    var storage = unsafe Glibc.group()
    return unsafe look { buffer, size in
      var found: UnsafeMutablePointer<Glibc.group>?
      // Safety: see `look`.
      let code = unsafe getgrnam_r(text, &storage, buffer, size, &found)
      return (code, unsafe found?.pointee.gr_gid)
    }
  }

  private static func entry(_ name: String) -> ProcessAccount? {
    var storage = unsafe passwd()
    return unsafe look { buffer, size in
      var found: UnsafeMutablePointer<passwd>?
      // Safety: see `look`.
      let code = unsafe getpwnam_r(name, &storage, buffer, size, &found)
      return (code, unsafe found.map { unsafe ProcessAccount($0.pointee) })
    }
  }

  private static func entry(_ number: UInt32) -> ProcessAccount? {
    var storage = unsafe passwd()
    return unsafe look { buffer, size in
      var found: UnsafeMutablePointer<passwd>?
      // Safety: see `look`.
      let code = unsafe getpwuid_r(number, &storage, buffer, size, &found)
      return (code, unsafe found.map { unsafe ProcessAccount($0.pointee) })
    }
  }

  /// Calls `ask` with more and more room for the texts of an entry; all of its results are copied out
  /// of that room.
  private static func look<Value>(
    _ ask: (UnsafeMutablePointer<CChar>, Int) -> (CInt, Value?)
  ) -> Value? {
    var size = 1024
    while size <= 1 << 20 {
      // Safety: ours for the length of the call, and as large as it is told to be.
      let buffer = UnsafeMutablePointer<CChar>.allocate(capacity: size)
      defer { unsafe buffer.deallocate() }
      let (code, value) = unsafe ask(buffer, size)
      if code != ERANGE { return code == 0 ? value : nil }
      size *= 4
    }
    return nil
  }
}

extension ProcessAccount {
  fileprivate init(_ entry: passwd) {
    self.init(user: unsafe entry.pw_uid, group: unsafe entry.pw_gid)
  }
}
