// Log lines on their way to the writer thread. Workers append, one thread takes and writes. Nothing
// here does I/O: a full or stuck log costs lines, which are counted, and never a worker's time.

import Synchronization

/// A bounded queue of whole lines, shared by all workers.
public final class LogRing: Sendable {
  private struct State {
    var bytes: [UInt8]
    var head = 0
    var count = 0
    var dropped: UInt64 = 0
  }

  private let state: Mutex<State>
  private let wake: @Sendable () -> Void
  public let capacity: Int

  /// `capacity` in bytes. `wake` is called, outside the lock, when the ring stops being empty.
  public init(capacity: Int = 1 << 20, wake: @escaping @Sendable () -> Void = {}) {
    self.capacity = max(capacity, 1)
    self.wake = wake
    state = Mutex(State(bytes: Array(repeating: 0, count: self.capacity)))
  }

  /// Copies one line, its newline included. False when it does not fit: it is dropped and counted.
  public func append(_ line: Span<UInt8>) -> Bool {
    guard !line.isEmpty else { return true }
    let (stored, wasEmpty) = state.withLock { state in
      guard line.count <= state.bytes.count - state.count else {
        state.dropped += 1
        return (false, false)
      }
      let wasEmpty = state.count == 0
      Self.copy(line, into: &state)
      return (true, wasEmpty)
    }
    if wasEmpty { wake() }
    return stored
  }

  private static func copy(_ line: Span<UInt8>, into state: inout State) {
    var position = state.head + state.count
    if position >= state.bytes.count { position -= state.bytes.count }
    for index in line.indices {
      state.bytes[position] = line[index]
      position += 1
      if position == state.bytes.count { position = 0 }
    }
    state.count += line.count
  }

  /// For the writer thread: moves up to `limit` of the oldest bytes to the end of `output`, and
  /// returns how many lines were dropped since the last call. A `limit` may cut a line; the rest of
  /// it comes with the next call.
  public func take(upTo limit: Int, into output: inout [UInt8]) -> UInt64 {
    state.withLock { state in
      let size = min(max(limit, 0), state.count)
      let first = min(size, state.bytes.count - state.head)
      output.append(contentsOf: state.bytes[state.head..<state.head + first])
      output.append(contentsOf: state.bytes[0..<size - first])
      state.head += size
      if state.head >= state.bytes.count { state.head -= state.bytes.count }
      state.count -= size
      defer { state.dropped = 0 }
      return state.dropped
    }
  }

  public var isEmpty: Bool { state.withLock { $0.count == 0 } }
}
