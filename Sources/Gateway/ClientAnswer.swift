// Answers to clients, over whichever protocol they asked: as bytes of HTTP/1.1, or as fields of a
// stream. Here is also what else differs between the two for one and the same request.

import Bytes
import TLS
import Wire

/// The head of an answer to a client.
enum ClientHead {
  /// HTTP/1.1, the empty line included.
  case bytes([UInt8])
  /// HTTP/2. `ends`: no body follows.
  case fields(status: UInt16, FieldBlock, ends: Bool)
  /// HTTP/2, with another head to follow.
  case interim(status: UInt16, FieldBlock)
}

extension Worker where K: ~Copyable {
  /// Sends the head of an answer; what follows goes out with `send()`.
  mutating func sendHead(_ id: SlotID, _ head: ClientHead) {
    guard connections.contains(id) else { return }
    switch head {
    case .bytes(let bytes): send(id, bytes)
    case .fields(let status, let fields, let ends):
      sendFields(id, status: status, fields, ends: ends)
    case .interim(let status, let fields):
      let link = streamLink(id)
      link.front.session.inform(link.number, status: status, fields: fields)
      markForSending(link.front)
    }
  }

  private func streamLink(_ id: SlotID) -> StreamLink {
    guard case .stream(let link) = connections[id].role else {
      unreachable("fields are for streams")
    }
    return link
  }

  mutating func sendFields(_ id: SlotID, status: UInt16, _ fields: FieldBlock, ends: Bool) {
    let link = streamLink(id)
    link.front.session.respond(link.number, status: status, fields: fields, ends: ends)
    markForSending(link.front)
  }

  /// A 1xx of our own.
  mutating func sendContinue(_ id: SlotID) {
    if connections[id].isStream {
      return sendHead(id, .interim(status: 100, FieldBlock()))
    }
    var writer = HeadWriter(reserving: 32)
    writer.statusLine(100, "Continue")
    writer.end()
    send(id, writer.bytes)
  }

  /// Sends a whole answer of ours. Returns the status that the client sees.
  mutating func sendAnswer(
    _ id: SlotID, _ response: LocalResponse, withoutBody: Bool = false
  ) -> UInt16 {
    guard connections[id].isStream else {
      send(id, response.bytes(withoutBody: withoutBody))
      return response.status
    }
    let hasBody = !withoutBody && response.bodyCount > 0
    let status = response.statusOverHTTP2
    sendHead(id, .fields(status: status, response.fields(), ends: !hasBody))
    if hasBody { send(id, response.body) }
    return status
  }

  /// Of the socket that carries a client's request; nil without TLS.
  mutating func tlsVersion(_ id: SlotID) -> StaticString? {
    if case .stream(let link) = connections[id].role {
      guard connections.contains(link.front.carrier) else { return nil }
      return connections[link.front.carrier].tls?.version.word
    }
    return connections[id].tls?.version.word
  }

  /// For the log.
  func protocolWord(_ id: SlotID, _ head: RequestHead?) -> StaticString {
    if connections[id].isStream { return "h2" }
    return head?.version == .http10 ? "http/1.0" : "http/1.1"
  }

  /// RFC 9110 section 15.5.20: browsers put requests for another name on a connection that they
  /// have when its certificate seems to allow that. The name the connection was made for is fine,
  /// whatever the certificate says: the client has decided about that.
  mutating func isMisdirected(_ id: SlotID, _ head: RequestHead) -> Bool {
    guard case .stream(let link) = connections[id].role, let host = head.host?.host,
      link.front.coveredHost != host, connections.contains(link.front.carrier),
      connections[link.front.carrier].tls != nil
    else { return false }
    guard Self.covers(&connections[link.front.carrier], host) else { return true }
    link.front.coveredHost = host
    return false
  }

  private static func covers(_ connection: inout Connection, _ host: String) -> Bool {
    connection.tls?.isFor(host: host) ?? true
  }
}
