// What start-up asks of the system: listeners, wake-ups, threads, signals, files, names, limits.

import Bytes
import Glibc
import Synchronization
import Testing

@testable import Kernel

private func temporaryPath(_ name: String) -> String { "/tmp/bascule-test-\(getpid())-\(name)" }

@Suite("Listening")
struct ListeningTests {
  @Test("several workers open the same address, and port 0 becomes one that can be told")
  func sharedPort() throws {
    let first = try Listening.open(.ip(.v4(0x7f00_0001), port: 0), backlog: 8)
    defer { Listening.close(first) }
    let address = try #require(Listening.localAddress(of: first))
    #expect(address.ip == .v4(0x7f00_0001))
    #expect(address.port != 0)
    let second = try Listening.open(address, backlog: 8)
    Listening.close(second)
  }

  @Test("accepted sockets inherit TCP_NODELAY")
  func noDelay() throws {
    var kernel = try LinuxKernel()
    let listener = try Listening.open(.ip(.v4(0x7f00_0001), port: 0), backlog: 8)
    let address = try #require(Listening.localAddress(of: listener))
    guard case .inProgress(let near) = kernel.connect(address) else { throw Errno.timedOut }
    _ = kernel.watch(listener, .read, token: 1)
    var events: [Event] = []
    kernel.wait(.seconds(5), into: &events)
    guard case .accepted(let far, _) = kernel.accept(listener) else { throw Errno.timedOut }
    for descriptor in [near, far] {
      var value: CInt = 0
      var length = socklen_t(4)
      getsockopt(descriptor.number, CInt(IPPROTO_TCP), TCP_NODELAY, &value, &length)
      #expect(value == 1)
      #expect(fcntl(descriptor.number, F_GETFD) & FD_CLOEXEC == FD_CLOEXEC)
      #expect(fcntl(descriptor.number, F_GETFL) & O_NONBLOCK == O_NONBLOCK)
    }
    for descriptor in [near, far, listener] { kernel.close(descriptor) }
  }

  @Test("the probe finds a port in use, which opening would share, and accepts a free one")
  func probe() throws {
    let any = SocketAddress.ip(.v4(0x7f00_0001), port: 0)
    #expect(Listening.probe(any) == nil)
    let listener = try Listening.open(any, backlog: 8)
    let address = try #require(Listening.localAddress(of: listener))
    #expect(Listening.probe(address) == .addressInUse)
    Listening.close(listener)
    #expect(Listening.probe(address) == nil)
    #expect(Listening.probe(.ip(.v4(0xc000_0201), port: 0)) == .addressNotAvailable)
  }

  @Test("a unix socket has mode 0660, is refused while somebody listens, and replaced when stale")
  func unixSockets() throws {
    let path = temporaryPath("listen.sock")
    defer { unlink(path) }
    #expect(Listening.probe(.unix(path)) == nil)
    let first = try Listening.open(.unix(path), backlog: 8)
    var information = stat()
    #expect(lstat(path, &information) == 0)
    #expect(information.st_mode & 0o777 == 0o660)
    #expect(Listening.localAddress(of: first) == .unix(path))
    #expect(Listening.probe(.unix(path)) == .addressInUse)
    #expect(throws: Errno.addressInUse) { try Listening.open(.unix(path), backlog: 8) }
    Listening.close(first)
    #expect(Listening.probe(.unix(path)) == nil)
    let second = try Listening.open(.unix(path), backlog: 8)
    Listening.close(second)
  }

  @Test("a file that is no socket is never removed, and a missing directory is reported")
  func otherFiles() throws {
    let path = temporaryPath("file")
    let descriptor = open(path, O_CREAT | O_WRONLY, 0o600)
    close(descriptor)
    defer { unlink(path) }
    #expect(throws: Errno.addressInUse) { try Listening.open(.unix(path), backlog: 8) }
    #expect(Listening.probe(.unix(path)) == .addressInUse)
    #expect(access(path, F_OK) == 0)
    #expect(Listening.probe(.unix("/nowhere/a.sock")) == .notFound)
    #expect(throws: Errno.notFound) { try Listening.open(.unix("/nowhere/a.sock"), backlog: 8) }
  }
}

@Suite("Threads, wake-ups and signals")
struct ThreadTests {
  @Test("a wake-up from another thread ends a wait, once")
  func wakeup() throws {
    var kernel = try LinuxKernel()
    let wakeup = try Wakeup()
    defer { wakeup.close() }
    _ = kernel.watch(wakeup.descriptor, .read, token: 3)
    let thread = try SystemThread.start(name: "waker") {
      wakeup.wake()
      wakeup.wake()
    }
    var events: [Event] = []
    kernel.wait(.seconds(5), into: &events)
    #expect(events.map(\.token) == [3])
    thread.join()
    kernel.drainWakeups(wakeup.descriptor)
    kernel.wait(.zero, into: &events)
    #expect(events.isEmpty)
  }

