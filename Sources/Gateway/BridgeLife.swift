// The beginning, the clock and the end of a bridge or tunnel.

import Kernel
import Configuration
import Bytes
import Telemetry
import Wire

extension Worker where K: ~Copyable {
  // MARK: Beginning

  /// The backend has said 101 and the client has been told: frames may flow. Then what both sides
  /// sent in the meantime is used, and reading goes on.
  mutating func beginBridge(_ exchange: SlotID, allowsRSV1: Bool) {
    let settings = route(of: exchange).webSocket
    let limit = settings.maxMessage
    exchanges[exchange].phase = .bridge
    exchanges[exchange].bridge.from = PerLeg { leg in
      Direction(
        scanner: FrameScanner(
          expectsMask: leg == Leg.client.index, allowsRSV1: allowsRSV1, messageBytesMax: limit))
    }
    let keepAlive = settings.keepAlive
    exchanges[exchange].bridge.keepAlive = [
      KeepAlive(
        interval: keepAlive.interval, timeout: keepAlive.timeout, now: now,
        random: kernel.random()),
      KeepAlive(
        interval: keepAlive.upstreamInterval, timeout: keepAlive.upstreamTimeout, now: now,
        random: kernel.random()),
    ]
    metrics.add(.bridgesOpened)
    route(of: exchange).counts.webSocketOpened()
    scheduleKeepAlive(exchange)
    useWhatWaited(exchange)
    if drainDeadline != nil, exchanges.contains(exchange) { endBridge(exchange, drainFault) }
  }

  mutating func beginTunnel(_ exchange: SlotID) {
    exchanges[exchange].phase = .tunnel
    metrics.add(.tunnelsOpened)
    route(of: exchange).counts.webSocketOpened()
    setTimeout(
      exchange: exchange, .tunnelIdle, after: route(of: exchange).timeouts.tunnelIdle)
    useWhatWaited(exchange)
    if drainDeadline != nil, exchanges.contains(exchange) { endTunnel(exchange, drainFault) }
  }

  private mutating func useWhatWaited(_ exchange: SlotID) {
    for leg in [Leg.backend, .client] {
      guard exchanges.contains(exchange), let id = exchanges[exchange].connection(leg) else {
        continue
      }
      let waiting = takeInput(id)
      if !waiting.isEmpty {
        waiting.withSpan { bytes in
          switch exchanges[exchange].phase {
          case .bridge: relayFrames(exchange, from: leg, bytes)
          case .tunnel: tunnelReceived(exchange, from: leg, bytes)
          case .connecting, .awaitingAnswer, .relayingResponse: break
          }
        }
      }
      guard connections.contains(id) else { continue }
      connections[id].pauses.remove(.awaitingAnswer)
      updateInterest(id)
      settleCredit(id)
    }
  }

  private mutating func takeInput(_ id: SlotID) -> ByteQueue {
    var empty = ByteQueue()
    swap(&empty, &connections[id].input)
    return empty
  }

  // MARK: Keep-alive

  /// Sets the exchange's deadline to whatever comes first on either leg.
  mutating func scheduleKeepAlive(_ exchange: SlotID) {
    switch exchanges[exchange].timeout {
    case .none, .queue, .connect, .answer, .keepAlive: break
    case .closing, .responseIdle, .tunnelIdle: return
    }
    let next = min(nextKeepAlive(exchange, .client), nextKeepAlive(exchange, .backend))
    setTimeout(exchange: exchange, .keepAlive, at: next)
  }

  private func nextKeepAlive(_ exchange: SlotID, _ leg: Leg) -> MonotonicTime {
    let isListening = isListening(exchange, leg)
    return exchanges[exchange].bridge.keepAlive[leg.index].nextDeadline(isListening: isListening)
  }

