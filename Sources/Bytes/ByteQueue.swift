// Bytes that wait: output a socket did not take, a request head that is not complete. Owned by one
// connection. Empty queues own no memory, which is what keeps an idle connection small.

/// A first-in first-out run of bytes, always contiguous. Invariant: head <= tail <= capacity.
@safe
public struct ByteQueue: ~Copyable {
  private var base: UnsafeMutablePointer<UInt8>?
  private var capacity = 0
  private var head = 0
  private var tail = 0

  public init() {}
  deinit { unsafe base?.deallocate() }

  public var count: Int { tail - head }
  public var isEmpty: Bool { head == tail }

  /// Copies `bytes` to the end; grows by doubling, after moving the content to the front.
  public mutating func append(_ bytes: Span<UInt8>) {
    guard !bytes.isEmpty else { return }
    makeRoom(for: bytes.count)
    guard let base = unsafe base else { unreachable("a queue with room has storage") }
    let count = bytes.count
    // Safety: makeRoom has left at least `count` bytes between tail and capacity.
    unsafe bytes.withUnsafeBufferPointer { source in
      guard let start = source.baseAddress else { return }
      unsafe (base + tail).update(from: start, count: count)
    }
    tail += count
  }

  public mutating func append(_ bytes: [UInt8]) { append(bytes.span) }

  /// Drops `count` bytes from the front; an emptied queue gives its memory back.
  public mutating func consume(_ count: Int) {
    invariant(count >= 0 && count <= self.count, "consumed more than the queue holds")
    head += count
    if head == tail { removeAll() }
  }

  public mutating func removeAll() {
    unsafe base?.deallocate()
    unsafe base = nil
    capacity = 0
    head = 0
    tail = 0
  }

  /// Lends the content. The span ends with `body`.
  public func withSpan<Result: ~Copyable, Failure: Error>(
    _ body: (Span<UInt8>) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    guard let base = unsafe base else { return try body(Span()) }
    // Safety: head..<tail is initialised, and `self` is borrowed for the call.
    return try body(unsafe UnsafeBufferPointer(start: base + head, count: tail - head).span)
  }

  private mutating func makeRoom(for more: Int) {
    if capacity - tail >= more { return }
    let used = count
    let needed = used + more
    if needed <= capacity, let base = unsafe base {
      unsafe base.update(from: base + head, count: used)
    } else {
      let grown = max(needed, capacity * 2, 256)
      let fresh = UnsafeMutablePointer<UInt8>.allocate(capacity: grown)
      if let base = unsafe base {
        unsafe fresh.update(from: base + head, count: used)
        unsafe base.deallocate()
      }
      unsafe base = fresh
      capacity = grown
    }
    head = 0
    tail = used
  }
}
