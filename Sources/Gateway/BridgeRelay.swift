// The relay of a bridge: frames pass verbatim, still masked, straight from the shared buffer; our
// own Pongs are swallowed, our Pings and Closes go in at frame boundaries only, and a peer that
// breaks RFC 6455 is answered with the right Close while nothing of the bad frame gets through.

import Configuration
import Bytes
import Kernel
import Telemetry
import Wire

extension Worker where K: ~Copyable {
  /// Bytes came from `leg`. What was held of that direction goes in front of them.
  mutating func bridgeReceived(_ exchange: SlotID, from leg: Leg, _ bytes: SharedBuffer) {
    exchanges[exchange].bridge.keepAlive[leg.index].received(now)
    exchanges[exchange].bridge.from[leg.index].held.release(to: bytes)
    bytes.withSpan { relayFrames(exchange, from: leg, $0) }
  }

  /// Follows and forwards the frames in `bytes`.
  mutating func relayFrames(_ exchange: SlotID, from leg: Leg, _ bytes: Span<UInt8>) {
    // An injection that waits goes in at the first boundary, not when the stream happens to pause.
    if let boundary = injectionBoundary(exchange, from: leg, limit: bytes.count) {
      relayRun(exchange, from: leg, bytes.extracting(0..<boundary))
      guard exchanges.contains(exchange) else { return }
      relayRun(exchange, from: leg, bytes.extracting(boundary..<bytes.count))
    } else {
      relayRun(exchange, from: leg, bytes)
    }
  }

  private func injectionBoundary(_ exchange: SlotID, from leg: Leg, limit: Int) -> Int? {
    guard
      exchanges[exchange].bridge.from[leg.index].isPingDue
        || exchanges[exchange].bridge.from[leg.index].dueClose != nil
    else { return nil }
    let remaining = exchanges[exchange].bridge.from[leg.index].scanner.payloadRemaining
    return remaining > 0 && remaining < UInt64(limit) ? Int(remaining) : nil
  }

  private mutating func relayRun(_ exchange: SlotID, from leg: Leg, _ bytes: Span<UInt8>) {
    var unsent = 0
    var position = 0
    while exchanges.contains(exchange) {
      if exchanges[exchange].bridge.from[leg.index].isDeaf
        || exchanges[exchange].bridge.from[leg.index].closeReceived
      {
        return metrics.add(.bytesAfterClose, UInt64(bytes.count - position))
      }
      let before = exchanges[exchange].bridge.from[leg.index].scanner.tally
      let step = exchanges[exchange].bridge.from[leg.index].scanner.scan(bytes, from: position)
      metrics.add(exchanges[exchange].bridge.from[leg.index].scanner.tally, since: before, leg)
      switch step {
      case .needMore(let passable):
        exchanges[exchange].bridge.from[leg.index].held.hold(
          bytes.extracting(passable..<bytes.count))
        forward(exchange, from: leg, bytes.extracting(unsent..<passable))
        return injectWhatIsDue(exchange, towards: leg.other)
      case .violation(let violation, let at):
        forward(exchange, from: leg, bytes.extracting(unsent..<at))
        return protocolViolation(exchange, by: leg, violation)
      case .control(let frame):
        position = frame.end
        metrics.add(frame.opcode.counter(from: leg))
        if frame.opcode == .ping { exchanges[exchange].bridge.from[leg.index].hasPinged = true }
        if swallows(exchange, from: leg, frame, in: bytes) {
          forward(exchange, from: leg, bytes.extracting(unsent..<frame.start))
          unsent = frame.end
        } else if frame.opcode == .close {
          forward(
            exchange, from: leg, bytes.extracting(unsent..<frame.end),
            finFollows: isAnsweringClient(exchange, leg))
          metrics.add(.bytesAfterClose, UInt64(bytes.count - frame.end))
          return closeReceived(exchange, from: leg, frame, in: bytes)
        } else if frame.opcode == .ping, !allowsPing(exchange, from: leg) {
          forward(exchange, from: leg, bytes.extracting(unsent..<frame.start))
          exchanges[exchange].bridge.from[leg.index].isDeaf = true
          return endBridge(exchange, .clientPingRate)
        }
      }
    }
  }

  /// The one place where bytes of a bridge go from one leg to the other. A transform per direction
  /// (inflate, deflate), a rate and a live tap belong here.
  private mutating func forward(
    _ exchange: SlotID, from leg: Leg, _ bytes: Span<UInt8>, finFollows: Bool = false
  ) {
    guard !bytes.isEmpty else { return }
    guard !exchanges[exchange].bridge.from[leg.index].closeSent,
      let sink = exchanges[exchange].connection(leg.other)
    else { return metrics.add(.bytesAfterClose, UInt64(bytes.count)) }
    exchanges[exchange].bridge.keepAlive[leg.other.index].sent(now)
    send(sink, bytes, finFollows: finFollows)
  }

  /// A Close from `leg` completes the client's close handshake: we end that connection next.
  private func isAnsweringClient(_ exchange: SlotID, _ leg: Leg) -> Bool {
    leg == .backend && exchanges[exchange].bridge.from[Leg.client.index].closeReceived
  }