  /// Whether silence from `leg` means anything: it is being read, and nothing towards it is stuck.
  private func isListening(_ exchange: SlotID, _ leg: Leg) -> Bool {
    guard let id = exchanges[exchange].connection(leg), connections.contains(id) else {
      return false
    }
    return connections[id].pauses.isEmpty && !connections[id].hasUnsent
  }

  mutating func keepAliveDue(_ exchange: SlotID) {
    for leg in Leg.all {
      guard exchanges.contains(exchange), exchanges[exchange].bridge.fault == nil else { return }
      let due = exchanges[exchange].bridge.keepAlive[leg.index].due(
        now, isListening: isListening(exchange, leg))
      switch due {
      case .nothing: break
      case .ping: pingDue(exchange, to: leg)
      case .gone: if !isStillTaking(exchange, leg) { return giveUp(exchange, leg) }
      }
    }
    if exchanges.contains(exchange) { scheduleKeepAlive(exchange) }
  }

  private mutating func isStillTaking(_ exchange: SlotID, _ leg: Leg) -> Bool {
    guard let id = exchanges[exchange].connection(leg), connections.contains(id) else {
      return false
    }
    let backlog = backlog(id)
    return exchanges[exchange].bridge.keepAlive[leg.index].isStillTaking(now, backlog: backlog)
  }

  /// Nothing has come from `leg` for its timeout: its socket is cut, the other side is told.
  private mutating func giveUp(_ exchange: SlotID, _ leg: Leg) {
    if let id = exchanges[exchange].connection(leg) {
      detach(exchange, leg)
      abortNow(id)
    }
    endBridge(exchange, leg == .client ? .clientTimedOut : .backendTimedOut)
  }

  // MARK: The end

  /// Both legs are gone: the log line, the counters, and the slot is free.
  mutating func conclude(_ exchange: SlotID) {
    let isTunnel = exchanges[exchange].phase == .tunnel
    metrics.add(isTunnel ? .tunnelsClosed : .bridgesClosed)
    route(of: exchange).counts.webSocketClosed()
    let end = closeFacts(exchange)
    if !isTunnel { metrics.count(end) }
    if exchanges[exchange].bridge.fault == nil, !isTunnel {
      metrics.add(end.closedBy == .client ? .closesByClient : .closesByBackend)
    }
    if let facts = exchanges[exchange].facts {
      accessLog.close(facts, end, wall: kernel.wallClock())
    }
    remove(exchange)
  }

  private func closeFacts(_ exchange: SlotID) -> CloseFacts {
    let fault = exchanges[exchange].fault ?? exchanges[exchange].bridge.fault
    var facts = CloseFacts(
      duration: now - exchanges[exchange].startedAt,
      closedBy: exchanges[exchange].closedBy ?? .gateway, why: fault?.word ?? "close",
      detail: exchanges[exchange].violation?.word)
    facts.client = sideFacts(exchange, .client)
    facts.backend = sideFacts(exchange, .backend)
    return facts
  }

  private func sideFacts(_ exchange: SlotID, _ leg: Leg) -> SideFacts {
    var facts = SideFacts()
    guard exchanges[exchange].phase != .tunnel else {
      facts.bytes = exchanges[exchange].relayed[leg.index]
      return facts
    }
    if exchanges[exchange].bridge.from[leg.index].closeReceived {
      facts.closeCode = exchanges[exchange].bridge.from[leg.index].closeCode ?? 1005
      facts.closeReason = exchanges[exchange].bridge.from[leg.index].closeReason
    }
    facts.messages = exchanges[exchange].bridge.from[leg.index].scanner.messages
    facts.bytes = exchanges[exchange].bridge.from[leg.index].scanner.payloadBytes
    facts.pingsSent = UInt64(exchanges[exchange].bridge.keepAlive[leg.index].pingsSent)
    facts.lastRoundTrip = exchanges[exchange].bridge.keepAlive[leg.index].lastRoundTrip
    facts.maxRoundTrip = exchanges[exchange].bridge.keepAlive[leg.index].longestRoundTrip
    return facts
  }
}
