// The real system calls, over loopback and unix sockets. Every wait is bounded.

import Bytes
import Glibc
import Kernel
import Testing

private let loopback = SocketAddress.ip(.v4(0x7f00_0001), port: 0)

/// A connected pair: what `connect` gave, what `accept` gave, and the listener.
private struct Pair {
  let near: Descriptor
  let far: Descriptor
  let peer: SocketAddress
  let listener: Descriptor
}

/// Waits until `descriptor` is ready for `interest`; false after five seconds.
private func waitUntilReady(
  _ kernel: inout LinuxKernel, _ descriptor: Descriptor, _ interest: Interest
) -> Bool {
  guard kernel.watch(descriptor, interest, token: 7) else { return false }
  defer { kernel.unwatch(descriptor) }
  var events: [Event] = []
  kernel.wait(.seconds(5), into: &events)
  return events.count == 1 && events[0].token == 7
}

private func makePair(_ kernel: inout LinuxKernel, _ address: SocketAddress) throws -> Pair {
  let listener = try Listening.open(address, backlog: 16)
  let bound = try #require(Listening.localAddress(of: listener))
  let near: Descriptor
  switch kernel.connect(bound) {
  case .connected(let descriptor), .inProgress(let descriptor): near = descriptor
  case .failed(let errno): throw errno
  }
  let pending = waitUntilReady(&kernel, listener, .read)
  #expect(pending)
  guard case .accepted(let far, let peer) = kernel.accept(listener) else { throw Errno.timedOut }
  let writable = waitUntilReady(&kernel, near, .write)
  #expect(writable)
  let failure = kernel.pendingError(near)
  #expect(failure == nil)
  return Pair(near: near, far: far, peer: peer, listener: listener)
}

private func read(_ kernel: inout LinuxKernel, _ descriptor: Descriptor, _ buffer: SharedBuffer)
  -> IOOutcome
{
  _ = waitUntilReady(&kernel, descriptor, .read)
  buffer.reset()
  return kernel.receive(descriptor, into: buffer, limit: buffer.capacity)
}

private func content(_ buffer: SharedBuffer) -> [UInt8] {
  buffer.withSpan { span in (0..<span.count).map { span[$0] } }
}

@Suite("The Linux kernel")
struct LinuxKernelTests {
  @Test("carries bytes both ways and says who connected, over IPv4, IPv6 and unix sockets")
  func echo() throws {
    let path = "/tmp/bascule-test-\(getpid())-echo.sock"
    defer { unlink(path) }
    for address in [loopback, .ip(.v6(high: 0, low: 1), port: 0), .unix(path)] {
      var kernel = try LinuxKernel()
      let pair = try makePair(&kernel, address)
      if case .unix = address {
        #expect(pair.peer == .unix(""))
      } else {
        #expect(pair.peer == Listening.localAddress(of: pair.near))
      }
      let again = kernel.accept(pair.listener)
      guard case .wouldBlock = again else { throw Errno.other(0) }
      let buffer = SharedBuffer(capacity: 4_096)
      let idle = kernel.receive(pair.far, into: buffer, limit: 100)
      #expect(idle == .wouldBlock)
      let sent = kernel.send(pair.near, Array("hello".utf8).span)
      #expect(sent == .bytes(5))
      let received = read(&kernel, pair.far, buffer)
      #expect(received == .bytes(5))
      #expect(content(buffer) == Array("hello".utf8))
      kernel.shutdownWrite(pair.near)
      let ended = read(&kernel, pair.far, buffer)
      #expect(ended == .endOfStream)
      // Half-closed: the other direction still works.
      let answered = kernel.send(pair.far, Array("bye".utf8).span)
      #expect(answered == .bytes(3))
      let answer = read(&kernel, pair.near, buffer)
      #expect(answer == .bytes(3))
      for descriptor in [pair.near, pair.far, pair.listener] { kernel.close(descriptor) }
    }
  }

  @Test("bytes before a FIN wait for it, and both arrive whichever way the FIN is sent")
  func lastBytes() throws {
    for closes in [true, false] {
      var kernel = try LinuxKernel()
      let pair = try makePair(&kernel, loopback)
      let sent = kernel.send(pair.near, Array("bye".utf8).span, finFollows: true)
      #expect(sent == .bytes(3))
      let buffer = SharedBuffer(capacity: 64)
      let early = kernel.receive(pair.far, into: buffer, limit: 64)
      #expect(early == .wouldBlock)
      if closes { kernel.close(pair.near) } else { kernel.shutdownWrite(pair.near) }
      let last = read(&kernel, pair.far, buffer)
      #expect(last == .bytes(3))
      let end = read(&kernel, pair.far, buffer)
      #expect(end == .endOfStream)
      if !closes { kernel.close(pair.near) }
      for descriptor in [pair.far, pair.listener] { kernel.close(descriptor) }
    }
  }

