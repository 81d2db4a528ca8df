// The load generator's sockets: clients towards the proxy and the echo backend behind it. Everything
// both sides share is here; what a client does is in Clients.swift, what one on an HTTP/2 stream does
// otherwise in Streams.swift, what the backend does in EchoBackend.swift.

import Bytes
import Endpoint
import Kernel
import TLS

struct Driver: ~Copyable, EventLoop {
  static let socketsMax = 19_000

  let options: Options
  var kernel: LinuxKernel
  var links = Slab<Link>(capacity: Driver.socketsMax)
  var events: [Event] = []
  var listener: Descriptor?
  let tlsContext: TLSContext?

  /// The connections that carry streams; the newest is the one with room.
  var carriers = Slab<Carrier>(capacity: 1_000)
  var newestCarrier: SlotID?
  var streamEvents: [StreamEvent] = []
  let carrierBuffers = CarrierBuffers()

  let input = SharedBuffer(capacity: 256 << 10)
  let plaintext = SharedBuffer(capacity: 256 << 10)
  let output = SharedBuffer(capacity: 512 << 10)
  let wire = SharedBuffer(capacity: 512 << 10)

  /// The frame every client sends, whole.
  let message: SharedBuffer
  let request: [UInt8]
  let streamRequest: RequestFields

  var now = MonotonicTime(nanoseconds: 0)
  var clients = Clients()
  var results = Results()

  init(_ options: Options, kernel: consuming LinuxKernel, tlsContext: TLSContext?) {
    self.options = options
    self.kernel = kernel
    self.tlsContext = tlsContext
    let frame = Frames.clientMessage(count: options.size)
    message = SharedBuffer(capacity: frame.count)
    message.append(frame)
    request = Upgrade.request(host: options.host, path: options.path, tls: options.tls)
    streamRequest = Upgrade.streamRequest(host: options.host, path: options.path, tls: options.tls)
    events.reserveCapacity(512)
  }

  mutating func listen(_ descriptor: Descriptor) {
    listener = descriptor
    _ = kernel.watch(descriptor, .read, token: Token.listener.packed)
  }

  mutating func turn() { turn(.milliseconds(20)) }

  mutating func handle(_ event: Event, socket id: SlotID) {
    guard links.contains(id) else { return }
    if links[id].phase == .connecting {
      if event.writable || event.broken { connected(id) }
      return
    }
    if event.writable { flush(id) }
    if links.contains(id), event.readable || event.broken { read(id) }
  }

  private mutating func read(_ id: SlotID) {
    input.reset()
    switch kernel.receive(links[id].descriptor, into: input, limit: input.capacity) {
    case .bytes: received(id)
    case .wouldBlock: return
    case .endOfStream, .failed: ended(id)
    }
  }

  private mutating func received(_ id: SlotID) {
    output.reset()
    if links[id].tls == nil {
      input.withSpan { handle($0, id) }
    } else {
      decrypt(id)
    }
    if links.contains(id) { transmit(id) }
  }

  private mutating func decrypt(_ id: SlotID) {
    plaintext.reset()
    wire.reset()
    let progress = input.withSpan {
      links[id].tls?.receive($0, now: now, plaintext: plaintext, output: wire)
    }
    if !wire.isEmpty { wire.withSpan { links[id].pending.append($0) } }
    if links[id].phase == .securing, links[id].tls?.isEstablished == true { secured(id) }
    if !plaintext.isEmpty { plaintext.withSpan { handle($0, id) } }
    switch progress {
    case .closed, .failed, nil: if links.contains(id) { ended(id) }
    case .handshaking, .established: break
    }
  }

  private mutating func handle(_ bytes: Span<UInt8>, _ id: SlotID) {
    var position = 0
    if links[id].phase == .upgrading {
      guard let end = takeHead(bytes, id) else { return }
      position = end
    }
    guard links.contains(id) else { return }
    switch links[id].role {
    case .client: clientReceived(bytes, from: position, id)
    case .backend: backendReceived(bytes, from: position, id)
    }
  }

  /// Collects a head; the offset in `bytes` behind it once it is complete and accepted.
  private mutating func takeHead(_ bytes: Span<UInt8>, _ id: SlotID) -> Int? {
    let before = links[id].head.count
    for index in bytes.indices { links[id].head.append(bytes[index]) }
    guard let end = Upgrade.headEnd(links[id].head, added: bytes.count) else {
      if links[id].head.count > 32 << 10 { fail(id, "a head over 32 KiB") }
      return nil
    }
    let head = Array(links[id].head[..<end])
    links[id].head = []
    links[id].phase = .open
    switch links[id].role {
    case .client: answered(head, id)
    case .backend: asked(head, id)
    }
    return end - before
  }

  /// Sends what `output` holds (through TLS where there is one); the rest waits in `pending`.
  mutating func transmit(_ id: SlotID) {
    if !output.isEmpty {
      if links[id].tls == nil {
        sendNow(id)
      } else {
        wire.reset()
        _ = output.withSpan { links[id].tls?.send($0, output: wire) }
        wire.withSpan { links[id].pending.append($0) }
      }
      output.reset()
    }
    flush(id)
  }

  private mutating func sendNow(_ id: SlotID) {
    if links[id].pending.isEmpty {
      let outcome = output.withSpan { kernel.send(links[id].descriptor, $0) }
      if case .bytes(let count) = outcome { output.consume(count) }
    }
    if !output.isEmpty { output.withSpan { links[id].pending.append($0) } }
  }

  /// Writes what waits, then what a client owes; settles the interest. A stream's connection is
  /// flushed once for all that are on it.
  mutating func flush(_ id: SlotID) {
    if links[id].place != nil { return writeStream(id) }
    while !links[id].pending.isEmpty {
      let outcome = Link.send(&links[id], on: &kernel)
      switch outcome {
      case .bytes(let count): links[id].pending.consume(count)
      case .wouldBlock: return settle(id, [.read, .write])
      case .endOfStream, .failed: return ended(id)
      }
    }
    if links[id].role == .client, links[id].owed > 0, !sendOwed(id) { return }
    if links[id].role == .backend, links[id].phase == .closing { return drop(id) }
    settle(id, .read)
  }

  mutating func settle(_ id: SlotID, _ interest: Interest) {
    if links[id].interest == interest { return }
    links[id].interest = interest
    _ = kernel.rewatch(links[id].descriptor, interest, token: id.packed)
  }

  mutating func drop(_ id: SlotID) {
    if let place = links[id].place {
      cancel(place)
    } else {
      kernel.close(links[id].descriptor)
    }
    _ = links.remove(id)
  }

  mutating func ended(_ id: SlotID) {
    switch links[id].role {
    case .client: clientEnded(id)
    case .backend: drop(id)
    }
  }

  mutating func fail(_ id: SlotID, _ reason: String) {
    results.note(failure: reason)
    if links[id].role == .client { clients.alive -= 1 }
    drop(id)
  }
}
