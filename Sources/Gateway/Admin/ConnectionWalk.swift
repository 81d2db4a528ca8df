// A question of the admin listener to a worker that carries traffic: which exchanges it has, or to end
// one of them. It walks its slots a part per turn, so that no frame waits for an operator, and posts
// what it has found to the admin listener's mailbox.

import Bytes
import Kernel
import Telemetry
import Wire

/// What a listed exchange must be. Nil: anything.
struct ConnectionFilter: Sendable, Equatable {
  var route: String?
  /// The client's address.
  var client: String?
  var endpoint: String?
}

struct ConnectionWalk: Sendable {
  enum Purpose: Sendable {
    case list(ConnectionFilter, limit: Int)
    /// The exchange with that id of the logs.
    case close(id: [UInt8], code: UInt16)
  }

  let purpose: Purpose
  /// The admin listener's connection that waits for the report, and which of its questions this is.
  let asker: SlotID
  let number: UInt64
  let reply: WorkerPeer
  /// The slot that is looked at next.
  var position: Int
  /// Of a list: JSON objects.
  var found: [[UInt8]] = []
  var outcome = WalkReport.Outcome.notFound
}

struct WalkReport: Sendable {
  enum Outcome: Sendable { case notFound, closing, noWebSocket }

  let asker: SlotID
  let number: UInt64
  let found: [[UInt8]]
  /// Where a list goes on; nil: there is no more.
  let next: Int?
  let outcome: Outcome
}

extension Worker where K: ~Copyable {
  private static var slotsPerTurn: Int { 2_048 }
  private static var entriesPerTurn: Int { 64 }

  /// A part of the oldest walk.
  mutating func continueWalks() {
    guard var walk = walks.first else { return }
    switch walk.purpose {
    case .list(let filter, let limit): continueList(&walk, filter, limit)
    case .close(let id, let code): continueClose(&walk, id, code)
    }
    let isOver = walk.position >= exchanges.indexLimit || isComplete(walk)
    guard isOver else {
      walks[0] = walk
      return
    }
    walks.removeFirst()
    let next = walk.position < exchanges.indexLimit ? walk.position : nil
    walk.reply.post(
      .walked(
        WalkReport(
          asker: walk.asker, number: walk.number, found: walk.found, next: next,
          outcome: walk.outcome)))
  }

  private func isComplete(_ walk: ConnectionWalk) -> Bool {
    switch walk.purpose {
    case .list(_, let limit): walk.found.count >= limit
    case .close: walk.outcome != .notFound
    }
  }

  private mutating func continueList(
    _ walk: inout ConnectionWalk, _ filter: ConnectionFilter, _ limit: Int
  ) {
    let slotEnd = min(exchanges.indexLimit, walk.position + Self.slotsPerTurn)
    let countEnd = min(limit, walk.found.count + Self.entriesPerTurn)
    while walk.position < slotEnd, walk.found.count < countEnd {
      if let exchange = exchanges.id(at: walk.position), let entry = entry(exchange, filter) {
        walk.found.append(entry)
      }
      walk.position += 1
    }
  }

  private mutating func continueClose(
    _ walk: inout ConnectionWalk, _ id: [UInt8], _ code: UInt16
  ) {
    let end = min(exchanges.indexLimit, walk.position + Self.slotsPerTurn)
    while walk.position < end, walk.outcome == .notFound {
      if let exchange = exchanges.id(at: walk.position), isNamed(exchange, id) {
        walk.outcome = closeForOperator(exchange, code)
      }
      walk.position += 1
    }
  }

  private func isNamed(_ exchange: SlotID, _ id: [UInt8]) -> Bool {
    if let kept = exchanges[exchange].facts { return kept.hasID(id) }
    return exchanges[exchange].attempt?.facts.id == id
  }

  private mutating func closeForOperator(
    _ exchange: SlotID, _ code: UInt16
  ) -> WalkReport.Outcome {
    switch exchanges[exchange].phase {
    case .bridge: endBridge(exchange, .operatorClose, codeToClient: code)
    case .tunnel: endTunnel(exchange, .operatorClose)
    case .connecting, .awaitingAnswer, .relayingResponse: return .noWebSocket
    }
    return .closing
  }

  // MARK: One entry

  /// Nil where the filter asks for another one.
  private func entry(_ exchange: SlotID, _ filter: ConnectionFilter) -> [UInt8]? {
    if let route = filter.route, exchanges[exchange].route.name != route { return nil }
    if let endpoint = filter.endpoint, exchanges[exchange].endpoint?.name != endpoint {
      return nil
    }
    guard let facts = exchanges[exchange].facts ?? exchanges[exchange].attempt?.facts.kept() else {
      return nil
    }
    if let client = filter.client, !facts.isFrom(client) { return nil }
    let phase = exchanges[exchange].phase.word
    let age = now - exchanges[exchange].startedAt
    let sides = (side(exchange, .client), side(exchange, .backend))
    return LineBuilder.object { line in
      facts.add(to: &line)
      line.field("phase", word: phase)
      line.field("age_ms", milliseconds: age)
      line.field("client_messages", sides.0.messages)
      line.field("client_bytes", sides.0.bytes)
      line.field("backend_messages", sides.1.messages)
      line.field("backend_bytes", sides.1.bytes)
      if let span = sides.0.lastRoundTrip { line.field("client_rtt_ms", milliseconds: span) }
      if let span = sides.1.lastRoundTrip { line.field("backend_rtt_ms", milliseconds: span) }
    }
  }

  private func side(_ exchange: SlotID, _ leg: Leg) -> SideFacts {
    var facts = SideFacts()
    guard exchanges[exchange].phase == .bridge else {
      facts.bytes = exchanges[exchange].relayed[leg.index]
      return facts
    }
    facts.messages = exchanges[exchange].bridge.from[leg.index].scanner.messages
    facts.bytes = exchanges[exchange].bridge.from[leg.index].scanner.payloadBytes
    facts.lastRoundTrip = exchanges[exchange].bridge.keepAlive[leg.index].lastRoundTrip
    return facts
  }
}

extension ExchangePhase {
  fileprivate var word: StaticString {
    switch self {
    case .connecting: "connecting"
    case .awaitingAnswer: "awaiting"
    case .relayingResponse: "relaying"
    case .bridge: "bridge"
    case .tunnel: "tunnel"
    }
  }
}