  @Test("a thread has its name, and join waits for it")
  func threads() throws {
    let name = Mutex("")
    let thread = try SystemThread.start(name: "bascule-worker-7", stackBytes: 512 << 10) {
      usleep(20_000)
      let bytes = try? Files.read("/proc/thread-self/comm", maxBytes: 64)
      name.withLock { $0 = String(decoding: bytes ?? [], as: UTF8.self) }
    }
    thread.join()
    // The kernel keeps 15 bytes.
    #expect(name.withLock { $0 } == "bascule-worker-\n")
  }

  @Test("signals arrive as values, and a timeout as none")
  func signals() throws {
    let seen = Mutex<[Signal?]>([])
    // On a thread of its own: the test process does not block these signals.
    let thread = try SystemThread.start(name: "signals") {
      guard let signals = try? Signals() else { return }
      var taken: [Signal?] = [signals.next(timeout: .milliseconds(1))]
      for number in [SIGTERM, SIGHUP, SIGINT, SIGUSR1, SIGUSR2] {
        pthread_kill(pthread_self(), number)
        taken.append(signals.next(timeout: .seconds(5)))
      }
      seen.withLock { $0 = taken }
    }
    thread.join()
    #expect(seen.withLock { $0 } == [nil, .terminate, .hangUp, .interrupt, .user1, .user2])
  }

  @Test("a wait's timeout is rounded up to milliseconds, and no timeout is for ever")
  func rounding() {
    #expect(milliseconds(nil) == -1)
    #expect(milliseconds(.zero) == 0)
    #expect(milliseconds(TimeSpan(nanoseconds: -5)) == 0)
    #expect(milliseconds(TimeSpan(nanoseconds: 1)) == 1)
    #expect(milliseconds(TimeSpan(nanoseconds: 1_000_000)) == 1)
    #expect(milliseconds(TimeSpan(nanoseconds: 1_000_001)) == 2)
    #expect(milliseconds(TimeSpan(nanoseconds: .max)) == .max)
  }
}

@Suite("Files and names")
struct FileTests {
  @Test("a file is read whole, up to a limit")
  func reading() throws {
    let path = temporaryPath("content")
    defer { unlink(path) }
    let content = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 / 7) }
    let descriptor = Descriptor(open(path, O_CREAT | O_WRONLY, 0o600))
    #expect(Files.write(content.span, to: descriptor) == nil)
    close(descriptor.number)
    #expect(try Files.read(path, maxBytes: 100_000) == content)
    #expect(throws: FileFailure.tooLarge) { try Files.read(path, maxBytes: 99_999) }
    #expect(throws: FileFailure.tooLarge) { try Files.read("/dev/zero", maxBytes: 1 << 20) }
    #expect(throws: FileFailure.isDirectory) { try Files.read("/tmp", maxBytes: 10) }
    #expect(throws: FileFailure.failed(.notFound)) { try Files.read("/nowhere", maxBytes: 10) }
    #expect(throws: FileFailure.failed(.notFound)) { try Files.read(path + "\0a", maxBytes: 10) }
  }

  @Test("a directory is listed in order")
  func listing() throws {
    let path = temporaryPath("directory")
    mkdir(path, 0o700)
    let names = ["b.yaml", "a.yaml", "A.yaml", ".hidden"]
    for name in names { close(open("\(path)/\(name)", O_CREAT | O_WRONLY, 0o600)) }
    defer {
      for name in names { unlink("\(path)/\(name)") }
      rmdir(path)
    }
    #expect(try Files.list(path) == [".hidden", "A.yaml", "a.yaml", "b.yaml"])
    #expect(throws: FileFailure.failed(.notFound)) { try Files.list("/nowhere") }
  }

  @Test("a blocked non-blocking pipe delays a write and loses nothing; a closed one is an error")
  func writing() throws {
    var ends: [CInt] = [0, 0]
    #expect(pipe(&ends) == 0)
    let (reader, writer) = (ends[0], ends[1])
    _ = fcntl(writer, F_SETFL, O_NONBLOCK)
    let content = [UInt8](repeating: 9, count: 300_000)
    let thread = try SystemThread.start(name: "writer") {
      _ = Files.write(content.span, to: Descriptor(writer))
      close(writer)
    }
    var received = 0
    var chunk = [UInt8](repeating: 0, count: 65_536)
    while case let count = read(reader, &chunk, chunk.count), count > 0 { received += count }
    #expect(received == content.count)
    thread.join()
    close(reader)
    #expect(pipe(&ends) == 0)
    close(ends[0])
    signal(SIGPIPE, SIG_IGN)
    #expect(Files.write([1].span, to: Descriptor(ends[1])) == .brokenPipe)
    close(ends[1])
  }

  @Test("names and literals resolve; what does not exist says so")
  func resolving() throws {
    #expect(try Resolver.resolve("127.0.0.1") == [.v4(0x7f00_0001)])
    #expect(try Resolver.resolve("::1") == [.v6(high: 0, low: 1)])
    #expect(try Resolver.resolve("localhost").contains(.v4(0x7f00_0001)))
    #expect(throws: ResolveFailure.self) { try Resolver.resolve("bascule-test.invalid") }
  }

  @Test("the environment is readable")
  func environment() {
    #expect(Environment.value("PATH") != nil)
    #expect(Environment.value("BASCULE_TEST_NOT_SET") == nil)
  }
}

