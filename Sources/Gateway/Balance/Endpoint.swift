// One endpoint of an upstream as all workers see it: what is fixed about it, how much it carries,
// and whether it may be asked. Atomics and no locks: a moment of disagreement between workers costs
// one request more or less at an endpoint, and nothing else.

import Bytes
import Synchronization

/// What an endpoint has just done, when somebody should be told.
enum EndpointChange: Equatable, Sendable {
  /// Connects have failed.
  case ejected(for: TimeSpan)
  /// What it answered was bad.
  case ejectedForAnswers(for: TimeSpan)
  case back
  /// By its checks.
  case down, up
}

final class Endpoint: Sendable {
  /// Failed connects in a row that take an endpoint out.
  static var failuresMax: Int { 3 }
  /// Bad answers in a row that do: one bad page must not take the others with it.
  static var badAnswersMax: Int { 5 }
  /// A bad answer counts for no longer than this.
  static var memory: TimeSpan { .seconds(60) }
  /// A WebSocket that its backend gives up within this time of its beginning was never a good one.
  static var earlyEnd: TimeSpan { .seconds(10) }
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

  /// In this process: no other endpoint has or gets it.
  let id: UInt64
  let plan: EndpointPlan
  /// For logs.
  let name: String
  /// What it is called on every worker and every gateway: its upstream's name and its address.
  let identity: [UInt8]
  /// Of its identity: the same on every gateway.
  let hash: UInt64
  let weight: Int
  let connectionsMax: Int

  private static let lastID = Atomic<UInt64>(0)

  private let load: EndpointLoad
  private let failures = Atomic(0)
  /// Since the start of the process.
  private let takes = Atomic<UInt64>(0)
  private let allFailures = Atomic<UInt64>(0)
  private let allEjections = Atomic<UInt64>(0)
  private let badAnswers = Atomic(0)
  private let lastBadAnswer = Atomic(Int64.min)
  private let health = CheckedHealth()
  private let isOutForAnswers = Atomic(false)
  /// In a row, without a sign that it is in order.
  private let ejections = Atomic(0)
  /// Nanoseconds of the monotonic clock.
  private let outUntil = Atomic(Int64.min)
  private let backSince = Atomic(Int64.min)
  private let nextTrial = Atomic(Int64.min)

  /// `loads`: what endpoints carry, also those that are not in use now. The WebSockets of one do not end
  /// because its address is gone for a while, or because a reload gives it another weight.
  init(upstream: String, _ plan: EndpointPlan, _ loads: EndpointLoads = EndpointLoads()) {
    id = Self.lastID.wrappingAdd(1, ordering: .relaxed).newValue
    self.plan = plan
    name = plan.address.description
    // No name of an upstream holds a zero.
    let identity = Array(upstream.utf8) + [0] + Array(name.utf8)
    self.identity = identity
    load = loads.load(of: identity)
    hash = BalanceHash.of(identity.span)
    weight = max(1, plan.weight)
    connectionsMax = plan.connectionsMax ?? .max
  }

  var inUse: Int { load.taken.load(ordering: .relaxed) }

  /// Counts an exchange in, unless the endpoint is full.
  func take() -> Bool {
    var current = inUse
    while current < connectionsMax {
      let (isMine, seen) = load.taken.weakCompareExchange(
        expected: current, desired: current + 1, ordering: .relaxed)
      if isMine {
        takes.wrappingAdd(1, ordering: .relaxed)
        return true
      }
      current = seen
    }
    return false
  }

  /// Counts an exchange out that was counted in.
  func giveBack() { load.taken.wrappingSubtract(1, ordering: .relaxed) }

  // MARK: For the metrics

  var requestCount: UInt64 { takes.load(ordering: .relaxed) }
  /// Connects that failed and answers that were bad.
  var failureCount: UInt64 { allFailures.load(ordering: .relaxed) }
  var ejectionCount: UInt64 { allEjections.load(ordering: .relaxed) }

  // MARK: Health

  /// Taken out for a time, or down by its checks.
  func isOut(_ now: MonotonicTime) -> Bool {
    isDown || now.nanoseconds < outUntil.load(ordering: .relaxed)
  }

  /// Its checks have failed, and only they bring it back.
  var isDown: Bool { health.isDown }

  /// It has been out, and nothing has shown since that it is in order: `beginTrial()` says who may
  /// find out.
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

  /// A connect has succeeded: it is in order, unless it was taken out for what it answered. `.back`
  /// to exactly one caller.
  func connected(_ now: MonotonicTime) -> EndpointChange? {
    if failures.load(ordering: .relaxed) != 0 { failures.store(0, ordering: .relaxed) }
    guard ejections.load(ordering: .relaxed) != 0, !isOutForAnswers.load(ordering: .relaxed) else {
      return nil
    }
    return restore(now)
  }

