// What the admin listener lets an operator change: the configuration is read again, WebSockets are told
// to go.

import Bytes
import Configuration
import Kernel
import Telemetry
import Wire

/// Requests for a reload. One that came while a reload was under way waits for the next: what that one
/// reads may be older than the request.
struct ReloadRequests {
  private var waiting: [AdminRequest] = []
  private var served: [AdminRequest] = []
  /// Keys that have changed and take effect with the next start.
  var forNextStart: [String] = []

  var forNextStartText: String { forNextStart.joined(separator: ", ") }

  var isEmpty: Bool { waiting.isEmpty && served.isEmpty }

  func awaits(_ id: SlotID) -> Bool {
    !isEmpty && (waiting + served).contains { $0.connection == id }
  }

  mutating func add(_ request: AdminRequest) { waiting.append(request) }

  mutating func reloadBegins() {
    served += waiting
    waiting = []
  }

  mutating func reloadEnds() -> [AdminRequest] {
    defer { served = [] }
    return served
  }
}

extension Worker where K: ~Copyable {
  mutating func adminReload(_ request: AdminRequest) {
    if request.desk.isDraining { return answer(request, 409, "The gateway is stopping.\n") }
    let id = request.connection
    reloads.add(request)
    connections[id].pauses.insert(.awaitingAnswer)
    updateInterest(id)
    clearTimeout(id)
    request.desk.perform(.reload)
  }

  /// `mistakes`: why nothing has changed.
  mutating func reloadEnded(_ mistakes: [String], forNextStart: [String]) {
    reloads.forNextStart = forNextStart
    let note = forNextStart.isEmpty ? "" : " With the next start: \(reloads.forNextStartText)."
    for request in reloads.reloadEnds() where connections.contains(request.connection) {
      if mistakes.isEmpty {
        answer(request, 200, "The configuration has been reloaded.\(note)\n")
      } else {
        let list = mistakes.map { "\($0)\n" }.joined()
        answer(request, 422, "The running configuration stays:\n\(list)")
      }
    }
  }

  mutating func adminDrain(_ request: AdminRequest) {
    guard let query = request.query(["percent"]) else {
      return answer(request, 400, "The only parameter is percent, given once.\n")
    }
    guard let text = query["percent"] else {
      request.desk.perform(.drain)
      return answer(request, 202, "draining\n")
    }
    guard let percent = Int(text), 1...100 ~= percent else {
      return answer(request, 400, "percent is from 1 to 100.\n")
    }
    if request.desk.isDraining {
      return answer(request, 409, "All of them have already been told.\n")
    }
    let sockets = request.desk.workers.reduce(UInt64(0)) {
      $0 + Departures.part([$1.metrics].openSockets, percent)
    }
    let time = shared.snapshot.timeouts.drain
    for worker in request.desk.workers { worker.post(.dismiss(percent: percent)) }
    errorLog.write(.dismissing, now: now, wall: kernel.wallClock()) { line in
      line.field("why", word: "admin")
      line.field("percent", UInt64(percent))
      line.field("websockets", sockets)
      line.field("over_ms", milliseconds: time)
    }
    answer(request, 202, "telling \(percent) % of the WebSockets to go\n")
  }
}
