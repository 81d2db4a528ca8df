// Ends that are HTTP/2 streams (RFC 8441) and the connections that carry them. A stream says and hears
// what a socket does; it has windows instead of a socket's buffers, and a stream that rests gives no
// credit back, while the others on its connection go on.

import Bytes
import Endpoint
import Kernel
import Support
import TLS

extension Driver {
  private static let connectionWindow: Int32 = 1 << 20

  mutating func startStream(_ pair: Int) {
    guard let carrier = carrierWithRoom() else {
      pairsOver += 1
      return
    }
    var end = End(Descriptor(-1), .client, .connecting, [], speaker(pair, .client))
    end.pair = pair
    end.place = End.Place(carrier: carrier)
    end.isDribbling = pairs[pair].isDribbling
    guard let id = ends.insert(end) else { return }
    pairs[pair].ends[Side.client.rawValue] = id
    tally.streams += 1
    carriers[carrier].streams.append(id)
    carrierRoom -= 1
    if carriers[carrier].isReady { ask(stream: id) }
  }

  /// The newest connection, or one more with room for 1 to 100 streams and a window of 4 to 64 KiB.
  private mutating func carrierWithRoom() -> SlotID? {
    if let newest = newestCarrier, carriers.contains(newest), carrierRoom > 0 { return newest }
    guard let descriptor = connect() else { return nil }
    let window = Int32(4_096) << Int32(random.below(5))
    let http = HTTP2Client(window: window, connectionWindow: Driver.connectionWindow)
    guard let http,
      let id = carriers.insert(Carrier(descriptor, http, tls: session(contexts.http2)))
    else {
      kernel.close(descriptor)
      return nil
    }
    tally.carriers += 1
    newestCarrier = id
    carrierRoom = 1 + random.below(100)
    return kernel.watch(descriptor, .write, token: Token.carrier(id).packed) ? id : nil
  }

  private mutating func ask(stream id: SlotID) {
    guard ends.contains(id), let pair = ends[id].pair, let carrier = ends[id].place?.carrier else {
      return
    }
    ends[id].phase = .upgrading
    let fields = RequestFields(
      connect: "/pair/\(pair)", authority: Driver.host, isSecure: options.tls)
    let number = carriers[carrier].http.connect(fields, owner: id.packed)
    ends[id].place?.number = number
    if number == nil { fail(id, "no more streams") }
  }

  // MARK: Receiving

  mutating func handle(_ event: Event, carrier id: SlotID) {
    guard carriers.contains(id) else { return }
    streamEvents.removeAll(keepingCapacity: true)
    let limit = random.chance(10) ? random.logUniform(bits: 17) : .max
    let loss = carriers[id].handle(
      event, at: now, limit: limit, on: &kernel, carrierBuffers, into: &streamEvents)
    for index in streamEvents.indices { take(streamEvents[index], id) }
    if let loss { lose(id, loss) }
  }

  private mutating func take(_ event: StreamEvent, _ id: SlotID) {
    switch event {
    case .settings(let takesConnect): settled(id, takesConnect)
    case .answered(let owner, let status): answered(SlotID(packed: owner), status)
    case .data(let owner, let range): received(SlotID(packed: owner), range, id)
    case .ended(let owner): streamEnded(SlotID(packed: owner))
    case .closed(let owner, let code): streamClosed(SlotID(packed: owner), code)
    case .goAway(let code): if code != 0 { tally.violated("GOAWAY, \(code)") }
    }
  }

  private mutating func settled(_ id: SlotID, _ takesConnect: Bool) {
    guard takesConnect else { return tally.violated("the gateway takes no extended CONNECT") }
    if carriers[id].isReady { return }
    carriers[id].isReady = true
    for stream in carriers[id].streams { ask(stream: stream) }
  }

  private mutating func answered(_ id: SlotID, _ status: Int) {
    guard ends.contains(id) else { return }
    guard status == 200, ends[id].phase == .upgrading else { return fail(id, "refused, \(status)") }
    opened(id)
  }

