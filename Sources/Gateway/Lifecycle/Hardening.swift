// What the process gives up once its ports are bound and its keys are read, and before there is another
// thread: root, capabilities, new rights, its directory.

import Bytes
import Configuration
import Kernel
import Telemetry

extension Supervisor {
  mutating func giveUpRights() throws(StartFailure) {
    let wall = kernel.wallClock()
    let before = ProcessAccount.current
    let next = before.isRoot ? prepared.identity : nil
    try giveUp(next)
    if prepared.snapshot.coreDumps {
      log.remark(
        "core_dumps: a crash writes private keys and what clients send to a file", .warn, wall: wall
      )
    }
    if let wanted = prepared.identity, wanted.user != ProcessAccount.current.user {
      log.remark(
        "user has no effect: only root can become another user, and this is user \(before.user)",
        .warn, wall: wall)
    }
    // A demo and an echo have no file that could name a user.
    if before.isRoot, next == nil, load != nil {
      log.remark(
        "running as root, though without its capabilities: name a user in the configuration", .warn,
        wall: wall)
    }
    if before.isRoot { warnOfBarredFiles(wall) }
  }

  private func giveUp(_ next: ProcessAccount?) throws(StartFailure) {
    do throws(Errno) {
      if let next {
        for address in slots.map(\.bound) + [prepared.admin].compactMap(\.self) {
          if case .unix(let path) = address { try Files.giveSocket(path, to: next) }
        }
        try next.assume()
        // The change of user has hidden the memory.
        if prepared.snapshot.coreDumps { try Hardening.showMemory() }
      } else {
        try Capabilities.keepLowPorts()
      }
      try Hardening.refuseNewPrivileges()
      try Hardening.leaveDirectory()
    } catch {
      let what = next.map { "become user \($0.user)" } ?? "give up rights"
      throw .system("cannot \(what): \(error.description)")
    }
  }

  /// What root could read, and a reload cannot any more. Better heard now than on the day of the
  /// reload.
  private mutating func warnOfBarredFiles(_ wall: Int64) {
    for path in fileWatch.paths.sorted() where Files.isBarred(path) {
      log.remark(
        "a reload will not be able to read \(path): give it the group of the gateway's user", .warn,
        wall: wall)
    }
    if case .file(let path) = running.log.access, Files.obstacle(toLog: path) != nil {
      log.remark(
        "SIGUSR1 will not be able to open \(path): give it to the gateway's user", .warn, wall: wall
      )
    }
  }
}
