// Streams as connections: what `send()`, `finish()`, `closeNow()` and their kin do where a leg is a
// stream. The session keeps a stream's unsent bytes and its windows; the slot keeps everything that a
// slot of a socket keeps. Only here and in the rest of HTTP2/ is known what a stream is.

import Bytes
import Configuration
import Kernel
import Telemetry
import Wire

extension Worker where K: ~Copyable {
  // MARK: In

  /// DATA of a stream, which is the content of `bytes`, with headroom in front.
  mutating func streamReceived(_ id: SlotID, _ bytes: SharedBuffer) {
    connections[id].creditOwed += bytes.count
    switch connections[id].ending {
    case .open:
      if let exchange = connections[id].exchange, exchanges.contains(exchange) {
        exchangeReceived(exchange, from: id, bytes)
      } else {
        // At most one window, for no credit is given while it waits.
        bytes.withSpan { connections[id].input.append($0) }
      }
    case .closeWhenSent, .lingerWhenSent, .lingering:
      metrics.add(.bytesAfterClose, UInt64(bytes.count))
    }
    if connections.contains(id) { settleCredit(id) }
  }

  /// Credit smaller than this is kept: the window is many times that, and each WINDOW_UPDATE costs.
  private static var leastCredit: Int { 16 * 1024 }

  /// Lets the client send as much again as has been taken on by whoever the stream works for.
  mutating func settleCredit(_ id: SlotID) {
    guard connections.contains(id), connections[id].creditOwed >= Self.leastCredit,
      case .stream(let link) = connections[id].role, isTakenOn(id)
    else { return }
    link.front.session.returnCredit(link.number, connections[id].creditOwed)
    connections[id].creditOwed = 0
    markForSending(link.front)
  }

  private func isTakenOn(_ id: SlotID) -> Bool {
    switch connections[id].ending {
    case .open: break
    case .lingerWhenSent, .lingering: return true
    // The rest of a request that has been answered is not asked for.
    case .closeWhenSent: return false
    }
    guard let exchange = connections[id].exchange, exchanges.contains(exchange) else {
      return false
    }
    switch exchanges[exchange].phase {
    case .connecting: return false
    case .awaitingAnswer, .relayingResponse:
      guard exchanges[exchange].forwarding?.hasStarted == true else { return false }
    case .bridge, .tunnel: break
    }
    guard let backend = exchanges[exchange].backend, connections.contains(backend) else {
      return true
    }
    return !connections[backend].hasUnsent
  }

  /// END_STREAM from the client, behind `trailers` as lines.
  mutating func streamEnded(_ id: SlotID, trailers: [UInt8] = []) {
    guard case .open = connections[id].ending else { return }
    if !trailers.isEmpty, case .stream(let link) = connections[id].role {
      link.front.trailers.append(WaitingTrailers(stream: id, lines: trailers))
    }
    guard let exchange = connections[id].exchange, exchanges.contains(exchange) else {
      // Of a plain request that is all; a handshake will be refused for it.
      connections[id].pauses.insert(.finished)
      return
    }
    if let forwarding = exchanges[exchange].forwarding {
      // The request is complete, or will be when what waits of it has gone.
      if forwarding.hasStarted {
        requestEnded(exchange)
        // Behind a length there was no place for them.
        _ = takeTrailers(id)
      }
      connections[id].pauses.insert(.finished)
      return
    }
    switch exchanges[exchange].phase {
    case .tunnel: tunnelEnded(exchange, id)
    // Half-closed behind its Close: it waits for the backend's.
    case .bridge where exchanges[exchange].bridge.from[Leg.client.index].closeReceived: break
    case .bridge: connectionLost(id, .endOfStream)
    case .relayingResponse: break
    // Nothing has been answered, so that the stream can only be reset.
    case .connecting, .awaitingAnswer:
      abortStream(id)
      legLost(exchange, id, .endOfStream)
    }
  }

  /// The trailers of the stream's request, as lines, once.
  mutating func takeTrailers(_ id: SlotID) -> [UInt8] {
    guard case .stream(let link) = connections[id].role,
      let index = link.front.trailers.firstIndex(where: { $0.stream == id })
    else { return [] }
    return link.front.trailers.remove(at: index).lines
  }

  /// The session has done with the stream. Without our having ended it the client has reset it.
  mutating func streamClosed(_ id: SlotID) {
    guard connections.contains(id) else { return }
    switch connections[id].ending {
    case .open: connectionLost(id, .failed(.connectionReset))
    case .closeWhenSent, .lingerWhenSent, .lingering: removeStream(id)
    }
  }

  // MARK: Out

  mutating func sendOnStream(_ id: SlotID, _ bytes: Span<UInt8>) {
    guard case .stream(let link) = connections[id].role else { return }
    link.front.session.write(link.number, bytes, spare: &spareBytes)
    if connections[id].queued == 0 { connections[id].queuedSince = now }
    connections[id].queued += bytes.count
    link.front.queued += bytes.count
    metrics.change(.outputWaiting, by: Int64(bytes.count))
    markForSending(link.front)
    pauseSourceIfFull(id)
  }

