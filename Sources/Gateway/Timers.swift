// A hashed timer wheel: one per worker, read once per turn. Entries are never cancelled: a slot
// keeps its own deadline, and an entry that fires early or for a past tenant costs one look-up.
// That makes "pushed the deadline back" (every message does) free.

import Bytes

/// Whose deadline an entry watches.
enum TimerOwner: Sendable, Equatable {
  case connection(SlotID)
  case exchange(SlotID)
  case acceptPause
  /// Of the endpoint of that number.
  case probe(UInt64)
  case drain
}

struct Timers: ~Copyable {
  struct Entry {
    var owner: TimerOwner
    var deadline: MonotonicTime
  }

  /// 10 ms per bucket, 10.24 s per revolution: a 25 s keep-alive is looked at three times.
  private static let tickNanoseconds: Int64 = 10_000_000
  private static let bucketCount = 1_024

  private var buckets: [[Entry]]
  /// One bit per bucket that holds entries, so that finding the next one reads 16 words.
  private var occupied: [UInt64]
  private var due: [Entry] = []
  /// Every bucket up to this tick has been emptied.
  private var lastTick: Int64
  private(set) var count = 0

  init(now: MonotonicTime) {
    buckets = Array(repeating: [], count: Self.bucketCount)
    occupied = Array(repeating: 0, count: Self.bucketCount / 64)
    lastTick = now.nanoseconds / Self.tickNanoseconds
  }

  /// Fires `owner` at the first turn at or after `deadline`, rounded up to 10 ms.
  mutating func add(_ owner: TimerOwner, at deadline: MonotonicTime) {
    guard deadline != .never else { return }
    let tick = max(deadline.nanoseconds / Self.tickNanoseconds + 1, lastTick + 1)
    let bucket = Int(tick % Int64(Self.bucketCount))
    buckets[bucket].append(Entry(owner: owner, deadline: deadline))
    occupied[bucket / 64] |= 1 << UInt64(bucket % 64)
    count += 1
  }

  /// The next entry whose deadline has passed; nil when there is none.
  mutating func next(now: MonotonicTime) -> Entry? {
    advance(to: now.nanoseconds / Self.tickNanoseconds, now: now)
    guard let entry = due.popLast() else { return nil }
    count -= 1
    return entry
  }

  private mutating func advance(to tick: Int64, now: MonotonicTime) {
    guard tick > lastTick else { return }
    // After a long sleep one revolution covers every bucket.
    let first = max(lastTick + 1, tick - Int64(Self.bucketCount) + 1)
    lastTick = tick
    for passed in first...tick {
      let bucket = Int(passed % Int64(Self.bucketCount))
      if occupied[bucket / 64] & 1 << UInt64(bucket % 64) != 0 { empty(bucket, now: now) }
    }
  }

  private mutating func empty(_ bucket: Int, now: MonotonicTime) {
    var kept = 0
    for index in 0..<buckets[bucket].count {
      let entry = buckets[bucket][index]
      if entry.deadline <= now {
        due.append(entry)
      } else {
        buckets[bucket][kept] = entry
        kept += 1
      }
    }
    buckets[bucket].removeLast(buckets[bucket].count - kept)
    if kept == 0 { occupied[bucket / 64] &= ~(1 << UInt64(bucket % 64)) }
  }

  // MARK: Past tenants

  /// Drops the entries of slots that have gone or have a nearer one, if there are many of them. What
  /// is cheap to open and to end would otherwise leave its entries by the million.
  mutating func sweepIfOvergrown(
    _ connections: borrowing Slab<Connection>, _ exchanges: borrowing Slab<Exchange>
  ) {
    guard count > 4 * (connections.count + exchanges.count) + 4_096 else { return }
    for bucket in buckets.indices where !buckets[bucket].isEmpty {
      var kept = 0
      for index in 0..<buckets[bucket].count {
        let entry = buckets[bucket][index]
        guard Self.isTimely(entry, connections, exchanges) else { continue }
        buckets[bucket][kept] = entry
        kept += 1
      }
      count -= buckets[bucket].count - kept
      // A new array, for the old one has the size of the worst moment.
      buckets[bucket] = Array(buckets[bucket][0..<kept])
      if kept == 0 { occupied[bucket / 64] &= ~(1 << UInt64(bucket % 64)) }
    }
  }

  /// A slot looks at no entry but its last.
  static func isTimely(
    _ entry: Entry, _ connections: borrowing Slab<Connection>,
    _ exchanges: borrowing Slab<Exchange>
  ) -> Bool {
    switch entry.owner {
    case .connection(let id): connections.contains(id) && connections[id].armedAt == entry.deadline
    case .exchange(let id): exchanges.contains(id) && exchanges[id].armedAt == entry.deadline
    case .acceptPause, .drain, .probe: true
    }
  }

  /// How long the loop may sleep; nil when nothing is waiting. May be early, never late.
  func sleep(now: MonotonicTime) -> TimeSpan? {
    guard count > 0 else { return nil }
    if !due.isEmpty { return .zero }
    var step: Int64 = 1
    while step <= Int64(Self.bucketCount) {
      let bucket = Int((lastTick + step) % Int64(Self.bucketCount))
      // The bits from this bucket on; a word without any is passed in one step.
      let word = occupied[bucket / 64] >> UInt64(bucket % 64)
      if word == 0 {
        step += Int64(64 - bucket % 64)
      } else {
        let tick = lastTick + step + Int64(word.trailingZeroBitCount)
        let at = MonotonicTime(nanoseconds: tick * Self.tickNanoseconds)
        return max(at - now, .zero)
      }
    }
    return nil
  }
}
