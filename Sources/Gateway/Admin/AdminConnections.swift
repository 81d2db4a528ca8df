// `/connections`: what the workers have, asked one after the other through their mailboxes. The request
// waits meanwhile, for a bounded time, and nothing else that its client sends is looked at.

import Bytes
import Kernel
import Telemetry
import Wire

/// A request that waits for a worker.
struct AdminInquiry {
  let request: AdminRequest
  let number: UInt64
  let filter: ConnectionFilter
  /// Entries that are still wanted; nil: something is to be closed.
  var wanted: Int?
  var worker: Int
  var found: [[UInt8]] = []
}

/// Where a list goes on: a worker, and a slot of it. An exchange keeps its slot for life, so that
/// paging sees everything that stays, once.
struct ConnectionCursor: Equatable {
  var worker = 0
  var slot = 0

  init() {}

  init(worker: Int, slot: Int) {
    self.worker = worker
    self.slot = slot
  }

  init?(_ text: String) {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 2, parts.allSatisfy({ $0.utf8.allSatisfy(ASCII.isDigit) }),
      let worker = Int32(parts[0]).map(Int.init), let slot = Int32(parts[1]).map(Int.init)
    else { return nil }
    self.init(worker: worker, slot: slot)
  }

  var text: String { "\(worker).\(slot)" }
}

extension Worker where K: ~Copyable {
  private static var answerPatience: TimeSpan { .seconds(2) }
  private static var entriesMax: Int { 1_000 }
  private static var entriesUsual: Int { 100 }

  func awaitsWorkers(_ id: SlotID) -> Bool {
    !inquiries.isEmpty && inquiries[id] != nil || reloads.awaits(id)
  }

  // MARK: Asking

  mutating func adminConnections(_ request: AdminRequest) {
    guard let query = request.query(["route", "client", "endpoint", "limit", "after"]) else {
      return answer(
        request, 400,
        "The parameters are route, client, endpoint, limit and after, each given once.\n")
    }
    let limit = query["limit"].map { Int($0) ?? 0 } ?? Self.entriesUsual
    guard 1...Self.entriesMax ~= limit else {
      return answer(request, 400, "limit is from 1 to \(Self.entriesMax).\n")
    }
    guard let cursor = query["after"].map({ ConnectionCursor($0) }) ?? ConnectionCursor() else {
      return answer(request, 400, "after is the `next` of the page before.\n")
    }
    let filter = ConnectionFilter(
      route: query["route"], client: query["client"], endpoint: query["endpoint"])
    var inquiry = makeInquiry(request, filter, worker: cursor.worker)
    inquiry.wanted = limit
    guard cursor.worker < request.desk.workers.count else { return answerList(inquiry, nil) }
    hold(inquiry)
    ask(inquiry, .list(filter, limit: limit), from: cursor.slot)
  }

  mutating func adminClose(_ request: AdminRequest) {
    guard let query = request.query(["code"]) else {
      return answer(request, 400, "Known is code, once.\n")
    }
    let code = query["code"].map { UInt16($0) ?? 0 } ?? 1001
    guard Self.maySend(code) else {
      return answer(request, 400, "This code cannot be sent in a Close (RFC 6455, 7.4).\n")
    }
    guard let worker = Self.worker(ofID: request.rest), worker < request.desk.workers.count else {
      return answer(request, 404, "There is no such connection.\n")
    }
    let inquiry = makeInquiry(request, ConnectionFilter(), worker: worker)
    hold(inquiry)
    ask(inquiry, .close(id: Array(request.rest.utf8), code: code), from: 0)
  }

  /// RFC 6455 section 7.4, with what has been registered since.
  private static func maySend(_ code: UInt16) -> Bool {
    switch code {
    case 1000...1003, 1007...1014, 3000...4999: true
    default: false
    }
  }