  private mutating func received(_ id: SlotID, _ range: Range<Int>, _ carrier: SlotID) {
    guard ends.contains(id), let number = ends[id].place?.number else { return }
    guard ends[id].phase == .open else { return fail(id, "DATA before the answer") }
    let bytes = carriers[carrier].received(carrierBuffers)
    if ends[id].isResting {
      return bytes.withSpan { ends[id].held.append($0.extracting(range)) }
    }
    if random.below(200) == 0 { restForAWhile(id) }
    bytes.withSpan { framesReceived($0.extracting(range), id) }
    carriers[carrier].http.returnCredit(number, range.count)
  }

  /// A stream reads on: first what came while it rested.
  mutating func takeHeld(_ id: SlotID) {
    guard let place = ends[id].place, let number = place.number else { return }
    var held = ByteQueue()
    swap(&held, &ends[id].held)
    held.withSpan { framesReceived($0, id) }
    if carriers.contains(place.carrier) {
      carriers[place.carrier].http.returnCredit(number, held.count)
    }
    if ends.contains(id), ends[id].hasEnded { ended(id) }
  }

  private mutating func streamEnded(_ id: SlotID) {
    guard ends.contains(id) else { return }
    ends[id].hasEnded = true
    if !ends[id].isResting { ended(id) }
  }

  /// An end that did as it should is gone by now, or rests and has its END_STREAM.
  private mutating func streamClosed(_ id: SlotID, _ code: UInt32) {
    guard ends.contains(id), !ends[id].hasEnded || code != 0 else { return }
    fail(id, "the gateway reset the stream, \(code)")
  }

  // MARK: Sending

  /// One segment at a time, as with a socket, and the next when nghttp2 has put that one out.
  mutating func sendOnStream(_ id: SlotID, _ count: Int) -> IOOutcome {
    guard let place = ends[id].place, let number = place.number else { return .wouldBlock }
    let http = carriers[place.carrier].http
    ends[id].pending.withSpan { http.write(number, $0.extracting(0..<count)) }
    ends[id].pending.consume(count)
    return .bytes(count)
  }

  /// Lets the streams of every connection speak and sends what there is, cut anywhere.
  mutating func serveCarriers() {
    for index in 0..<carriers.indexLimit {
      if let id = carriers.id(at: index) { serve(id) }
    }
  }

  private mutating func serve(_ id: SlotID) {
    let streams = carriers[id].streams
    for stream in streams where canSpeak(stream) { write(stream) }
    let limit = random.chance(60) ? .max : random.logUniform(bits: 16)
    if let loss = carriers[id].flush(limit: limit, on: &kernel, carrierBuffers) {
      return lose(id, loss)
    }
    let speaks = streams.contains { canSpeak($0) }
    if isOver(id) { carriers[id].leave(on: &kernel, carrierBuffers) }
    carriers[id].settle(speaks ? [.read, .write] : .read, id, on: &kernel)
  }

  private func canSpeak(_ id: SlotID) -> Bool {
    guard ends.contains(id), ends[id].phase == .open, unsent(id) == 0 else { return false }
    return ends[id].hasOutput || !ends[id].speaker.isFinished
  }

  private func unsent(_ id: SlotID) -> Int {
    guard let place = ends[id].place, let number = place.number else { return 0 }
    return carriers[place.carrier].http.unsent(number)
  }

  // MARK: The end

  /// Our END_STREAM, behind the gateway's.
  mutating func finishStream(_ id: SlotID) {
    guard let place = ends[id].place, let number = place.number else { return }
    carriers[place.carrier].http.finish(number)
  }

  mutating func cancel(_ place: End.Place) {
    guard let number = place.number, carriers.contains(place.carrier) else { return }
    carriers[place.carrier].http.cancel(number)
  }

  /// No stream is on it and none will be.
  private func isOver(_ id: SlotID) -> Bool {
    let mayGrow = id == newestCarrier && carrierRoom > 0 && pairsStarted < options.sockets
    return carriers[id].isReady && !mayGrow && !carriers[id].hasPending
      && carriers[id].http.streamCount == 0
  }

  private mutating func lose(_ id: SlotID, _ loss: Carrier.Loss) {
    guard let carrier = carriers.remove(id) else { return }
    kernel.close(carrier.descriptor)
    if !carrier.hasLeft { tally.violated("an HTTP/2 connection was lost: \(loss)") }
    for stream in carrier.streams where ends.contains(stream) { fail(stream, "\(loss)") }
  }
}
