// The loop: one thread, one epoll, both ends of every pair, so that what one end sends is known when
// the other receives it. Opening.swift has the handshakes, Sending.swift and Receiving.swift the rest.

import Bytes
import Kernel
import Support
import TLS
import Wire

struct Driver: ~Copyable {
  static let listenerToken = UInt64.max
  static let openingMax = 64

  let options: Options
  let target: SocketAddress
  let sea: Sea
  let tlsContext: TLSContext?
  var kernel: LinuxKernel
  var random: SeededRandom
  var ends = Slab<End>(capacity: 19_000)
  var pairs: [Pair] = []
  /// By pair, then by the side that sends.
  var flows: [Flow] = []
  var events: [Event] = []
  let listener: Descriptor
  var now: MonotonicTime
  let start: MonotonicTime

  var pairsStarted = 0
  var pairsOpen = 0
  var pairsOver = 0
  /// Ends that do not read for a while.
  var resting: [(until: MonotonicTime, id: SlotID)] = []
  /// The random part of the gateway's own Pings, once one has been seen.
  var gatewayTag: [UInt8]?
  var tally = Tally()

  let input = SharedBuffer(capacity: 256 << 10)
  let plaintext = SharedBuffer(capacity: 256 << 10)
  let frames = SharedBuffer(capacity: 2 << 20)
  let records = SharedBuffer(capacity: 2 << 20)

  init(
    _ options: Options, kernel: consuming LinuxKernel, listener: Descriptor, target: SocketAddress,
    tlsContext: TLSContext?
  ) {
    self.options = options
    self.listener = listener
    self.target = target
    self.tlsContext = tlsContext
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
    _ = kernel.watch(listener, .read, token: Driver.listenerToken)
    while pairsOver < options.sockets, tally.violations < 100 {
      while pairsStarted < options.sockets, pairsStarted - pairsOpen - pairsOver < Driver.openingMax
      {
        startClient()
      }
      turn()
      if now > deadline {
        tally.violated("after \(options.seconds) s \(options.sockets - pairsOver) pairs are open")
        break
      }
    }
    tally.delivered = flows.reduce(0) { $0 + $1.delivered }
    tally.milliseconds = (kernel.now() - start).milliseconds
  }

  private mutating func turn() {
    kernel.wait(.milliseconds(10), into: &events)
    now = kernel.now()
    for index in events.indices {
      let event = events[index]
      if event.token == Driver.listenerToken {
        acceptAll()
        continue
      }
      let id = SlotID(packed: event.token)
      if ends.contains(id) { handle(event, id) }
    }
    if !resting.isEmpty { wakeTheRested() }
  }

  private mutating func handle(_ event: Event, _ id: SlotID) {
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
    resting.append((now + span, id))
  }

  mutating func wake(_ id: SlotID) {
    guard ends.contains(id), ends[id].isResting else { return }
    ends[id].isResting = false
    settle(id)
  }

  private mutating func wakeTheRested() {
    for rest in resting where rest.until <= now { wake(rest.id) }
    let now = self.now
    resting.removeAll { $0.until <= now }
  }

  mutating func settle(_ id: SlotID) {
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
    kernel.close(ends[id].descriptor)
    _ = ends.remove(id)
  }

  func flow(_ pair: Int, _ side: Side) -> Flow { flows[pair * 2 + side.rawValue] }
}