  /// Whether a control frame is the answer to one of our own Pings, which ends here.
  private mutating func swallows(
    _ exchange: SlotID, from leg: Leg, _ frame: ControlFrame, in bytes: Span<UInt8>
  ) -> Bool {
    guard frame.opcode == .pong, let number = pingTag.number(of: frame, in: bytes) else {
      return false
    }
    guard exchanges[exchange].bridge.keepAlive[leg.index].answers(number, now: now) else {
      return false
    }
    metrics.add(.pongsSwallowed, 1)
    if let span = exchanges[exchange].bridge.keepAlive[leg.index].roundTrip(of: number) {
      metrics.record(leg == .client ? .clientRoundTrip : .backendRoundTrip, span)
    }
    return true
  }

  // MARK: Injection

  /// Sends a Ping or a Close that has waited for a frame's end, if there is one now.
  mutating func injectWhatIsDue(_ exchange: SlotID, towards leg: Leg) {
    guard exchanges.contains(exchange) else { return }
    let isPingDue = exchanges[exchange].bridge.from[leg.other.index].isPingDue
    let dueClose = exchanges[exchange].bridge.from[leg.other.index].dueClose
    guard isPingDue || dueClose != nil, isAtBoundary(exchange, towards: leg) else { return }
    if let dueClose {
      exchanges[exchange].bridge.from[leg.other.index].dueClose = nil
      sendClose(exchange, to: leg, code: dueClose)
    } else {
      exchanges[exchange].bridge.from[leg.other.index].isPingDue = false
      sendPing(exchange, to: leg)
      scheduleKeepAlive(exchange)
    }
  }

  func isAtBoundary(_ exchange: SlotID, towards leg: Leg) -> Bool {
    exchanges[exchange].bridge.from[leg.other.index].scanner.isAtFrameBoundary
  }

  /// A Ping is due by the clock: it goes out now, or as soon as the frame under way has ended.
  mutating func pingDue(_ exchange: SlotID, to leg: Leg) {
    guard !exchanges[exchange].bridge.from[leg.other.index].closeSent else { return }
    exchanges[exchange].bridge.from[leg.other.index].isPingDue = true
    exchanges[exchange].bridge.keepAlive[leg.index].oweThePing()
    injectWhatIsDue(exchange, towards: leg)
  }

  private mutating func sendPing(_ exchange: SlotID, to leg: Leg) {
    guard !exchanges[exchange].bridge.from[leg.other.index].closeSent,
      let sink = exchanges[exchange].connection(leg)
    else { return }
    let number = exchanges[exchange].bridge.keepAlive[leg.index].beginPing(now)
    let payload = pingTag.payload(number)
    sendControl(exchange, to: leg, .ping, payload.span)
    metrics.add(.pingsSent, 1)
    if connections.contains(sink), !connections[sink].hasUnsent {
      let backlog = backlog(sink)
      exchanges[exchange].bridge.keepAlive[leg.index].pingHasLeft(now, backlog: backlog)
    }
  }

  mutating func sendClose(_ exchange: SlotID, to leg: Leg, code: UInt16?) {
    guard !exchanges[exchange].bridge.from[leg.other.index].closeSent else { return }
    let payload: [UInt8] = code.map { [UInt8($0 >> 8), UInt8($0 & 0xff)] } ?? []
    sendControl(exchange, to: leg, .close, payload.span)
    exchanges[exchange].bridge.from[leg.other.index].closeSent = true
    closeSent(exchange, to: leg)
  }

  private mutating func sendControl(
    _ exchange: SlotID, to leg: Leg, _ opcode: Opcode, _ payload: Span<UInt8>
  ) {
    guard let sink = exchanges[exchange].connection(leg) else { return }
    let scratch = self.scratch
    scratch.reset()
    // RFC 6455 5.3: what a client sends (we are the backend's client) carries a fresh mask.
    let mask = leg == .backend ? UInt32(truncatingIfNeeded: kernel.random()) : nil
    FrameWriter.appendFrame(opcode, mask: mask, payload: payload, to: scratch)
    exchanges[exchange].bridge.keepAlive[leg.index].sent(now)
    scratch.withSpan { send(sink, $0) }
  }

  // MARK: Bounds

  /// The client's Pings: a burst, then a rate. A backend's are its own affair.
  private mutating func allowsPing(_ exchange: SlotID, from leg: Leg) -> Bool {
    guard leg == .client else { return true }
    let limits = shared.snapshot.limits
    return exchanges[exchange].bridge.from[leg.index].pings.take(
      now, burst: limits.pingBurst, perSecond: limits.pingRate)
  }
}

/// Marks our own Pings: 4 random bytes of this process, then the Ping's number on its leg.
struct PingTag {
  private let tag: UInt32

  init(random: UInt64) { tag = UInt32(truncatingIfNeeded: random) }

  func payload(_ number: UInt32) -> InlineArray<8, UInt8> {
    let both = UInt64(tag) << 32 | UInt64(number)
    return InlineArray { UInt8(truncatingIfNeeded: both >> UInt64(56 - 8 * $0)) }
  }

  /// The number that a control frame of ours carries, nil for everybody else's.
  func number(of frame: ControlFrame, in bytes: Span<UInt8>) -> UInt32? {
    guard frame.payloadCount == 8 else { return nil }
    let both = frame.payload(in: bytes).withSpan { payload in
      var value: UInt64 = 0
      for index in payload.indices { value = value << 8 | UInt64(payload[index]) }
      return value
    }
    return UInt32(truncatingIfNeeded: both >> 32) == tag
      ? UInt32(truncatingIfNeeded: both) : nil
  }
}
