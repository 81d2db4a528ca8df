// The thread that writes log lines. Workers only append to a ring; a blocked pipe or a full disk
// blocks this thread and nothing else, and costs lines that are counted.

import Bytes
import Kernel
import Synchronization
import Telemetry

/// Lines that a writer took from its ring and could not write, and why the last of them.
struct LogLoss: Equatable {
  var lines: UInt64
  var reason: Errno
}

final class LogWriter: Sendable {
  private struct State {
    /// Where lines go from the next one on.
    var next: Descriptor?
    var loss: LogLoss?
    var isEnding = false
    var hasEnded = false
  }

  let ring: LogRing
  private let wakeup: Wakeup
  private let state: Mutex<State>

  init(output: Descriptor) throws(Errno) {
    let wakeup = try Wakeup()
    self.wakeup = wakeup
    state = Mutex(State(next: output))
    ring = LogRing { wakeup.wake() }
  }

  func start(name: String) throws(Errno) {
    _ = try SystemThread.start(name: name, stackBytes: 256 << 10) { self.run() }
  }

  /// Lines go there from the next one on. What they have gone to is closed then, unless it is a standard
  /// stream.
  func turn(to output: Descriptor) {
    let unused = state.withLock { state in
      defer { state.next = output }
      return state.next
    }
    if let unused, !StandardStreams.contain(unused) { Files.close(unused) }
    wakeup.wake()
  }

  /// What has been lost since the last call.
  func takeLoss() -> LogLoss? {
    state.withLock { state in
      defer { state.loss = nil }
      return state.loss
    }
  }

  private func run() {
    var output = LogOutput()
    while true {
      let (next, isEnding) = state.withLock { state in
        defer { state.next = nil }
        return (state.next, state.isEnding)
      }
      if let next { output.turn(to: next) }
      if !ring.isEmpty {
        if let loss = output.write(from: ring) { note(loss) }
      } else if isEnding {
        break
      } else {
        wakeup.wait()
      }
    }
    state.withLock { $0.hasEnded = true }
  }

  private func note(_ loss: LogLoss) {
    state.withLock { state in
      state.loss = LogLoss(lines: loss.lines + (state.loss?.lines ?? 0), reason: loss.reason)
    }
  }

  /// Writes what is left, for at most `patience`: a stuck log must not keep the process.
  func finish(patience: TimeSpan) {
    state.withLock { $0.isEnding = true }
    wakeup.wake()
    var waited = TimeSpan.zero
    let step = TimeSpan.milliseconds(5)
    while !state.withLock({ $0.hasEnded }), waited < patience {
      Pause.sleep(step)
      waited = TimeSpan(nanoseconds: waited.nanoseconds + step.nanoseconds)
    }
  }
}

/// Whole lines on their way out, so that each is in one file. The writer thread's own.
struct LogOutput {
  private static var chunkBytes: Int { 64 * 1024 }
  private static var newline: UInt8 { UInt8(ascii: "\n") }

  private var descriptor = StandardStreams.output
  /// Taken from the ring, and not yet a whole line.
  private var chunk: [UInt8] = []
  /// A disk that was full took the first part of a line; the next one must not stand behind it.
  private var isMidLine = false
  /// Lines that the log has not been told of.
  private var dropped: UInt64 = 0
  private var notice = LineBuilder()

  mutating func turn(to output: Descriptor) {
    if !StandardStreams.contain(descriptor) { Files.close(descriptor) }
    descriptor = output
    isMidLine = false
  }

  /// Writes some of the oldest lines. Returns what became of those that it could not write.
  mutating func write(from ring: LogRing) -> LogLoss? {
    dropped += ring.take(upTo: Self.chunkBytes, into: &chunk)
    guard let last = chunk.lastIndex(of: Self.newline) else { return nil }
    let lines = Array(chunk[...last])
    chunk.removeSubrange(...last)
    let loss = put(lines)
    dropped += loss?.lines ?? 0
    if loss == nil { tellOfDropped() }
    return loss
  }

  private mutating func put(_ lines: [UInt8]) -> LogLoss? {
    var written = 0
    let end: [UInt8] = isMidLine ? [Self.newline] : []
    let bytes = end + lines
    let failure = Files.write(bytes.span, to: descriptor, written: &written)
    if written > 0 { isMidLine = bytes[written - 1] != Self.newline }
    guard let failure else { return nil }
    let lost = bytes[max(written, end.count)...].count { $0 == Self.newline }
    return LogLoss(lines: UInt64(lost), reason: failure)
  }

  private mutating func tellOfDropped() {
    guard dropped > 0 else { return }
    notice.begin()
    notice.field("level", word: "warn")
    notice.field("message", word: "log lines dropped")
    notice.field("dropped", dropped)
    notice.end()
    if put(notice.bytes) == nil { dropped = 0 }
  }
}