  /// Ids end in twelve hexadecimal digits, of which the first two are the worker.
  static func worker(ofID id: String) -> Int? {
    let digits = id.utf8.suffix(12)
    guard id.utf8.count == 21, digits.allSatisfy({ ASCII.hexValue($0) != nil }) else { return nil }
    return UInt64(String(Substring(digits)), radix: 16).map { Int($0 >> 40) }
  }

  private mutating func makeInquiry(
    _ request: AdminRequest, _ filter: ConnectionFilter, worker: Int
  ) -> AdminInquiry {
    nextInquiry &+= 1
    return AdminInquiry(request: request, number: nextInquiry, filter: filter, worker: worker)
  }

  private mutating func hold(_ inquiry: AdminInquiry) {
    let id = inquiry.request.connection
    // Of clients that did not wait for their answer.
    for other in Array(inquiries.keys) where !connections.contains(other) {
      inquiries[other] = nil
    }
    inquiries[id] = inquiry
    connections[id].pauses.insert(.awaitingAnswer)
    updateInterest(id)
    setTimeout(id, .adminAnswer, after: Self.answerPatience)
  }

  private func ask(_ inquiry: AdminInquiry, _ purpose: ConnectionWalk.Purpose, from slot: Int) {
    let desk = inquiry.request.desk
    desk.workers[inquiry.worker].post(
      .walk(
        ConnectionWalk(
          purpose: purpose, asker: inquiry.request.connection, number: inquiry.number,
          reply: desk.own, position: slot)))
  }

  // MARK: Answering

  mutating func walked(_ report: WalkReport) {
    guard var inquiry = inquiries[report.asker], inquiry.number == report.number else { return }
    guard let wanted = inquiry.wanted else { return answerClose(inquiry, report.outcome) }
    inquiry.found += report.found
    let left = wanted - report.found.count
    if let next = report.next, left <= 0 {
      return answerList(inquiry, ConnectionCursor(worker: inquiry.worker, slot: next))
    }
    inquiry.worker += 1
    guard inquiry.worker < inquiry.request.desk.workers.count else {
      return answerList(inquiry, nil)
    }
    guard left > 0 else {
      return answerList(inquiry, ConnectionCursor(worker: inquiry.worker, slot: 0))
    }
    inquiry.wanted = left
    inquiries[report.asker] = inquiry
    ask(inquiry, .list(inquiry.filter, limit: left), from: 0)
  }

  mutating func adminAnswerTimedOut(_ id: SlotID) {
    guard let inquiry = inquiries[id] else { return }
    release(inquiry)
    answer(inquiry.request, 503, "A worker did not answer in time.\n")
  }

  private mutating func answerList(_ inquiry: AdminInquiry, _ next: ConnectionCursor?) {
    release(inquiry)
    var body = Array("{\"connections\":[".utf8)
    for (index, entry) in inquiry.found.enumerated() {
      if index > 0 { body.append(UInt8(ascii: ",")) }
      body.append(contentsOf: entry)
    }
    body += Array("],\"next\":\(next.map { "\"\($0.text)\"" } ?? "null")}\n".utf8)
    answer(
      inquiry.request.connection, inquiry.request.request,
      AdminAnswer(200, "application/json", body))
  }

  private mutating func answerClose(_ inquiry: AdminInquiry, _ outcome: WalkReport.Outcome) {
    release(inquiry)
    switch outcome {
    case .closing: answer(inquiry.request, 202, "closing\n")
    case .notFound: answer(inquiry.request, 404, "There is no such connection.\n")
    case .noWebSocket: answer(inquiry.request, 409, "It is no WebSocket, or not one yet.\n")
    }
  }

  private mutating func release(_ inquiry: AdminInquiry) {
    let id = inquiry.request.connection
    inquiries[id] = nil
    if connections.contains(id), connections[id].timeout == .adminAnswer { clearTimeout(id) }
  }
}

extension AdminRequest {
  /// Nil when it has anything but `known`.
  func query(_ known: Set<String>) -> AdminQuery? {
    AdminQuery(request.head.query.map { request.head.bytes[$0] } ?? [], known: known)
  }
}
