// How a bridge ends: by the peers' own Close frames, by a fault (a row of the fault table says who
// is told what), by a peer that vanished, or by a drain. No second Close is ever sent; a Close that
// is owed to a side standing in the middle of a frame becomes an abortive close.

import TLS
import Configuration
import Bytes
import Kernel
import Telemetry
import Wire

extension Worker where K: ~Copyable {
  // MARK: Close frames

  /// `leg` has sent a Close; it has been forwarded with its code and reason if that was possible.
  mutating func closeReceived(
    _ exchange: SlotID, from leg: Leg, _ frame: ControlFrame, in bytes: Span<UInt8>
  ) {
    guard exchanges.contains(exchange) else { return }
    exchanges[exchange].bridge.from[leg.index].closeReceived = true
    exchanges[exchange].bridge.from[leg.index].closeCode = frame.closeCode
    if frame.payloadCount > 2 {
      exchanges[exchange].bridge.from[leg.index].closeReason = frame.closeReason(in: bytes).bytes
    }
    if exchanges[exchange].closedBy == nil {
      exchanges[exchange].closedBy = leg == .client ? .client : .backend
      if leg == .backend { backendEnded(exchange, hasClosed: true) }
    }
    // Forwarded just now, unless a Close of ours had gone that way before.
    exchanges[exchange].bridge.from[leg.index].closeSent = true
    startCloseTimer(exchange)
    settleLeg(exchange, leg)
    settleLeg(exchange, leg.other)
  }

  /// A Close of ours has gone to `leg`.
  mutating func closeSent(_ exchange: SlotID, to leg: Leg) {
    startCloseTimer(exchange)
    settleLeg(exchange, leg)
  }

  /// Ends a leg whose close handshake is complete. RFC 6455 7.1.1: the server closes TCP first, so
  /// the client's connection is closed by us, and the backend's is left to the backend.
  private mutating func settleLeg(_ exchange: SlotID, _ leg: Leg) {
    guard exchanges.contains(exchange), let id = exchanges[exchange].connection(leg) else { return }
    let handshakeComplete =
      exchanges[exchange].bridge.from[leg.index].closeReceived
      && exchanges[exchange].bridge.from[leg.other.index].closeSent
    guard handshakeComplete else { return }
    if leg == .client {
      // A Pong under way would meet a closed socket, and the RST destroy what the client has not
      // read yet: then it is read until its FIN. With nothing owed that saves three calls.
      let lingering = exchanges[exchange].bridge.mayOwePongs(leg)
      detach(exchange, leg)
      finish(id, lingering: lingering, hurried: true)
    } else {
      connections[id].isDone = true
    }
    concludeIfOver(exchange)
  }

  // MARK: Faults

  mutating func protocolViolation(
    _ exchange: SlotID, by leg: Leg, _ violation: WebSocketViolation
  ) {
    guard exchanges.contains(exchange) else { return }
    exchanges[exchange].bridge.from[leg.index].isDeaf = true
    exchanges[exchange].violation = violation
    guard exchanges[exchange].bridge.fault != nil else {
      return endBridge(exchange, Fault.of(violation, by: leg))
    }
    // The bridge is ending already: the stream stands at a boundary now, and the offender has
    // nothing more to say.
    injectWhatIsDue(exchange, towards: leg.other)
    if exchanges.contains(exchange), let id = exchanges[exchange].connection(leg),
      exchanges[exchange].bridge.from[leg.other.index].closeSent
    {
      part(exchange, leg, id)
    }
    concludeIfOver(exchange)
  }

  /// Ends a bridge for `fault`: each side gets the Close that the fault table names, the client one with
  /// `codeToClient` where that is given.
  mutating func endBridge(_ exchange: SlotID, _ fault: Fault, codeToClient: UInt16? = nil) {
    guard exchanges.contains(exchange), exchanges[exchange].bridge.fault == nil else { return }
    exchanges[exchange].bridge.fault = fault
    if fault == .backendVanished, exchanges[exchange].closedBy == nil {
      backendEnded(exchange, hasClosed: false)
    }
    exchanges[exchange].bridge.isDraining = fault.waitsForFrameEnd
    if exchanges[exchange].closedBy == nil { exchanges[exchange].closedBy = fault.closedBy }
    metrics.add(fault.counter, 1)
    startCloseTimer(exchange)
    tell(exchange, .backend, code: fault.closeToBackend)
    tell(exchange, .client, code: codeToClient ?? fault.closeToClient)
    concludeIfOver(exchange)
  }

