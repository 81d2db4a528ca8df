// mode: tunnel. After a validated handshake the bytes pass unread: no injection, no limits of
// messages, only the idle time-out, the stall time-out and byte counts. A FIN is passed on.

import TLS
import Configuration
import Bytes
import Kernel
import Telemetry

extension Worker where K: ~Copyable {
  mutating func tunnelReceived(_ exchange: SlotID, from leg: Leg, _ bytes: Span<UInt8>) {
    exchanges[exchange].relayed[leg.index] &+= UInt64(bytes.count)
    metrics.add(
      leg == .client ? .clientTunnelBytes : .backendTunnelBytes, UInt64(bytes.count))
    // Pushing a deadline back costs no timer work.
    exchanges[exchange].deadline = now + route(of: exchange).timeouts.tunnelIdle
    if let sink = exchanges[exchange].connection(leg.other) { send(sink, bytes) }
  }

  /// One side has sent its FIN. It goes on to the other side, which may still answer; after the
  /// second one the tunnel is over.
  mutating func tunnelEnded(_ exchange: SlotID, _ id: SlotID) {
    let leg = exchanges[exchange].leg(of: id)
    exchanges[exchange].ended[leg.index] = true
    if exchanges[exchange].closedBy == nil {
      exchanges[exchange].closedBy = leg == .client ? .client : .backend
    }
    connections[id].pauses.insert(.finished)
    updateInterest(id)
    if exchanges[exchange].ended[leg.other.index] {
      finishTunnel(exchange, lingering: false)
    } else if let sink = exchanges[exchange].connection(leg.other) {
      connections[sink].isFinDue = true
      if !connections[sink].hasUnsent { sendFin(sink) }
    }
  }

  /// One side broke: what the other has is not complete.
  mutating func tunnelLegLost(_ exchange: SlotID, _ leg: Leg, _ loss: ConnectionLoss) {
    exchanges[exchange].fault = Fault.lost(leg, loss)
    if exchanges[exchange].closedBy == nil {
      exchanges[exchange].closedBy = leg == .client ? .client : .backend
    }
    if let other = exchanges[exchange].connection(leg.other) {
      detach(exchange, leg.other)
      abortNow(other)
    }
    conclude(exchange)
  }

  mutating func tunnelTimedOut(_ exchange: SlotID) { endTunnel(exchange, .tunnelIdle) }

  mutating func endTunnel(_ exchange: SlotID, _ fault: Fault) {
    exchanges[exchange].fault = fault
    exchanges[exchange].closedBy = .gateway
    metrics.add(fault.counter)
    finishTunnel(exchange, lingering: true)
  }

  private mutating func finishTunnel(_ exchange: SlotID, lingering: Bool) {
    for leg in Leg.all {
      guard let id = exchanges[exchange].connection(leg) else { continue }
      detach(exchange, leg)
      finish(id, lingering: lingering)
    }
    conclude(exchange)
  }
}
