// The question to an authorization service, and what is taken of its answer. Pure: heads in, bytes out.

import Bytes
import Configuration
import Wire

/// A field that an authorization service adds to a request.
struct GrantedField: Sendable, Equatable {
  let name: [UInt8]
  let value: [UInt8]
}

enum AuthorizationRequest {
  /// A GET without body, whatever the client's method. Nil when the client's head nominates too many
  /// fields: a malformed request. Its Host is the endpoint's, and comes when that is dialled.
  static func question(
    _ head: RequestHead, from client: ClientIdentity, isHandshake: Bool,
    _ settings: AuthorizeSettings
  ) -> [UInt8]? {
    guard let nominated = Nominations(of: head) else { return nil }
    var out = OutgoingHead(HeaderEdits())
    guard out.requestLine("GET", target: settings.url.target) else { return nil }
    out.fixed("Host", [])
    out.fields(of: head) { _, name in
      settings.headers.containsField(name) && !nominated.contains(name)
    }
    // A WebSocket is asked for with GET; over HTTP/2 that is called CONNECT (RFC 8441).
    let method = isHandshake ? Array("GET".utf8) : Array(head.bytes[head.method])
    out.fixed("X-Forwarded-Method", method)
    out.fixed("X-Forwarded-Uri", uri(head))
    ForwardedHeaders.write(head, client, to: &out)
    return out.finish()
  }

  /// Path and query, as the client wrote them.
  private static func uri(_ head: RequestHead) -> [UInt8] {
    let path = Array(head.bytes[head.path])
    guard let query = head.query else { return path }
    return path + [UInt8(ascii: "?")] + head.bytes[query]
  }

  /// The fields of a 2xx that the backend gets. Nil when it nominates too many: a broken answer.
  static func granted(by head: ResponseHead, _ settings: AuthorizeSettings) -> [GrantedField]? {
    guard let nominated = Nominations(of: head) else { return nil }
    let bytes = head.bytes
    return head.fields.compactMap { field in
      let name = bytes.span.extracting(field.name)
      guard settings.copy.containsField(name), !nominated.contains(name) else { return nil }
      return GrantedField(name: Array(bytes[field.name]), value: Array(bytes[field.value]))
    }
  }
}
