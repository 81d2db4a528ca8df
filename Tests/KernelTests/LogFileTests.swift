// Files that log lines are appended to.

import Bytes
import Glibc
import Testing

@testable import Kernel

@Suite("Log files")
struct LogFileTests {
  /// A directory of its own, gone at the end.
  private func inDirectory(_ body: (String) throws -> Void) throws {
    let directory = "/tmp/bascule-log-\(getpid())-\(UInt32.random(in: 0 ... .max))"
    mkdir(directory, 0o700)
    defer {
      for name in (try? Files.list(directory)) ?? [] { unlink("\(directory)/\(name)") }
      rmdir(directory)
    }
    try body(directory)
  }

  private func append(_ text: String, to path: String) throws {
    let file = try Files.openLog(path)
    defer { Files.close(file) }
    let bytes = Array(text.utf8)
    #expect(Files.write(bytes.span, to: file) == nil)
  }

  @Test("a log file is made once, for its owner and its group, and appended to")
  func appending() throws {
    try inDirectory { directory in
      let path = directory + "/access.log"
      #expect(Files.obstacle(toLog: path) == nil)
      #expect(try Files.list(directory) == [])
      try append("one\n", to: path)
      #expect(Files.permissions(path) == 0o640)
      #expect(Files.obstacle(toLog: path) == nil)
      try append("two\n", to: path)
      #expect(try Files.read(path, maxBytes: 100) == Array("one\ntwo\n".utf8))
    }
  }

  @Test("what is no file of its own is refused, before and at the opening")
  func refusals() throws {
    try inDirectory { directory in
      try append("", to: directory + "/there")
      symlink(directory + "/there", directory + "/link")
      symlink(directory + "/nowhere", directory + "/dangling")
      mkfifo(directory + "/pipe", 0o600)
      let rows: [(String, LogFileFailure)] = [
        (directory, .isDirectory), (directory + "/link", .isSymbolicLink),
        (directory + "/dangling", .isSymbolicLink), (directory + "/none/access.log", .noDirectory),
        (directory + "/there/access.log", .noDirectory),
        // Nobody reads: nobody is waited for.
        (directory + "/pipe", .failed(.other(ENXIO))),
      ]
      for (path, failure) in rows {
        #expect(Files.obstacle(toLog: path) == failure)
        #expect(throws: failure) { try Files.openLog(path) }
      }
      #expect(try Files.list(directory) == ["dangling", "link", "pipe", "there"])
    }
  }

  @Test("a full device says so, and how much it took")
  func full() throws {
    let file = try Files.openLog("/dev/full")
    defer { Files.close(file) }
    var written = 7
    let bytes: [UInt8] = [1, 2, 3]
    #expect(Files.write(bytes.span, to: file, written: &written) == .noSpace)
    #expect(written == 0)
  }

  @Test("a wake-up is waited for, and one that has come before is not missed")
  func waiting() throws {
    let wakeup = try Wakeup()
    defer { wakeup.close() }
    let thread = try SystemThread.start(name: "waker") { wakeup.wake() }
    wakeup.wait()
    thread.join()
    wakeup.wake()
    wakeup.wait()
    #expect(!wakeup.take())
  }
}
