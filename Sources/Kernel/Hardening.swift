// What a process can give up for good: dumps of its memory, more rights by what it executes, its
// capabilities, root. All of it is done while there is one thread only; threads inherit it.

import CLinux
import Glibc

public enum Hardening {
  /// Nobody else's debugger and no core file gets to see the memory, which holds private keys; files
  /// that are made are this user's alone. `allowsDumps`: of all that the last only.
  public static func hideMemory(allowsDumps: Bool) throws(Errno) {
    _ = umask(0o077)
    guard !allowsDumps else { return }
    var none = rlimit(rlim_cur: 0, rlim_max: 0)
    // Safety: setrlimit reads one rlimit. A sandbox may forbid it, and has its own limit then.
    _ = unsafe setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &none)
    try check(linux_prctl(PR_SET_DUMPABLE, 0, 0))
  }

  /// After a change of user, which hides the memory whatever was asked for before.
  public static func showMemory() throws(Errno) { try check(linux_prctl(PR_SET_DUMPABLE, 1, 0)) }

  /// No program that is executed from here on has rights that this one lacks.
  public static func refuseNewPrivileges() throws(Errno) {
    try check(linux_prctl(PR_SET_NO_NEW_PRIVS, 1, 0))
  }

  /// Where a program that is executed next is to find itself; nothing when that is not possible.
  public static func enterDirectory(_ path: String) {
    // Safety: the path is NUL-terminated for the call.
    _ = unsafe chdir(path)
  }

  /// A daemon keeps no file system busy.
  public static func leaveDirectory() throws(Errno) {
    // Safety: the path is a literal.
    try check(unsafe chdir("/"))
  }
}

/// Who a process is.
public struct ProcessAccount: Sendable, Equatable {
  public var user: UInt32
  public var group: UInt32

  public init(user: UInt32, group: UInt32) {
    self.user = user
    self.group = group
  }

  public static var current: Self { Self(user: geteuid(), group: getegid()) }
  public var isRoot: Bool { user == 0 }

  /// Becomes `self` for good, without any other group, and makes sure that there is no way back. Of
  /// the capabilities only that for low ports is kept.
  public func assume() throws(Errno) {
    // Without this the change of user clears them all.
    try check(linux_prctl(PR_SET_KEEPCAPS, 1, 0))
    try check(setgroups(0, nil))
    try check(setresgid(group, group, group))
    try check(setresuid(user, user, user))
    try Capabilities.keepLowPorts()
    try check(linux_prctl(PR_SET_KEEPCAPS, 0, 0))
    let unchanged = uid_t.max
    if setresuid(unchanged, 0, unchanged) == 0 { throw .permissionDenied }
  }
}

public enum Capabilities {
  private static var lowPorts: UInt32 { UInt32(CAP_NET_BIND_SERVICE) }
  /// More than any kernel has; those that there are not are refused.
  private static var numbers: Range<UInt> { 0..<64 }

  /// Gives up every capability but the one to bind ports below 1024, which a reload may need, where
  /// that is there. Root without the others may do what its files and ports allow, like any user.
  public static func keepLowPorts() throws(Errno) {
    for number in numbers where number != UInt(lowPorts) {
      // Needs a right that a process that never was root does not have, nor need.
      _ = linux_prctl(PR_CAPBSET_DROP, number, 0)
    }
    // Version 3 of the call has two structures of 32 capabilities each.
    var sets = [__user_cap_data_struct](repeating: __user_cap_data_struct(), count: 2)
    try unsafe sets.withUnsafeMutableBufferPointer { (two) throws(Errno) in
      // Safety: both calls use two structures, which is what there is.
      try check(unsafe linux_capget(two.baseAddress))
      let (low, high) = unsafe (two[0], two[1])
      let kept = low.permitted & 1 << lowPorts
      // A sandbox that leaves no more than that may forbid the call as well.
      let others = (low.permitted | low.effective | low.inheritable) & ~kept
      if others | high.permitted | high.effective | high.inheritable == 0 { return }
      unsafe two[0] = __user_cap_data_struct(effective: kept, permitted: kept, inheritable: kept)
      unsafe two[1] = __user_cap_data_struct()
      try check(unsafe linux_capset(two.baseAddress))
    }
    // For a successor that this process executes. Root's has it anyway.
    _ = linux_prctl(PR_CAP_AMBIENT, UInt(PR_CAP_AMBIENT_RAISE), UInt(lowPorts))
  }
}
