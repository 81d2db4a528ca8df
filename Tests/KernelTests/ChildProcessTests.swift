// A child process with descriptors of ours, sockets that were passed to this one, and what is told to
// a service manager.

import Bytes
import Glibc
import Testing

@testable import Kernel

@Suite("Child processes")
struct ChildProcessTests {
  private func start(_ script: String, _ descriptors: [Descriptor]) throws -> ChildProcess {
    try ChildProcess.start(
      "/bin/sh", arguments: ["sh", "-c", script], environment: ["WORD=a b", "PATH=/bin:/usr/bin"],
      descriptors: descriptors)
  }

  private func end(of child: ChildProcess) -> ChildProcess.End? {
    for _ in 0..<1_000 {
      if let end = child.end() { return end }
      Pause.sleep(.milliseconds(10))
    }
    child.kill()
    return nil
  }

  private func readAll(_ descriptor: CInt) -> String {
    var text: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 4_096)
    while case let count = read(descriptor, &chunk, chunk.count), count > 0 {
      text += chunk[..<count]
    }
    return String(decoding: text, as: UTF8.self)
  }

  @Test("a child has its own process id, its environment, what it was passed, and nothing else")
  func passing() throws {
    var ends: [CInt] = [0, 0]
    #expect(pipe(&ends) == 0)
    // Neither is close-on-exec.
    let leak = open("/dev/null", O_RDONLY)
    let other = fcntl(leak, F_DUPFD, 500)
    let script = """
      test -e /proc/$$/fd/\(other) && echo leak >&4
      echo "$LISTEN_PID $$ $WORD" >&4
      test -c /dev/fd/3 && echo null >&4
      """
    let child = try start(script, [Descriptor(leak), Descriptor(ends[1])])
    close(ends[1])
    #expect(readAll(ends[0]) == "\(child.id) \(child.id) a b\nnull\n")
    #expect(end(of: child) == .status(0))
    for descriptor in [ends[0], leak, other] { close(descriptor) }
  }

  @Test("targets that are sources of others arrive all the same")
  func permutation() throws {
    var first: [CInt] = [0, 0]
    var second: [CInt] = [0, 0]
    #expect(pipe(&first) == 0)
    #expect(pipe(&second) == 0)
    let writers = [second[1], first[1]].map { Descriptor($0) }
    let child = try start("echo second >&3; echo first >&4", writers)
    close(first[1])
    close(second[1])
    #expect(readAll(first[0]) == "first\n")
    #expect(readAll(second[0]) == "second\n")
    #expect(end(of: child) == .status(0))
    close(first[0])
    close(second[0])
  }

  @Test("a program that is not there is an error here, and ends are told apart")
  func failures() throws {
    #expect(throws: Errno.notFound) {
      try ChildProcess.start(
        "/nowhere/program", arguments: ["x"], environment: [], descriptors: [])
    }
    #expect(throws: Errno.permissionDenied) {
      try ChildProcess.start("/etc/passwd", arguments: ["x"], environment: [], descriptors: [])
    }
    #expect(end(of: try start("exit 78", [])) == .status(78))
    #expect(end(of: try start("kill -9 $$", [])) == .signal(9))
    let sleeper = try start("exec sleep 60", [])
    #expect(sleeper.end() == nil)
    sleeper.terminate()
    #expect(end(of: sleeper) == .signal(15))
  }

  @Test("signals that are blocked or ignored here are neither in a child")
  func signals() throws {
    var ends: [CInt] = [0, 0]
    #expect(pipe(&ends) == 0)
    let child = try start("grep -E 'Sig(Blk|Ign)' /proc/self/status >&3", [Descriptor(ends[1])])
    close(ends[1])
    let rows = readAll(ends[0]).split(separator: "\n").map { $0.split(separator: "\t") }
    #expect(rows.count == 2)
    // SIGPIPE is bit 12 of what is ignored.
    #expect(rows[0].last == "0000000000000000")
    #expect((UInt64(rows[1].last ?? "", radix: 16) ?? .max) & 1 << 12 == 0)
    #expect(end(of: child) == .status(0))
    close(ends[0])
  }

  @Test("a program is found where it was called, when it is this one")
  func program() throws {
    let own = try #require(ProcessIdentity.program(calledAs: "no-such-program", path: "/bin"))
    #expect(own.hasPrefix("/"))
    #expect(ProcessIdentity.program(calledAs: "sh", path: "/bin") == own)
    #expect(ProcessIdentity.program(calledAs: "/bin/sh", path: nil) == own)
    let link = "/tmp/bascule-test-\(getpid())-program"
    defer { unlink(link) }
    #expect(symlink(own, link) == 0)
    #expect(ProcessIdentity.program(calledAs: link, path: nil) == link)
    let name = String(link.dropFirst(5))
    #expect(ProcessIdentity.program(calledAs: name, path: "/bin:/tmp") == link)
  }
}

@Suite("Passed sockets and service managers")
struct PassedSocketTests {
  @Test("only a listening stream socket is adopted, and it is prepared like one of ours")
  func adoption() throws {
    let any = SocketAddress.ip(.v4(0x7f00_0001), port: 0)
    let listener = try Listening.open(any, backlog: 8)
    defer { Listening.close(listener) }
    _ = fcntl(listener.number, F_SETFD, 0)
    _ = fcntl(listener.number, F_SETFL, 0)
    #expect(Listening.adopt(listener) == Listening.localAddress(of: listener))
    try Listening.prepare(listener, backlog: 16)
    #expect(fcntl(listener.number, F_GETFD) & FD_CLOEXEC == FD_CLOEXEC)
    #expect(fcntl(listener.number, F_GETFL) & O_NONBLOCK == O_NONBLOCK)
    let datagram = socket(AF_INET, CInt(SOCK_DGRAM.rawValue), 0)
    let silent = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
    let file = open("/dev/null", O_RDONLY)
    for number in [datagram, silent, file, 9_999] {
      #expect(Listening.adopt(Descriptor(number)) == nil)
    }
    for number in [datagram, silent, file] { close(number) }
  }

  @Test("a wake-up is taken once")
  func taking() throws {
    let wakeup = try Wakeup()
    defer { wakeup.close() }
    #expect(!wakeup.take())
    Wakeup(wakeup.descriptor).wake()
    #expect(wakeup.take())
    #expect(!wakeup.take())
  }

  @Test("names that cannot be a socket's are an error")
  func names() {
    for name in ["", "@", "/nowhere/at/all", String(repeating: "n", count: 200)] {
      #expect(ServiceSocket.send("READY=1", to: name) != nil)
    }
  }
}