  /// A connect has failed. `.ejected` to exactly one caller. One that has been out before and not
  /// connected to since is out again at once.
  func failed(_ now: MonotonicTime) -> EndpointChange? {
    allFailures.wrappingAdd(1, ordering: .relaxed)
    let count = failures.wrappingAdd(1, ordering: .relaxed).newValue
    guard count >= Self.failuresMax || isOnTrial else { return nil }
    return eject(now, forAnswers: false)
  }

  /// It has answered as a server in order does, if only to refuse.
  func answeredWell(_ now: MonotonicTime) -> EndpointChange? {
    if badAnswers.load(ordering: .relaxed) != 0 { badAnswers.store(0, ordering: .relaxed) }
    guard isOutForAnswers.load(ordering: .relaxed) else { return nil }
    return restore(now)
  }

  /// It has answered 5xx, not at all, or has given a WebSocket up early. `mayEject`: there is another
  /// one. A server that answers badly is better than none.
  func answeredBadly(_ now: MonotonicTime, mayEject: Bool) -> EndpointChange? {
    allFailures.wrappingAdd(1, ordering: .relaxed)
    let last = lastBadAnswer.exchange(now.nanoseconds, ordering: .relaxed)
    let isOld = last > .min && now - MonotonicTime(nanoseconds: last) > Self.memory
    if isOld { badAnswers.store(0, ordering: .relaxed) }
    let count = badAnswers.wrappingAdd(1, ordering: .relaxed).newValue
    guard mayEject, count >= Self.badAnswersMax || isOnTrial else { return nil }
    badAnswers.store(0, ordering: .relaxed)
    return eject(now, forAnswers: true)
  }

  /// A check of its health has ended. `.up` and `.down` when that changes anything.
  func checked(
    passed: Bool, _ now: MonotonicTime, rise: Int, fall: Int
  ) -> EndpointChange? {
    switch health.note(passed: passed, rise: rise, fall: fall) {
    case .none: return nil
    case .down:
      allEjections.wrappingAdd(1, ordering: .relaxed)
      return .down
    case .up:
      _ = restore(now)
      return .up
    }
  }

  private func restore(_ now: MonotonicTime) -> EndpointChange? {
    backSince.store(now.nanoseconds, ordering: .relaxed)
    outUntil.store(.min, ordering: .relaxed)
    isOutForAnswers.store(false, ordering: .relaxed)
    return ejections.exchange(0, ordering: .relaxed) != 0 ? .back : nil
  }

  private func eject(_ now: MonotonicTime, forAnswers: Bool) -> EndpointChange? {
    let before = ejections.load(ordering: .relaxed)
    let current = outUntil.load(ordering: .relaxed)
    // What began before it was taken out says nothing new.
    guard now.nanoseconds >= current else { return nil }
    let length = Self.ejection(before)
    let (isMine, _) = outUntil.compareExchange(
      expected: current, desired: (now + length).nanoseconds, ordering: .relaxed)
    guard isMine else { return nil }
    allEjections.wrappingAdd(1, ordering: .relaxed)
    isOutForAnswers.store(forAnswers, ordering: .relaxed)
    ejections.store(before + 1, ordering: .relaxed)
    nextTrial.store((now + Self.trialInterval).nanoseconds, ordering: .relaxed)
    return forAnswers ? .ejectedForAnswers(for: length) : .ejected(for: length)
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

/// Exchanges that have taken an endpoint and are not over.
final class EndpointLoad: Sendable {
  let taken = Atomic(0)
}

/// By identity; one that nobody else holds any more is forgotten when the next one comes.
final class EndpointLoads: Sendable {
  private let known = Mutex<[[UInt8]: EndpointLoad]>([:])

  func load(of identity: [UInt8]) -> EndpointLoad {
    known.withLock { known in
      if let load = known[identity] { return load }
      for other in Array(known.keys) {
        guard var load = known.removeValue(forKey: other) else { continue }
        if !isKnownUniquelyReferenced(&load) { known[other] = load }
      }
      let load = EndpointLoad()
      known[identity] = load
      return load
    }
  }
}

/// What the checks of one endpoint have come to. One worker makes them; all read the result.
private struct CheckedHealth: ~Copyable, Sendable {
  private enum State { static let unknown = 0, up = 1, down = 2 }
  enum Change { case none, up, down }

  private let state = Atomic(State.unknown)
  /// In a row, of those that speak against the state.
  private let contrary = Atomic(0)

  var isDown: Bool { state.load(ordering: .relaxed) == State.down }

  /// The first check decides by itself.
  func note(passed: Bool, rise: Int, fall: Int) -> Change {
    let current = state.load(ordering: .relaxed)
    let next = passed ? State.up : State.down
    guard next != current else {
      contrary.store(0, ordering: .relaxed)
      return .none
    }
    let count = contrary.wrappingAdd(1, ordering: .relaxed).newValue
    guard current == State.unknown || count >= (passed ? rise : fall) else { return .none }
    state.store(next, ordering: .relaxed)
    contrary.store(0, ordering: .relaxed)
    // That it is in order is no news at the beginning.
    return passed ? (current == State.down ? .up : .none) : .down
  }
}