  /// `count` bytes of the stream have gone to its connection, or its end alone.
  mutating func streamSent(_ id: SlotID, _ front: HTTP2Front, _ count: Int) {
    front.queued = max(0, front.queued - count)
    guard connections.contains(id) else { return }
    let sent = min(count, connections[id].queued)
    connections[id].queued -= sent
    metrics.change(.outputWaiting, by: -Int64(sent))
    resumeSourceIfDrained(id)
    guard connections.contains(id) else { return }
    if connections[id].timeout == .writeStall { clearTimeout(id) }
    guard !connections[id].hasUnsent else { return }
    switch connections[id].ending {
    case .open: outputDrained(id)
    case .closeWhenSent, .lingerWhenSent, .lingering: front.hasEnding = true
    }
  }

  /// Starts the clocks of streams that wait for their client after this turn's frames have gone. Most
  /// are over before they need one.
  mutating func watchStreams(_ front: HTTP2Front) {
    guard front.queued > 0 || front.hasEnding else { return }
    front.hasEnding = false
    for stream in front.streams where connections[stream].timeout == .none {
      switch connections[stream].ending {
      case _ where connections[stream].hasUnsent: watchForStall(stream)
      case .open: break
      case .closeWhenSent, .lingerWhenSent, .lingering:
        // A client that reads slowly must not lose the end when the content has filled its window.
        if owesEnd(stream) { watchForStall(stream) } else { lingerOnStream(stream) }
      }
    }
  }

  private func owesEnd(_ id: SlotID) -> Bool {
    guard case .stream(let link) = connections[id].role else { return false }
    return link.front.session.owesEnd(link.number)
  }

  /// Beyond the bound of its connection a stream may hold only little.
  func streamHighMark(_ id: SlotID) -> Int {
    guard case .stream(let link) = connections[id].role else { return Self.outputHighMark }
    return link.front.queued < HTTP2Front.queuedMax ? Self.outputHighMark : Self.outputLowMark
  }

  /// Of a backend whose client is a stream: what one read may add to what is waiting.
  func streamReadLimit(_ id: SlotID) -> Int {
    guard case .stream(let link) = connections[id].role else { return Self.smallRead }
    if link.front.queued < HTTP2Front.queuedMax / 2 { return Self.smallRead }
    // No more than goes out at once, or little.
    let window = link.front.session.window(of: link.number)
    return min(max(window, Self.outputLowMark / 2), Self.smallRead)
  }

  // MARK: Closing

  /// END_STREAM behind what is queued; the client's END_STREAM is waited for. Behind a WebSocket's close
  /// handshake (`hurried`) it has the time of that. An answer to a request that is not read to its end
  /// is followed by RST_STREAM(NO_ERROR) (RFC 9113 section 8.1), but not at once: some clients lose the
  /// answer when the two come together.
  mutating func finishStream(_ id: SlotID, hurried: Bool) {
    guard case .stream(let link) = connections[id].role else { return }
    link.front.session.finish(link.number)
    markForSending(link.front)
    connections[id].pauses = []
    connections[id].input.removeAll()
    connections[id].ending = hurried ? .lingerWhenSent : .closeWhenSent
    clearTimeout(id)
    if hurried { lingerOnStream(id) } else { link.front.hasEnding = true }
    settleCredit(id)
  }

  /// The end of a response behind its trailers, given as lines.
  mutating func endStream(_ id: SlotID, trailers: [UInt8]) {
    guard !trailers.isEmpty, case .stream(let link) = connections[id].role else { return }
    link.front.session.finish(link.number, trailers: FieldBlock(trailers: trailers.span))
    markForSending(link.front)
  }

  private static var timeForAnswer: TimeSpan { .seconds(1) }

  private mutating func lingerOnStream(_ id: SlotID) {
    if case .closeWhenSent = connections[id].ending {
      setTimeout(id, .lingering, after: Self.timeForAnswer)
    } else {
      setTimeout(id, .lingering, after: closeTimeout(id))
    }
  }

  /// Our direction ends, the client's goes on.
  mutating func endStream(_ id: SlotID) {
    guard case .stream(let link) = connections[id].role else { return }
    connections[id].isFinDue = false
    link.front.session.finish(link.number)
    markForSending(link.front)
  }

  /// As closing a socket: nothing more is taken, and what had not left is lost.
  mutating func closeStream(_ id: SlotID) {
    guard case .stream(let link) = connections[id].role else { return }
    switch connections[id].ending {
    case .open where !connections[id].hasUnsent: link.front.session.finishThenReset(link.number)
    case .open: link.front.session.reset(link.number, .cancel)
    case .closeWhenSent, .lingerWhenSent, .lingering:
      link.front.session.reset(link.number, .noError)
    }
    removeStream(id)
  }

  /// RFC 8441 section 5: what a RST is to TCP, RST_STREAM with CANCEL is here.
  mutating func abortStream(_ id: SlotID) {
    guard case .stream(let link) = connections[id].role else { return }
    link.front.session.reset(link.number, .cancel)
    removeStream(id)
  }

  /// Frees the slot. The session forgets what is unsent with its own stream.
  private mutating func removeStream(_ id: SlotID) {
    guard case .stream(let link) = connections[id].role else { return }
    let front = link.front
    front.queued = max(0, front.queued - connections[id].queued)
    metrics.change(.outputWaiting, by: -Int64(connections[id].queued))
    _ = takeTrailers(id)
    guard connections.discard(id) else { return }
    streams -= 1
    if let index = front.streams.firstIndex(of: id) {
      front.streams.swapAt(index, front.streams.count - 1)
      front.streams.removeLast()
    }
    markForSending(front)
    guard connections.contains(front.carrier), front.streams.isEmpty else { return }
    setHTTP2Timeout(front.carrier, front)
  }
}