  @Test("reads no more than asked, and leaves the rest readable")
  func limitedReads() throws {
    var kernel = try LinuxKernel()
    let pair = try makePair(&kernel, loopback)
    _ = kernel.send(pair.near, [1, 2, 3, 4, 5].span)
    let ready = waitUntilReady(&kernel, pair.far, .read)
    #expect(ready)
    let buffer = SharedBuffer(capacity: 64)
    let first = kernel.receive(pair.far, into: buffer, limit: 2)
    let second = kernel.receive(pair.far, into: buffer, limit: 64)
    #expect(first == .bytes(2))
    #expect(second == .bytes(3))
    #expect(content(buffer) == [1, 2, 3, 4, 5])
    for descriptor in [pair.near, pair.far, pair.listener] { kernel.close(descriptor) }
  }

  @Test("a full socket takes part of a write, then would block, then is writable again")
  func shortWrites() throws {
    var kernel = try LinuxKernel()
    let pair = try makePair(&kernel, loopback)
    let chunk = [UInt8](repeating: 7, count: 1 << 20)
    var sent = 0
    var blocked = false
    for _ in 0..<1_000 where !blocked {
      switch kernel.send(pair.near, chunk.span) {
      case .bytes(let count): sent += count
      case .wouldBlock: blocked = true
      case let other: Issue.record("\(other)")
      }
    }
    #expect(blocked)
    let buffer = SharedBuffer(capacity: 1 << 20)
    var received = 0
    while received < sent {
      guard case .bytes(let count) = read(&kernel, pair.far, buffer) else { break }
      received += count
    }
    #expect(received == sent)
    let writable = waitUntilReady(&kernel, pair.near, .write)
    #expect(writable)
    for descriptor in [pair.near, pair.far, pair.listener] { kernel.close(descriptor) }
  }

  @Test("an aborted connection is a reset for the peer, and writing to it never raises SIGPIPE")
  func reset() throws {
    var kernel = try LinuxKernel()
    let pair = try makePair(&kernel, loopback)
    kernel.abort(pair.near)
    let buffer = SharedBuffer(capacity: 64)
    let outcome = read(&kernel, pair.far, buffer)
    #expect(outcome == .failed(.connectionReset))
    let written = kernel.send(pair.far, [1].span)
    #expect(written == .failed(.brokenPipe))
    kernel.close(pair.far)
    kernel.close(pair.listener)
  }

  @Test("a refused connection says so, at once or as the pending error")
  func refused() throws {
    var kernel = try LinuxKernel()
    let listener = try Listening.open(loopback, backlog: 1)
    let address = try #require(Listening.localAddress(of: listener))
    kernel.close(listener)
    switch kernel.connect(address) {
    case .failed(let errno): #expect(errno == .connectionRefused)
    case .inProgress(let descriptor):
      let ready = waitUntilReady(&kernel, descriptor, .write)
      #expect(ready)
      let errno = kernel.pendingError(descriptor)
      #expect(errno == .connectionRefused)
      kernel.close(descriptor)
    case .connected: Issue.record("connected to a closed port")
    }
    guard case .failed(let missing) = kernel.connect(.unix("/tmp/bascule-test-nothing-here.sock"))
    else { throw Errno.other(0) }
    #expect(missing == .notFound)
    guard case .failed(let tooLong) = kernel.connect(.unix(String(repeating: "/a", count: 60)))
    else { throw Errno.other(0) }
    #expect(tooLong == .other(ENAMETOOLONG))
  }

  @Test("a wait ends at its timeout, not before, and reports a hang-up without interest")
  func waiting() throws {
    var kernel = try LinuxKernel()
    var events = [Event(token: 0, readable: false, writable: false, broken: false)]
    let before = kernel.now()
    kernel.wait(TimeSpan(nanoseconds: 10_000_001), into: &events)
    let after = kernel.now()
    #expect(events.isEmpty)
    #expect(after - before >= TimeSpan(nanoseconds: 10_000_001))
    let pair = try makePair(&kernel, loopback)
    let watched = kernel.watch(pair.far, [], token: 9)
    #expect(watched)
    kernel.abort(pair.near)
    kernel.wait(.seconds(5), into: &events)
    #expect(events.map(\.token) == [9])
    #expect(events.allSatisfy { $0.broken && !$0.readable && !$0.writable })
    kernel.close(pair.far)
    kernel.close(pair.listener)
  }

  @Test("returns at most as many events as the array has room for, without growing it")
  func eventCapacity() throws {
    var kernel = try LinuxKernel()
    let wakeups = try (0..<8).map { _ in try Wakeup() }
    for (index, wakeup) in wakeups.enumerated() {
      _ = kernel.watch(wakeup.descriptor, .read, token: UInt64(index))
      wakeup.wake()
    }
    var events: [Event] = []
    events.reserveCapacity(4)
    let room = events.capacity
    kernel.wait(.seconds(5), into: &events)
    #expect(events.count == min(room, 8))
    #expect(events.capacity == room)
    for wakeup in wakeups { wakeup.close() }
  }

  @Test("random bits do not repeat, across more than one refill")
  func random() throws {
    var kernel = try LinuxKernel()
    var seen: Set<UInt64> = []
    for _ in 0..<2_000 { seen.insert(kernel.random()) }
    #expect(seen.count == 2_000)
  }

  @Test("the wall clock is the time of day")
  func wallClock() throws {
    var kernel = try LinuxKernel()
    let difference = kernel.wallClock() / 1_000_000_000 - Int64(time(nil))
    #expect(abs(difference) <= 1)
  }
}
