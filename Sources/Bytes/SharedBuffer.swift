// The worker's big buffers: one that every socket is read into, one for plaintext, one for what
// goes out. Shared by all connections of a worker, so that idle ones own none. A class, so that a
// span of it can be lent while the worker itself is being changed.

/// A run of bytes with room before and after it. Grows when asked to; never shrinks.
@safe
public final class SharedBuffer {
  // Not checked for exclusive access at run time, which costs two look-ups of thread-local storage
  // per access: no accessor calls out while it holds one of these.
  @exclusivity(unchecked) private var base: UnsafeMutablePointer<UInt8>
  @exclusivity(unchecked) public private(set) var capacity: Int
  /// The content is `start..<end`.
  @exclusivity(unchecked) public private(set) var start = 0
  @exclusivity(unchecked) public private(set) var end = 0

  public init(capacity: Int) {
    unsafe self.capacity = max(capacity, 64)
    // Zeroed, so that no path can show what the memory held before; once per worker.
    unsafe base = .allocate(capacity: self.capacity)
    unsafe base.initialize(repeating: 0, count: self.capacity)
  }
  deinit { unsafe base.deallocate() }

  public var count: Int { unsafe end - start }
  public var isEmpty: Bool { unsafe start == end }
  public var room: Int { unsafe capacity - end }

  /// Empties the buffer and keeps `headroom` bytes free in front, for `prepend`.
  public func reset(headroom: Int = 0) {
    unsafe invariant(headroom >= 0 && headroom <= capacity, "headroom beyond the buffer")
    unsafe start = headroom
    unsafe end = headroom
  }

  /// Puts `bytes` in front of the content. They must fit the headroom.
  public func prepend(_ bytes: Span<UInt8>) {
    unsafe invariant(bytes.count <= start, "no headroom left")
    let count = bytes.count
    unsafe start -= count
    // Safety: start >= 0 and start + count <= capacity by the check above.
    unsafe bytes.withUnsafeBufferPointer { source in
      guard let from = source.baseAddress else { return }
      unsafe (base + start).update(from: from, count: count)
    }
  }

  public func append(_ bytes: Span<UInt8>) {
    reserve(bytes.count)
    let count = bytes.count
    // Safety: reserve has left at least `count` bytes behind `end`.
    unsafe bytes.withUnsafeBufferPointer { source in
      guard let from = source.baseAddress else { return }
      unsafe (base + end).update(from: from, count: count)
    }
    unsafe end += count
  }

  public func append(_ bytes: [UInt8]) { append(bytes.span) }
  public func append(_ byte: UInt8) {
    reserve(1)
    unsafe base[end] = byte
    unsafe end += 1
  }

  /// Drops `count` bytes from the front of the content.
  public func consume(_ count: Int) {
    invariant(count >= 0 && count <= self.count, "consumed more than the buffer holds")
    unsafe start += count
  }

  /// Makes the content `range`, which counts from the beginning of the storage as `start` does. What
  /// was in front of it becomes headroom.
  public func select(_ range: Range<Int>) {
    unsafe invariant(range.lowerBound >= 0 && range.upperBound <= capacity, "beyond the buffer")
    unsafe start = range.lowerBound
    unsafe end = range.upperBound
  }

  /// Makes room for `more` bytes behind the content. Not to be called while a span is lent.
  public func reserve(_ more: Int) {
    if room >= more { return }
    let grown = unsafe max(capacity * 2, end + more)
    let fresh = UnsafeMutablePointer<UInt8>.allocate(capacity: grown)
    unsafe fresh.initialize(repeating: 0, count: grown)
    unsafe fresh.update(from: base, count: end)
    unsafe base.deallocate()
    unsafe base = fresh
    unsafe capacity = grown
  }

  /// Lends the content. Nothing may grow the buffer during `body`.
  public func withSpan<Result: ~Copyable, Failure: Error>(
    _ body: (Span<UInt8>) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    // Safety: start..<end is initialised; the caller keeps the buffer from growing.
    try body(unsafe UnsafeBufferPointer(start: base + start, count: end - start).span)
  }

  /// For system calls and libraries that write: up to `limit` bytes behind the content, then
  /// `body` returns how many it wrote.
  @unsafe
  public func appendUnsafe(
    limit: Int, _ body: (UnsafeMutableRawBufferPointer) -> Int
  ) -> Int {
    let size = min(max(limit, 0), room)
    let written = unsafe body(UnsafeMutableRawBufferPointer(start: base + end, count: size))
    invariant(written >= 0 && written <= size, "wrote beyond the buffer")
    unsafe end += written
    return written
  }
}
