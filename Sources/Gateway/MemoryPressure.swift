// What a worker does when memory is short (`limits.memory`): new clients and new WebSockets are refused
// first, then idle connections go. What is under way goes on: it is what the memory is for.

import Bytes
import Kernel
import Telemetry

enum MemoryPressure: Sendable {
  case calm
  /// From 90 % of the ceiling until it is less than 85 %.
  case short
  /// From 95 %.
  case critical

  /// What follows when so much of the ceiling is used.
  func next(used: UInt64, ceiling: UInt64) -> MemoryPressure {
    let percent = Double(used) / Double(max(1, ceiling)) * 100
    if percent >= 95 { return .critical }
    if percent >= 90 { return .short }
    return percent >= 85 && self != .calm ? .short : .calm
  }
}

extension Worker where K: ~Copyable {
  /// Clients that were there before are served, but for a WebSocket, which would stay. `id`: the
  /// connection itself, not a stream of it.
  func isRefusedForMemory(_ id: SlotID, asksForSocket: Bool) -> Bool {
    // A stream's carrier was asked when the stream came.
    guard memory != .calm, !connections[id].isStream else { return false }
    return connections[id].isUnwelcome || asksForSocket
  }

  mutating func memoryChanged(_ pressure: MemoryPressure) {
    memory = pressure
    guard pressure == .critical, drainDeadline == nil else { return }
    for index in 0..<connections.indexLimit {
      if let id = connections.id(at: index), isIdle(id) { letGo(id) }
    }
    reapCasualties()
  }

  /// Between two requests, with nothing on its way.
  private func isIdle(_ id: SlotID) -> Bool {
    guard connections[id].exchange == nil, connections[id].timeout == .keepAliveIdle,
      connections[id].input.isEmpty, case .open = connections[id].ending
    else { return false }
    switch connections[id].role {
    case .front, .upstream: return true
    case .http2(let front): return front.streams.isEmpty
    case .stream, .probe, .echo: return false
    }
  }

  private mutating func letGo(_ id: SlotID) {
    metrics.add(.memoryCloses)
    switch connections[id].role {
    case .http2(let front): beginGoingAway(id, front)
    case .front: finish(id, lingering: false)
    case .upstream, .stream, .probe, .echo: closeNow(id)
    }
  }
}