  /// Sends `leg` its Close, now or at the frame's end, or cuts it off.
  private mutating func tell(_ exchange: SlotID, _ leg: Leg, code: UInt16?) {
    guard exchanges.contains(exchange), let id = exchanges[exchange].connection(leg) else { return }
    let isOffender = exchanges[exchange].bridge.from[leg.index].isDeaf
    if exchanges[exchange].bridge.from[leg.other.index].closeSent {
      if isOffender { part(exchange, leg, id) }
    } else if let code, isAtBoundary(exchange, towards: leg) {
      sendClose(exchange, to: leg, code: code)
      // A peer whose frames can no longer be read cannot show its own Close either.
      if isOffender { part(exchange, leg, id) }
    } else if let code, exchanges[exchange].bridge.isDraining {
      exchanges[exchange].bridge.from[leg.other.index].dueClose = code
    } else {
      detach(exchange, leg)
      abortNow(id)
    }
  }

  /// Lets a leg go: what it was sent still arrives, what it sends is dropped.
  private mutating func part(_ exchange: SlotID, _ leg: Leg, _ id: SlotID) {
    guard exchanges.contains(exchange), exchanges[exchange].connection(leg) == id else { return }
    detach(exchange, leg)
    finish(id, lingering: true, hurried: true)
  }

  // MARK: Loss

  /// A leg of a bridge is gone without our doing. Its socket is closed already.
  mutating func bridgeLegLost(_ exchange: SlotID, _ leg: Leg, _ loss: ConnectionLoss) {
    let closed =
      exchanges[exchange].bridge.from[leg.index].closeReceived
      || exchanges[exchange].bridge.from[leg.other.index].closeSent
    if !closed {
      endBridge(exchange, Fault.lost(leg, loss))
    } else if exchanges[exchange].bridge.from[leg.other.index].closeReceived {
      // It dropped the connection instead of answering the other side's Close: that side still
      // gets its answer, as RFC 6455 5.5.1 would have it, with its own code.
      answerClose(exchange, of: leg.other)
    }
    concludeIfOver(exchange)
  }

  private mutating func answerClose(_ exchange: SlotID, of leg: Leg) {
    guard let id = exchanges[exchange].connection(leg),
      !exchanges[exchange].bridge.from[leg.other.index].closeSent
    else { return }
    if isAtBoundary(exchange, towards: leg) {
      sendClose(exchange, to: leg, code: exchanges[exchange].bridge.from[leg.index].closeCode)
    } else {
      detach(exchange, leg)
      abortNow(id)
    }
  }

  // MARK: The end

  private mutating func startCloseTimer(_ exchange: SlotID) {
    guard exchanges.contains(exchange), exchanges[exchange].timeout != .closing else { return }
    setTimeout(exchange: exchange, .closing, after: route(of: exchange).timeouts.close)
  }

  /// The close handshake was not finished in time: what is left is cut.
  mutating func closeTimedOut(_ exchange: SlotID) {
    guard !awaitsFrameEnd(exchange) else { return startCloseTimer(exchange) }
    for leg in Leg.all {
      guard exchanges.contains(exchange), let id = exchanges[exchange].connection(leg) else {
        continue
      }
      if !exchanges[exchange].bridge.from[leg.index].closeReceived,
        exchanges[exchange].bridge.fault == nil
      {
        exchanges[exchange].fault = leg == .client ? .clientCloseTimedOut : .backendCloseTimedOut
        metrics.add(.closeTimeouts)
      }
      detach(exchange, leg)
      if !connections[id].hasUnsent, isAtBoundary(exchange, towards: leg) {
        closeNow(id)
      } else {
        abortNow(id)
      }
    }
    concludeIfOver(exchange)
  }

  /// A draining bridge whose Close could not be written yet, while the frame's end may still come:
  /// the drain's own time bounds that.
  private func awaitsFrameEnd(_ exchange: SlotID) -> Bool {
    guard exchanges[exchange].bridge.fault == .drain else { return false }
    return Leg.all.contains { source in
      exchanges[exchange].bridge.from[source.index].dueClose != nil
        && !exchanges[exchange].bridge.from[source.index].isDeaf
        && exchanges[exchange].connection(source) != nil
    }
  }

  mutating func concludeIfOver(_ exchange: SlotID) {
    guard exchanges.contains(exchange), exchanges[exchange].client == nil,
      exchanges[exchange].backend == nil
    else { return }
    conclude(exchange)
  }
}
