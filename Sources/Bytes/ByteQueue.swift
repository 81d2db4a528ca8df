// Bytes that wait: output a socket did not take, a request head that is not complete. Owned by one
// connection. Empty queues own no memory, which is what keeps an idle connection small.

/// A first-in first-out run of bytes, always contiguous.
public struct ByteQueue: ~Copyable {
  /// The content, behind `head` bytes that have been consumed. An array, because the allocator serves
  /// it from the thread's cache; what `UnsafeMutablePointer.allocate` asks for it does not.
  private var bytes: [UInt8] = []
  private var head = 0

  public init() {}

  public var count: Int { bytes.count - head }
  public var isEmpty: Bool { bytes.count == head }

  /// Copies `more` to the end; grows by doubling, after moving the content to the front.
  public mutating func append(_ more: Span<UInt8>) {
    guard !more.isEmpty else { return }
    if bytes.capacity - bytes.count < more.count {
      bytes.removeFirst(head)
      head = 0
      if bytes.isEmpty { bytes.reserveCapacity(max(more.count, 256)) }
    }
    ASCII.append(more, to: &bytes)
  }

  public mutating func append(_ bytes: [UInt8]) { append(bytes.span) }

  /// The same, with spare memory where there is none.
  public mutating func append(_ more: Span<UInt8>, _ spare: inout SpareBytes) {
    if bytes.capacity == 0 { bytes = spare.take(for: more.count) }
    append(more)
  }

  /// Drops `count` bytes from the front; an emptied queue gives its memory back.
  public mutating func consume(_ count: Int) {
    advance(count)
    if isEmpty { removeAll() }
  }

  /// The same; the memory of an emptied queue is spare.
  public mutating func consume(_ count: Int, _ spare: inout SpareBytes) {
    advance(count)
    guard isEmpty else { return }
    spare.give(&bytes)
    head = 0
  }

  private mutating func advance(_ count: Int) {
    invariant(count >= 0 && count <= self.count, "consumed more than the queue holds")
    head += count
  }

  public mutating func removeAll() {
    bytes = []
    head = 0
  }

  /// Lends the content. The span ends with `body`.
  public func withSpan<Result: ~Copyable, Failure: Error>(
    _ body: (Span<UInt8>) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try body(bytes.span.extracting(head..<bytes.count))
  }
}
