// Both ends of every pair in one thread, so that what one end sends is known when the other receives
// it. Opening.swift has the handshakes, Sending.swift and Receiving.swift the rest; Streams.swift has
// the ends that are HTTP/2 streams.

import Bytes
import Endpoint
import Kernel
import Support
import TLS
import Wire

/// Of an end that does not read for a while.
struct Rest {
  let id: SlotID
  let since: MonotonicTime
  let until: MonotonicTime
}

struct Driver: ~Copyable, EventLoop {
  static let openingMax = 64

  let options: Options
  let target: SocketAddress
  let sea: Sea
  let contexts: Contexts
  var kernel: LinuxKernel
  var random: SeededRandom
  var ends = Slab<End>(capacity: 19_000)
  var pairs: [Pair] = []
  /// By pair, then by the side that sends.
  var flows: [Flow] = []
  var events: [Event] = []
  /// The connections that carry streams; the newest has room for `carrierRoom` more.
  var carriers = Slab<Carrier>(capacity: 9_000)
  var newestCarrier: SlotID?
  var carrierRoom = 0
  var streamEvents: [StreamEvent] = []
  let carrierBuffers = CarrierBuffers()
  let listener: Descriptor
  var now: MonotonicTime
  let start: MonotonicTime

  var pairsStarted = 0
  var pairsOpen = 0
  var pairsOver = 0
  var resting: [Rest] = []
  /// The random part of the gateway's own Pings, once one has been seen.
  var gatewayTag: [UInt8]?
  var tally = Tally()

  let input = SharedBuffer(capacity: 256 << 10)
  let plaintext = SharedBuffer(capacity: 256 << 10)
  let frames = SharedBuffer(capacity: 2 << 20)
  let records = SharedBuffer(capacity: 2 << 20)

  init(
    _ options: Options, kernel: consuming LinuxKernel, listener: Descriptor, target: SocketAddress,
    contexts: Contexts
  ) {
    self.options = options
    self.listener = listener
    self.target = target
    self.contexts = contexts
    sea = Sea(seed: options.seed)
    random = SeededRandom(seed: options.seed)
    start = kernel.now()
    now = start
    self.kernel = kernel
    pairs = Pair.make(options, &random)
    flows = Array(repeating: Flow(), count: 2 * options.sockets)
    events.reserveCapacity(512)
  }

  /// Until every pair is over, too much has failed, or the time is up.
  mutating func run() {
    let deadline = start + .seconds(Int64(options.seconds))
    _ = kernel.watch(listener, .read, token: Token.listener.packed)
    while pairsOver < options.sockets || carriers.count > 0, tally.violations < 100 {
      while pairsStarted < options.sockets, pairsStarted - pairsOpen - pairsOver < Driver.openingMax
      {
        startClient()
      }
      turn(.milliseconds(10))
      serveCarriers()
      if !resting.isEmpty { wakeTheRested() }
      if now > deadline {
        tally.violated(
          "after \(options.seconds) s \(options.sockets - pairsOver) pairs and \(carriers.count) "
            + "HTTP/2 connections are open")
        break
      }
    }
    tally.delivered = flows.reduce(0) { $0 + $1.delivered }
    tally.milliseconds = (kernel.now() - start).milliseconds
  }

  mutating func handle(_ event: Event, socket id: SlotID) {
    guard ends.contains(id) else { return }
    if ends[id].phase == .connecting {
      if event.writable || event.broken { connected(id) }
      return
    }
    if event.writable { write(id) }
    guard ends.contains(id) else { return }
    if event.readable || event.broken, !ends[id].isResting { read(id) }
    if ends.contains(id) { settle(id) }
  }

  mutating func rest(_ id: SlotID, _ span: TimeSpan) {
    ends[id].isResting = true
    resting.append(Rest(id: id, since: now, until: now + span))
  }

  private mutating func wakeTheRested() {
    let rests = resting
    resting.removeAll(keepingCapacity: true)
    // To wake an end may send another to rest.
    for rest in rests {
      if isOver(rest) { wake(rest.id) } else { resting.append(rest) }
    }
  }

  private mutating func wake(_ id: SlotID) {
    guard ends.contains(id) else { return }
    ends[id].isResting = false
    takeHeld(id)
    if ends.contains(id) { settle(id) }
  }

  /// In a slow pair also when the sender has said all or is stuck: what it said last is long ago.
  private func isOver(_ rest: Rest) -> Bool {
    if rest.until <= now || !ends.contains(rest.id) { return true }
    guard let pair = ends[rest.id].pair, pairs[pair].isSlow,
      let other = pairs[pair].ends[ends[rest.id].side.other.rawValue], ends.contains(other)
    else { return false }
    if ends[other].speaker.isFinished && !ends[other].hasOutput { return true }
    return now - max(ends[other].lastSent, rest.since) > .milliseconds(100)
  }

  /// Tells epoll what a socket waits for.
  mutating func settle(_ id: SlotID) {
    if ends[id].place != nil { return }
    var interest: Interest = ends[id].isResting ? [] : .read
    let speaks = ends[id].phase == .open && !ends[id].speaker.isFinished
    if ends[id].phase == .connecting || ends[id].hasOutput || speaks { interest.insert(.write) }
    if ends[id].interest == interest { return }
    ends[id].interest = interest
    _ = kernel.rewatch(ends[id].descriptor, interest, token: id.packed)
  }

  /// This end has done all it should.
  mutating func finish(_ id: SlotID) {
    let pair = ends[id].pair
    drop(id)
    guard let pair else { return }
    pairs[pair].endsLeft -= 1
    guard pairs[pair].endsLeft == 0 else { return }
    over(pair)
    for side in [Side.client, .backend] where !flow(pair, side).isEmpty {
      tally.violated("pair \(pair): not all that the \(side) sent has arrived")
    }
  }

  /// Notes what went wrong and gives the pair up.
  mutating func fail(_ id: SlotID, _ reason: String) {
    let side = ends[id].side
    guard let pair = ends[id].pair else {
      tally.violated("a \(side): \(reason)")
      return drop(id)
    }
    tally.violated("pair \(pair), \(side): \(reason)")
    for index in 0..<2 {
      if let end = pairs[pair].ends[index], ends.contains(end) { drop(end) }
    }
    if ends.contains(id) { drop(id) }
    if pairs[pair].endsLeft > 0 { over(pair) }
    pairs[pair].endsLeft = 0
  }

  private mutating func over(_ pair: Int) {
    if pairs[pair].isOpen { pairsOpen -= 1 }
    pairsOver += 1
  }

  private mutating func drop(_ id: SlotID) {
    if let place = ends[id].place {
      cancel(place)
    } else {
      kernel.close(ends[id].descriptor)
    }
    _ = ends.remove(id)
  }

  func flow(_ pair: Int, _ side: Side) -> Flow { flows[pair * 2 + side.rawValue] }
}
