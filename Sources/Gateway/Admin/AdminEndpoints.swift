// What the admin listener answers: one row per endpoint.

import Bytes
import Configuration
import Kernel
import Telemetry
import Wire

/// One endpoint.
struct AdminEndpoint<K: Kernel & ~Copyable> {
  let method: StaticString
  /// With `*` at the end it stands for everything that begins so.
  let path: String
  let access: AdminAccess
  let serve: (inout Worker<K>, AdminRequest) -> Void

  init(
    _ method: StaticString, _ path: String, _ access: AdminAccess,
    _ serve: @escaping (inout Worker<K>, AdminRequest) -> Void
  ) {
    self.method = method
    self.path = path
    self.access = access
    self.serve = serve
  }

  /// What the `*` stands for, empty without one; nil when it is another path.
  func rest(of path: String) -> String? {
    guard self.path.hasSuffix("*") else { return path == self.path ? "" : nil }
    let start = self.path.dropLast()
    return path.hasPrefix(start) && path.count > start.count
      ? String(path.dropFirst(start.count)) : nil
  }

  func serves(_ head: RequestHead) -> Bool {
    head.equals(head.method, method) || head.isHEAD && method.description == "GET"
  }
}

/// A request that has passed the protection.
struct AdminRequest {
  let connection: SlotID
  let request: AnsweredRequest
  let desk: AdminDesk
  /// What follows the endpoint's path.
  let rest: String
}

extension Worker where K: ~Copyable {
  private static var endpoints: [AdminEndpoint<K>] {
    [
      AdminEndpoint("GET", "/", .open) { $0.answer($1.connection, $1.request, .dashboard) },
      AdminEndpoint("GET", "/healthz", .open) { $0.answer($1, 200, "ok\n") },
      AdminEndpoint("GET", "/readyz", .open) { $0.adminReadiness($1) },
      AdminEndpoint("GET", "/metrics", .read) { $0.adminMetrics($1) },
      AdminEndpoint("GET", "/config", .read) { $0.adminConfiguration($1) },
      AdminEndpoint("GET", "/connections", .read) { $0.adminConnections($1) },
      AdminEndpoint("DELETE", "/connections/*", .change) { $0.adminClose($1) },
      AdminEndpoint("POST", "/reload", .change) { $0.adminReload($1) },
      AdminEndpoint("POST", "/drain", .change) { $0.adminDrain($1) },
    ]
  }

  mutating func serveAdmin(_ id: SlotID, _ request: AnsweredRequest, _ desk: AdminDesk) {
    let head = request.head
    let path = head.string(head.path)
    let here = Self.endpoints.filter { $0.rest(of: path) != nil }
    let endpoint = here.first { $0.serves(head) }
    // Also what is not there is told only to those who may ask.
    let access = endpoint?.access ?? .read
    if let refusal = desk.protection.refusal(head, access) {
      let challenge = refusal == .token ? "Bearer" : nil
      return answer(
        id, request,
        .admin(refusal.status, refusal.explanation + "\n", challenge: challenge))
    }
    guard let endpoint, let rest = endpoint.rest(of: path) else {
      if here.isEmpty { return answer(id, request, .admin(404, "There is nothing here.\n")) }
      let methods = here.map(\.method.description).joined(separator: ", ")
      return answer(id, request, .admin(405, "Use \(methods).\n", allow: methods))
    }
    if endpoint.access == .change { logAdminChange(request, path) }
    endpoint.serve(
      &self, AdminRequest(connection: id, request: request, desk: desk, rest: rest))
  }

  private mutating func logAdminChange(_ request: AnsweredRequest, _ path: String) {
    errorLog.write(.adminChange, now: now, wall: kernel.wallClock()) { line in
      line.field("client", request.facts.client)
      line.field("method", request.head.methodBytes)
      line.field("path", path)
    }
  }

  // MARK: Answers

  mutating func answer(_ request: AdminRequest, _ status: UInt16, _ text: String) {
    answer(request.connection, request.request, .admin(status, text))
  }

  /// Writes no line: probes and scrapes would fill the log with what nobody reads.
  mutating func answer(_ id: SlotID, _ request: AnsweredRequest, _ answer: AdminAnswer) {
    guard connections.contains(id) else { return }
    let keeps = keepsConnectionUnread(request.head)
    let response = LocalResponse.admin(answer, closes: !keeps)
    _ = sendAnswer(id, response, withoutBody: request.head.isHEAD)
    answered(id, keeps: keeps)
  }

  // MARK: Endpoints

  /// Whether traffic should come here. An endpoint that may be asked counts, also one that was out and
  /// has not been seen in order since: without traffic it never would be.
  private mutating func adminReadiness(_ request: AdminRequest) {
    if request.desk.isDraining { return answer(request, 503, "draining\n") }
    let isServed = shared.routes.allSatisfy { route in
      if route.redirect != nil || route.respond != nil { return true }
      return upstreams[route.upstream].table.endpoints.contains { !$0.isOut(now) }
    }
    guard isServed || !request.desk.settings.readyRequiresEndpoints else {
      return answer(request, 503, "a route has no endpoint\n")
    }
    answer(request, 200, "ready\n")
  }

  private mutating func adminConfiguration(_ request: AdminRequest) {
    let waiting = reloads.forNextStartText
    let note = waiting.isEmpty ? "" : "# Changed, and in effect with the next start: \(waiting)\n"
    answer(
      request.connection, request.request,
      AdminAnswer(
        200, "text/plain; charset=utf-8", Array((note + shared.snapshot.text).utf8)))
  }
}

/// An answer of the admin listener.
struct AdminAnswer {
  let status: UInt16
  let contentType: String
  let body: [UInt8]
  /// The methods of a 405.
  var allow: String?
  /// Of a 401.
  var challenge: String?
  /// What a browser may do with it: nothing, unless it is a page.
  var contentSecurityPolicy = "default-src 'none'; frame-ancestors 'none'"

  init(_ status: UInt16, _ contentType: String, _ body: [UInt8]) {
    self.status = status
    self.contentType = contentType
    self.body = body
  }

  static var dashboard: AdminAnswer {
    var answer = AdminAnswer(200, "text/html; charset=utf-8", DashboardPage.bytes)
    answer.contentSecurityPolicy = DashboardPage.contentSecurityPolicy
    return answer
  }

  static func admin(
    _ status: UInt16, _ text: String, allow: String? = nil, challenge: String? = nil
  ) -> AdminAnswer {
    var answer = AdminAnswer(status, "text/plain; charset=utf-8", Array(text.utf8))
    answer.allow = allow
    answer.challenge = challenge
    return answer
  }
}
