// The clock and the end of an HTTP/2 connection: the preface in time, idleness, a client that is no
// longer there, violations, and the good-bye in two steps (RFC 9113 section 6.8).

import Bytes
import Configuration
import Kernel
import Telemetry
import Wire

extension Worker where K: ~Copyable {
  // MARK: Time

  /// Sets what the connection's deadline is now. Running ones of the same meaning are kept: traffic
  /// without a stream must not keep a connection alive. Output that a stricter deadline has covered
  /// gets its own when that is over.
  mutating func setHTTP2Timeout(_ id: SlotID, _ front: HTTP2Front) {
    switch connections[id].timeout {
    case .writeStall, .lingering, .http2Drain, .tlsHandshake: return
    case .none, .requestHead, .requestBody, .keepAliveIdle, .adminAnswer, .http2Silence: break
    }
    let wanted = wantedTimeout(id, front)
    guard connections[id].timeout != wanted else { return }
    switch wanted {
    case .requestHead: setTimeout(id, wanted, after: shared.timeouts.requestHead)
    case .writeStall: setTimeout(id, wanted, after: writeStall(id))
    case .keepAliveIdle: setTimeout(id, wanted, after: shared.timeouts.keepAlive)
    default: setTimeout(id, wanted, after: Self.silenceAllowed)
    }
  }

  private func wantedTimeout(_ id: SlotID, _ front: HTTP2Front) -> ConnectionTimeout {
    if front.session.isAwaitingBytes { return .requestHead }
    if !connections[id].output.isEmpty { return .writeStall }
    return front.streams.isEmpty ? .keepAliveIdle : .http2Silence
  }

  /// As long as the keep-alive of a WebSocket is by default.
  private static var silenceAllowed: TimeSpan { .seconds(25) }
  private static var silenceEndured: TimeSpan { .seconds(50) }

  /// Streams are open. Bridges ask their clients themselves; without one a PING does (section 6.7).
  mutating func http2Silent(_ id: SlotID) {
    guard case .http2(let front) = connections[id].role else { return }
    let silence = now - front.lastReceived
    if !front.streams.contains(where: { isBridged($0) }) {
      if silence >= Self.silenceEndured {
        return connectionLost(id, .failed(.timedOut))
      }
      if silence >= Self.silenceAllowed {
        front.session.ping(kernel.random())
        markForSending(front)
      }
    }
    setHTTP2Timeout(id, front)
  }

  private func isBridged(_ stream: SlotID) -> Bool {
    guard connections.contains(stream), let exchange = connections[stream].exchange,
      exchanges.contains(exchange)
    else { return false }
    return exchanges[exchange].phase == .bridge
  }

  mutating func idleTimedOut(_ id: SlotID) {
    guard case .http2(let front) = connections[id].role else {
      return finish(id, lingering: false)
    }
    beginGoingAway(id, front)
  }

  /// The preface or a field block that has begun did not come in time.
  mutating func http2HeadTimedOut(_ id: SlotID, _ front: HTTP2Front) {
    metrics.add(.requestsTooSlow)
    front.session.fail(.enhanceYourCalm)
    loseStreams(front)
    closeHTTP2(id, front)
  }

  // MARK: Violations

  mutating func failHTTP2(_ id: SlotID, _ front: HTTP2Front, _ violation: HTTP2Violation) {
    metrics.add(violation.counter)
    logHTTP2Failure(connections[id].peer.description, violation)
    loseStreams(front)
    closeHTTP2(id, front)
  }

  /// Sends what a failed session still has to say, GOAWAY above all, behind whatever waits, and ends
  /// the connection.
  private mutating func closeHTTP2(_ id: SlotID, _ front: HTTP2Front) {
    guard connections.contains(id) else { return }
    front.goingAway = .final
    _ = sendSome(id, front)
    finish(id, lingering: true)
  }

  /// The connection is gone or will be: its streams are lost to their exchanges.
  mutating func loseStreams(_ front: HTTP2Front) {
    let streams = front.streams
    front.waiting = []
    for stream in streams where connections.contains(stream) {
      connectionLost(stream, .failed(.connectionReset))
    }
  }

  // MARK: Going away

  /// No new streams are wanted. The answer to a PING tells that everything the client sent before it
  /// knew has arrived.
  mutating func beginGoingAway(_ id: SlotID, _ front: HTTP2Front) {
    switch front.goingAway {
    case .no: front.goingAway = .announced
    case .announced: return
    case .final: return drainStreams(front)
    }
    front.session.goAway(isFinal: false)
    front.session.ping(kernel.random())
    setTimeout(id, .http2Drain, after: Self.announcementTime)
    markForSending(front)
  }

  private static var announcementTime: TimeSpan { .seconds(1) }

  /// The last stream is named. When the gateway is draining its WebSockets are told to go; otherwise
  /// what is under way is finished.
  mutating func sendLastGoAway(_ id: SlotID) {
    guard case .http2(let front) = connections[id].role else { return }
    front.goingAway = .final
    if connections[id].timeout == .http2Drain { clearTimeout(id) }
    setHTTP2Timeout(id, front)
    front.session.goAway(isFinal: true)
    markForSending(front)
    drainStreams(front)
  }

  private mutating func drainStreams(_ front: HTTP2Front) {
    // In a herd each has its turn.
    guard drainDeadline != nil, departures.isEmpty else { return }
    for stream in front.streams {
      guard connections.contains(stream), let exchange = connections[stream].exchange,
        exchanges.contains(exchange)
      else { continue }
      switch exchanges[exchange].phase {
      case .bridge: endBridge(exchange, drainFault)
      case .tunnel: endTunnel(exchange, drainFault)
      case .connecting, .awaitingAnswer, .relayingResponse: break
      }
    }
  }

  /// Whether the drain of this exchange waits for its connection's last GOAWAY.
  func isOverHTTP2(_ exchange: SlotID) -> Bool {
    guard let client = exchanges[exchange].client, connections.contains(client) else {
      return false
    }
    return connections[client].isStream
  }

  /// After the last GOAWAY a connection ends with its last stream.
  mutating func finishIfGone(_ id: SlotID, _ front: HTTP2Front) {
    guard connections.contains(id), case .open = connections[id].ending, front.streams.isEmpty
    else { return }
    if front.clientLeaves, front.goingAway != .final { return sendLastGoAway(id) }
    guard front.goingAway == .final, !front.session.wantsToSend else { return }
    finish(id, lingering: true)
  }
}
