// One endpoint of an upstream as all workers see it: what is fixed about it, how much it carries,
// and whether it may be asked. Atomics and no locks: a moment of disagreement between workers costs
// one request more or less at an endpoint, and nothing else.

import Bytes
import Synchronization

/// What an endpoint has just done, when somebody should be told.
enum EndpointChange: Equatable, Sendable {
  case ejected(for: TimeSpan)
  case back
}

final class Endpoint: Sendable {
  /// Failed connects in a row that take an endpoint out.
  static var failuresMax: Int { 3 }
  /// For how long at first; twice as long each time, until it has been connected to again.
  static var firstEjection: TimeSpan { .seconds(10) }
  static var longestEjection: TimeSpan { .seconds(60) }
  /// How often one request may try an endpoint that has been out and not been connected to since.
  static var trialInterval: TimeSpan { .seconds(1) }
  /// After it is back it gets a growing part of its share for this long.
  static var ramp: TimeSpan { .seconds(30) }
  /// The unit of shares, per weight, and what an endpoint begins its ramp with.
  static var fullShare: Int { 1_000 }
  static var leastShare: Int { 100 }

  /// For logs.
  let name: String
  /// What it is called on every worker and every gateway: its upstream's name and its address.
  let identity: [UInt8]
  /// Of its identity: the same on every gateway.
  let hash: UInt64
  let weight: Int
  let connectionsMax: Int

  /// Exchanges that have taken it and are not over.
  private let taken = Atomic(0)
  private let failures = Atomic(0)
  /// In a row, without a connect that succeeded.
  private let ejections = Atomic(0)
  /// Nanoseconds of the monotonic clock.
  private let outUntil = Atomic(Int64.min)
  private let backSince = Atomic(Int64.min)
  private let nextTrial = Atomic(Int64.min)

  init(upstream: String, address: SocketAddress, weight: Int, connectionsMax: Int?) {
    name = address.description
    // No name of an upstream holds a zero.
    let identity = Array(upstream.utf8) + [0] + Array(name.utf8)
    self.identity = identity
    hash = BalanceHash.of(identity.span)
    self.weight = max(1, weight)
    self.connectionsMax = connectionsMax ?? .max
  }

  var inUse: Int { taken.load(ordering: .relaxed) }

  /// Counts an exchange in, unless the endpoint is full.
  func take() -> Bool {
    var current = inUse
    while current < connectionsMax {
      let (isMine, seen) = taken.weakCompareExchange(
        expected: current, desired: current + 1, ordering: .relaxed)
      if isMine { return true }
      current = seen
    }
    return false
  }

  /// Counts an exchange out that was counted in.
  func giveBack() { taken.wrappingSubtract(1, ordering: .relaxed) }

  // MARK: Health

  func isOut(_ now: MonotonicTime) -> Bool {
    now.nanoseconds < outUntil.load(ordering: .relaxed)
  }

  /// It has been out, and nobody has connected to it since: `beginTrial()` says who may.
  var isOnTrial: Bool { ejections.load(ordering: .relaxed) > 0 }

  /// Its weight in `fullShare`s; less while it is on trial or on its way back.
  func share(_ now: MonotonicTime) -> Int {
    if isOnTrial { return weight * Self.leastShare }
    let since = backSince.load(ordering: .relaxed)
    guard since > .min else { return weight * Self.fullShare }
    let elapsed = (now - MonotonicTime(nanoseconds: since)).milliseconds
    guard elapsed < Self.ramp.milliseconds else { return weight * Self.fullShare }
    let grown = Int(max(0, elapsed)) * Self.fullShare / Int(Self.ramp.milliseconds)
    return weight * max(Self.leastShare, grown)
  }

  /// A connect has succeeded: it is in order. `.back` to exactly one caller.
  func connected(_ now: MonotonicTime) -> EndpointChange? {
    if failures.load(ordering: .relaxed) != 0 { failures.store(0, ordering: .relaxed) }
    guard ejections.load(ordering: .relaxed) != 0 else { return nil }
    backSince.store(now.nanoseconds, ordering: .relaxed)
    outUntil.store(.min, ordering: .relaxed)
    return ejections.exchange(0, ordering: .relaxed) != 0 ? .back : nil
  }

  /// A connect has failed. `.ejected` to exactly one caller. One that has been out before and not
  /// connected to since is out again at once.
  func failed(_ now: MonotonicTime) -> EndpointChange? {
    let count = failures.wrappingAdd(1, ordering: .relaxed).newValue
    let before = ejections.load(ordering: .relaxed)
    guard count >= Self.failuresMax || before > 0 else { return nil }
    let current = outUntil.load(ordering: .relaxed)
    // Connects that began before it was taken out say nothing new.
    guard now.nanoseconds >= current else { return nil }
    let length = Self.ejection(before)
    let (isMine, _) = outUntil.compareExchange(
      expected: current, desired: (now + length).nanoseconds, ordering: .relaxed)
    guard isMine else { return nil }
    ejections.store(before + 1, ordering: .relaxed)
    nextTrial.store((now + Self.trialInterval).nanoseconds, ordering: .relaxed)
    return .ejected(for: length)
  }

  private static func ejection(_ before: Int) -> TimeSpan {
    let doubled = firstEjection.nanoseconds << Int64(min(before, 8))
    return min(longestEjection, TimeSpan(nanoseconds: doubled))
  }

  /// Whether this request may try it: one in a while, of all workers together.
  func beginTrial(_ now: MonotonicTime) -> Bool {
    let due = nextTrial.load(ordering: .relaxed)
    guard now.nanoseconds >= due else { return false }
    return nextTrial.compareExchange(
      expected: due, desired: (now + Self.trialInterval).nanoseconds, ordering: .relaxed
    ).exchanged
  }
}
