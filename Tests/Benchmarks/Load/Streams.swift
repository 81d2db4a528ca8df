// Clients that are HTTP/2 streams (RFC 8441): the connections they share, and what comes over those.
// From the first frame on a stream is a client like any other; one turn of a connection is one receive
// and, for all its streams together, one seal and one send.

import Bytes
import Endpoint
import Kernel
import TLS

extension Driver {
  /// Far more than what is ever under way, so that the clients never hold a proxy back.
  private static let streamWindow: Int32 = 8 << 20
  private static let connectionWindow: Int32 = 64 << 20

  /// Starts one more stream on a connection with fewer than `most`; false when that is impossible.
  mutating func startStream(of most: Int) -> Bool {
    guard let carrier = carrierWithRoom(most) else { return false }
    var link = Link(streamOn: carrier)
    link.begun[0] = now.nanoseconds
    guard let id = links.insert(link) else { return false }
    clients.alive += 1
    carriers[carrier].streams.append(id)
    if carriers[carrier].isReady {
      ask(id)
      flush(carrier: carrier)
    }
    return true
  }

  private mutating func carrierWithRoom(_ most: Int) -> SlotID? {
    if let newest = newestCarrier, carriers.contains(newest),
      carriers[newest].streams.count < most
    {
      return newest
    }
    guard let descriptor = connect() else { return nil }
    let http = HTTP2Client(
      window: Driver.streamWindow, connectionWindow: Driver.connectionWindow)
    guard let http, let id = carriers.insert(Carrier(descriptor, http, tls: session())) else {
      kernel.close(descriptor)
      return nil
    }
    newestCarrier = id
    return kernel.watch(descriptor, .write, token: Token.carrier(id).packed) ? id : nil
  }

  private mutating func ask(_ id: SlotID) {
    guard links.contains(id), let carrier = links[id].place?.carrier else { return }
    links[id].phase = .upgrading
    let number = carriers[carrier].http.connect(streamRequest, owner: id.packed)
    links[id].place?.number = number
    if number == nil { fail(id, "no more streams") }
  }

  // MARK: What comes

  mutating func handle(_ event: Event, carrier id: SlotID) {
    guard carriers.contains(id) else { return }
    streamEvents.removeAll(keepingCapacity: true)
    let loss = carriers[id].handle(
      event, at: now, limit: .max, on: &kernel, carrierBuffers, into: &streamEvents)
    for index in streamEvents.indices { take(streamEvents[index], id) }
    if let loss { return lose(id, "\(loss)") }
    flush(carrier: id)
  }

  private mutating func take(_ event: StreamEvent, _ id: SlotID) {
    switch event {
    case .settings(let takesConnect): settled(id, takesConnect)
    case .answered(let owner, let status): answered(SlotID(packed: owner), status)
    case .data(let owner, let range): received(SlotID(packed: owner), range, id)
    case .ended(let owner): streamOver(SlotID(packed: owner), "END_STREAM")
    case .closed(let owner, let code): streamOver(SlotID(packed: owner), "RST_STREAM, \(code)")
    case .goAway(let code): results.note(failure: "GOAWAY, \(code)")
    }
  }

  private mutating func settled(_ id: SlotID, _ takesConnect: Bool) {
    guard takesConnect else { return results.note(failure: "no extended CONNECT") }
    if carriers[id].isReady { return }
    carriers[id].isReady = true
    for stream in carriers[id].streams { ask(stream) }
  }

  private mutating func answered(_ id: SlotID, _ status: Int) {
    guard links.contains(id) else { return }
    guard status == 200 else { return fail(id, "refused: \(status)") }
    links[id].phase = .open
    accepted(id)
    flush(id)
  }

  private mutating func received(_ id: SlotID, _ range: Range<Int>, _ carrier: SlotID) {
    guard links.contains(id), let number = links[id].place?.number else { return }
    output.reset()
    let bytes = carriers[carrier].received(carrierBuffers)
    bytes.withSpan { clientReceived($0.extracting(range), from: 0, id) }
    carriers[carrier].http.returnCredit(number, range.count)
    writeStream(id)
  }

  private mutating func streamOver(_ id: SlotID, _ how: String) {
    if links.contains(id) { fail(id, "the proxy closed a stream: \(how)") }
  }

  // MARK: What goes

  /// Queues what `output` holds and the messages that the client owes.
  mutating func writeStream(_ id: SlotID) {
    guard let place = links[id].place, let number = place.number else { return }
    let http = carriers[place.carrier].http
    if !output.isEmpty { output.withSpan { http.write(number, $0) } }
    output.reset()
    while links[id].owed > 0 {
      message.withSpan { http.write(number, $0) }
      links[id].owed -= 1
    }
  }

  private mutating func flush(carrier id: SlotID) {
    if let loss = carriers[id].flush(on: &kernel, carrierBuffers) { return lose(id, "\(loss)") }
    carriers[id].settle(.read, id, on: &kernel)
  }

  mutating func flushCarriers() {
    for index in 0..<carriers.indexLimit {
      if let id = carriers.id(at: index) { flush(carrier: id) }
    }
  }

  // MARK: The end

  mutating func cancel(_ place: Link.Place) {
    guard let number = place.number, carriers.contains(place.carrier) else { return }
    carriers[place.carrier].http.cancel(number)
  }

  private mutating func lose(_ id: SlotID, _ reason: String) {
    guard let carrier = carriers.remove(id) else { return }
    kernel.close(carrier.descriptor)
    for stream in carrier.streams where links.contains(stream) { fail(stream, reason) }
    if carrier.streams.isEmpty { results.note(failure: reason) }
  }

  mutating func closeCarriers() {
    for index in 0..<carriers.indexLimit {
      guard let id = carriers.id(at: index), let carrier = carriers.remove(id) else { continue }
      kernel.close(carrier.descriptor)
    }
  }
}
