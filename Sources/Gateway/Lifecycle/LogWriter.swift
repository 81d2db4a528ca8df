// The thread that writes log lines. Workers only append to a ring; a blocked pipe or a full disk
// blocks this thread and nothing else, and costs lines that are counted.

import Bytes
import Kernel
import Synchronization
import Telemetry

final class LogWriter: Sendable {
  private static let chunkBytes = 64 * 1024

  let ring: LogRing
  private let wakeup: Wakeup
  private let output: Descriptor
  private let isEnding = Mutex(false)
  private let hasEnded = Mutex(false)

  init(output: Descriptor) throws(Errno) {
    let wakeup = try Wakeup()
    self.wakeup = wakeup
    self.output = output
    ring = LogRing { wakeup.wake() }
  }

  func start(name: String) throws(Errno) {
    _ = try SystemThread.start(name: name, stackBytes: 256 << 10) { self.run() }
  }

  private func run() {
    guard var kernel = try? LinuxKernel(), kernel.watch(wakeup.descriptor, .read, token: 0) else {
      return
    }
    var events: [Event] = []
    events.reserveCapacity(1)
    var chunk: [UInt8] = []
    while true {
      let ending = isEnding.withLock { $0 }
      while !ring.isEmpty { write(&chunk) }
      if ending { break }
      kernel.wait(nil, into: &events)
      kernel.drainWakeups(wakeup.descriptor)
    }
    hasEnded.withLock { $0 = true }
  }

  private func write(_ chunk: inout [UInt8]) {
    chunk.removeAll(keepingCapacity: true)
    let dropped = ring.take(upTo: Self.chunkBytes, into: &chunk)
    _ = Files.write(chunk.span, to: output)
    if dropped > 0 {
      var line = LineBuilder()
      line.begin()
      line.field("level", word: "warn")
      line.field("message", word: "log lines dropped")
      line.field("dropped", dropped)
      line.end()
      _ = Files.write(line.bytes.span, to: output)
    }
  }

  /// Writes what is left, for at most `patience`: a stuck log must not keep the process.
  func finish(patience: TimeSpan) {
    isEnding.withLock { $0 = true }
    wakeup.wake()
    var waited = TimeSpan.zero
    let step = TimeSpan.milliseconds(5)
    while !hasEnded.withLock({ $0 }), waited < patience {
      Pause.sleep(step)
      waited = TimeSpan(nanoseconds: waited.nanoseconds + step.nanoseconds)
    }
  }
}