@Suite("Limits of the process")
struct ProcessLimitTests {
  @Test("the soft descriptor limit can be raised to the hard one")
  func descriptors() throws {
    let raised = try DescriptorLimit.raise()
    let now = try DescriptorLimit.current()
    #expect(raised == now.soft)
    #expect(now.soft == now.hard)
  }

  @Test("at least one processor is usable, and no more than there are")
  func processors() {
    let count = Processors.usable()
    #expect(count >= 1)
    #expect(count <= sysconf(CInt(_SC_NPROCESSORS_CONF)))
  }

  static let quotas: [(String, Int?)] = [
    ("max 100000\n", nil), ("100000 100000\n", 1), ("100001 100000\n", 2), ("50000 100000", 1),
    ("250000 100000\n", 3), ("400000 100000\n", 4), ("0 100000\n", nil), ("100000 0\n", nil),
    ("-1 100000\n", nil), ("", nil), ("100000\n", nil), ("1 2 3\n", nil), ("x 100000\n", nil),
    ("99999999999999999999 1\n", nil), ("9223372036854775807 9223372036854775806\n", 2),
  ]

  @Test("a cgroup v2 quota is rounded up to processors", arguments: quotas)
  func version2(_ text: String, _ expected: Int?) {
    #expect(CPUQuota.version2(text) == expected)
  }

  @Test("a cgroup v1 quota is rounded up to processors, and -1 is none")
  func version1() {
    #expect(CPUQuota.version1(quota: "-1\n", period: "100000\n") == nil)
    #expect(CPUQuota.version1(quota: "150000\n", period: "100000\n") == 2)
    #expect(CPUQuota.version1(quota: "", period: "100000\n") == nil)
  }

  @Test("the groups that limit CPUs are found among the others")
  func groups() {
    let group = { ControlGroup.group(of: $0, "cpu") }
    #expect(group("0::/") == .version2(path: "/"))
    #expect(group("0::/a.slice/b:c") == .version2(path: "/a.slice/b:c"))
    #expect(group("4:cpu,cpuacct:/docker/x") == .version1(path: "/docker/x"))
    #expect(ControlGroup.group(of: "4:cpu,memory:/x", "memory") == .version1(path: "/x"))
    #expect(group("3:cpuset:/x") == nil)
    #expect(group("1:name=systemd:/x") == nil)
    #expect(group("garbage") == nil)
    #expect(ControlGroup.ancestors(of: "/a/b") == ["/a/b", "/a", ""])
    #expect(ControlGroup.ancestors(of: "/") == [""])
  }

  @Test("a limit of memory is what the group's file says, unless it says that there is none")
  func memoryLimit() {
    #expect(MemoryUse.limit("536870912\n") == 536_870_912)
    #expect(MemoryUse.limit("max\n") == nil)
    #expect(MemoryUse.limit("9223372036854771712\n") == nil)
    #expect(MemoryUse.limit("0\n") == nil)
    #expect(MemoryUse.limit("") == nil)
  }

  @Test("what a group could give back is not counted as used")
  func memoryOfAGroup() {
    let statistics = "anon 100\nfile 30\nslab_reclaimable 20\nslab_unreclaimable 7\n"
    #expect(MemoryUse.used("200\n", statistics, ["file", "slab_reclaimable"]) == 150)
    #expect(MemoryUse.used("40\n", statistics, ["file", "slab_reclaimable"]) == 0)
    #expect(MemoryUse.used("40\n", "", ["file"]) == 40)
    #expect(MemoryUse.used("", statistics, ["file"]) == nil)
    #expect(MemoryUse.used("5", "file x\nfile\n\n", ["file"]) == 5)
  }

  @Test("what is resident is read from the second number, in pages")
  func resident() {
    #expect(MemoryUse.pages("1000 25 3 4 0 5 0\n") == 25)
    #expect(MemoryUse.pages("1000") == nil)
    #expect(MemoryUse.pages("a b") == nil)
    #expect(MemoryUse.resident() ?? 0 > 1 << 20)
  }
}
