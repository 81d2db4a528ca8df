// Slots with generations. Owned by one worker. Everything that outlives a call (epoll, timers,
// peers) holds a `SlotID`; after a slot is freed its old ids resolve to nothing, so an event that
// arrives late misses instead of hitting the slot's next tenant.

/// Names a slot of a `Slab` for as long as its tenant lives.
public struct SlotID: Sendable, Hashable {
  public var index: UInt32
  public var generation: UInt32

  @inlinable public init(index: UInt32, generation: UInt32) {
    self.index = index
    self.generation = generation
  }
  /// Both halves in 64 bits, as epoll carries them.
  @inlinable public init(packed: UInt64) {
    index = UInt32(truncatingIfNeeded: packed)
    generation = UInt32(truncatingIfNeeded: packed >> 32)
  }
  @inlinable public var packed: UInt64 { UInt64(generation) << 32 | UInt64(index) }
}

@usableFromInline @inline(never)
func staleID() -> Never { unreachable("slab access by a stale id") }

/// Slots of `Element`, mutated in place, at most `capacity` at a time. Grows by chunks that never
/// move, and costs 8 bytes per slot over the element.
@safe
public struct Slab<Element: ~Copyable>: ~Copyable {
  @usableFromInline static var chunkSlots: Int { 256 }

  @usableFromInline
  struct Header {
    /// Odd while taken, so that a free slot never matches an id that was handed out.
    @usableFromInline var generation: UInt32 = 0
    @usableFromInline var nextFree: UInt32 = .max
    @usableFromInline init() {}
  }

  /// A slot's element is initialised exactly while its generation is odd.
  @usableFromInline
  @unsafe
  struct Chunk {
    @usableFromInline var headers: UnsafeMutablePointer<Header>
    @usableFromInline var elements: UnsafeMutablePointer<Element>
  }

  @usableFromInline var chunks: [Chunk] = unsafe []
  @usableFromInline var firstFree: UInt32 = .max
  @usableFromInline var slotsMade = 0
  public let capacity: Int
  @usableFromInline var taken = 0
  public var count: Int { taken }

  public init(capacity: Int) {
    self.capacity = min(max(capacity, 0), Int(UInt32.max) - 1)
  }

  deinit {
    for index in 0..<slotsMade {
      // Safety: odd generation, so there is an element.
      if unsafe header(index).pointee.generation & 1 == 1 {
        unsafe element(index).deinitialize(count: 1)
      }
    }
    for index in unsafe 0..<chunks.count {
      unsafe chunks[index].headers.deallocate()
      unsafe chunks[index].elements.deallocate()
    }
  }

  // Safety, for both: callers pass an index below `slotsMade`; chunks are allocated whole and never
  // move.
  @inlinable @unsafe
  func header(_ index: Int) -> UnsafeMutablePointer<Header> {
    unsafe chunks[index / Self.chunkSlots].headers + index % Self.chunkSlots
  }

  @inlinable @unsafe
  func element(_ index: Int) -> UnsafeMutablePointer<Element> {
    unsafe chunks[index / Self.chunkSlots].elements + index % Self.chunkSlots
  }

  @inlinable
  public func contains(_ id: SlotID) -> Bool {
    let index = Int(id.index)
    guard index < slotsMade, id.generation & 1 == 1 else { return false }
    return unsafe header(index).pointee.generation == id.generation
  }

  /// Nil when all `capacity` slots are taken; the element is dropped then.
  // Inlined, so that the element is made where it will be.
  @inlinable @inline(__always)
  public mutating func insert(_ element: consuming Element) -> SlotID? {
    guard taken < capacity else { return nil }
    let index = takeFreeIndex()
    unsafe header(index).pointee.generation &+= 1
    // Safety: the slot was free, so its memory holds no element.
    unsafe self.element(index).initialize(to: element)
    taken += 1
    return SlotID(index: UInt32(index), generation: unsafe header(index).pointee.generation)
  }

  @usableFromInline
  mutating func takeFreeIndex() -> Int {
    if firstFree != .max {
      let index = Int(firstFree)
      firstFree = unsafe header(index).pointee.nextFree
      return index
    }
    if unsafe slotsMade == chunks.count * Self.chunkSlots {
      let headers = UnsafeMutablePointer<Header>.allocate(capacity: Self.chunkSlots)
      unsafe headers.initialize(repeating: Header(), count: Self.chunkSlots)
      let elements = UnsafeMutablePointer<Element>.allocate(capacity: Self.chunkSlots)
      unsafe chunks.append(Chunk(headers: headers, elements: elements))
    }
    slotsMade += 1
    return slotsMade - 1
  }

  /// Frees the slot and returns its tenant; nil for an id that is no longer current.
  public mutating func remove(_ id: SlotID) -> Element? {
    guard contains(id) else { return nil }
    free(id)
    // Safety: the id was current, so the element is there; the slot is free from here on.
    return unsafe element(Int(id.index)).move()
  }

  /// The same where nobody wants the tenant, which is not moved for it. False for an id that is no
  /// longer current.
  @discardableResult
  public mutating func discard(_ id: SlotID) -> Bool {
    guard contains(id) else { return false }
    free(id)
    // Safety: as above.
    unsafe element(Int(id.index)).deinitialize(count: 1)
    return true
  }

  private mutating func free(_ id: SlotID) {
    unsafe header(Int(id.index)).pointee.generation &+= 1
    unsafe header(Int(id.index)).pointee.nextFree = firstFree
    firstFree = id.index
    taken -= 1
  }

  /// The tenant of a current id. Check `contains` first: a stale id here is a fault of ours.
  @inlinable
  public subscript(_ id: SlotID) -> Element {
    // Addressors, not coroutines: those allocate their frames where they are not inlined.
    unsafeAddress { unsafe UnsafePointer(current(id)) }
    unsafeMutableAddress { unsafe current(id) }
  }

  /// The element of a current id, found with one look at its chunk. Inlined: everything the gateway does
  /// begins with it, more than a hundred times per request.
  @inlinable @inline(__always) @unsafe
  func current(_ id: SlotID) -> UnsafeMutablePointer<Element> {
    // Safety: an array's bounds are checked, and chunks are whole.
    let chunk = unsafe chunks[Int(id.index) / Self.chunkSlots]
    let offset = Int(id.index) % Self.chunkSlots
    let generation = unsafe chunk.headers[offset].generation
    if generation != id.generation || generation & 1 == 0 { staleID() }
    // Safety: only a slot with an element has an odd generation.
    return unsafe chunk.elements + offset
  }

  /// The id of the tenant at `index`, for walks over all slots (drain, shutdown).
  public func id(at index: Int) -> SlotID? {
    guard index >= 0, index < slotsMade else { return nil }
    let generation = unsafe header(index).pointee.generation
    return generation & 1 == 1 ? SlotID(index: UInt32(index), generation: generation) : nil
  }
  /// One more than the highest index ever used.
  public var indexLimit: Int { slotsMade }
}
