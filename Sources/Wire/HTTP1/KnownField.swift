// The field names that the gateway treats by meaning: framing, the WebSocket handshake, hop-by-hop
// removal and forwarding. Found once, while parsing, so that nothing later compares names.

import Bytes

/// What a field name stands for; `other` is passed on or not without being understood.
public enum KnownField: UInt8, Sendable, CaseIterable {
  case other
  case altSvc, connection, contentLength, cookie, date, expect, forwarded, host, http2Settings
  case keepAlive, location, origin, proxyAuthenticate, proxyAuthorization, proxyConnection
  case secWebSocketAccept, secWebSocketExtensions, secWebSocketKey, secWebSocketProtocol
  case secWebSocketVersion, server, setCookie, te, trailer, transferEncoding, upgrade, via
  case xForwardedFor, xForwardedHost, xForwardedPort, xForwardedProto, xRealIP, xRequestID

  /// In lower case; empty for `other`.
  public var name: StaticString {
    switch self {
    case .other: ""
    case .altSvc: "alt-svc"
    case .connection: "connection"
    case .contentLength: "content-length"
    case .cookie: "cookie"
    case .date: "date"
    case .expect: "expect"
    case .forwarded: "forwarded"
    case .host: "host"
    case .http2Settings: "http2-settings"
    case .keepAlive: "keep-alive"
    case .location: "location"
    case .origin: "origin"
    case .proxyAuthenticate: "proxy-authenticate"
    case .proxyAuthorization: "proxy-authorization"
    case .proxyConnection: "proxy-connection"
    case .secWebSocketAccept: "sec-websocket-accept"
    case .secWebSocketExtensions: "sec-websocket-extensions"
    case .secWebSocketKey: "sec-websocket-key"
    case .secWebSocketProtocol: "sec-websocket-protocol"
    case .secWebSocketVersion: "sec-websocket-version"
    case .server: "server"
    case .setCookie: "set-cookie"
    case .te: "te"
    case .trailer: "trailer"
    case .transferEncoding: "transfer-encoding"
    case .upgrade: "upgrade"
    case .via: "via"
    case .xForwardedFor: "x-forwarded-for"
    case .xForwardedHost: "x-forwarded-host"
    case .xForwardedPort: "x-forwarded-port"
    case .xForwardedProto: "x-forwarded-proto"
    case .xRealIP: "x-real-ip"
    case .xRequestID: "x-request-id"
    }
  }

  /// The meaning of a name in any case. The length leaves at most four candidates to compare.
  public init(name: Span<UInt8>) {
    self = .other
    switch name.count {
    case 2: match(name, .te)
    case 3: match(name, .via)
    case 4: match(name, .host, .date)
    case 6: match(name, .cookie, .origin, .server, .expect)
    case 7: match(name, .upgrade, .altSvc, .trailer)
    case 8: match(name, .location)
    case 9: match(name, .forwarded, .xRealIP)
    case 10: match(name, .connection, .keepAlive, .setCookie)
    case 12: match(name, .xRequestID)
    case 14: match(name, .contentLength, .http2Settings)
    case 15: match(name, .xForwardedFor)
    case 16: match(name, .xForwardedHost, .xForwardedPort, .proxyConnection)
    case 17: match(name, .secWebSocketKey, .transferEncoding, .xForwardedProto)
    case 18: match(name, .proxyAuthenticate)
    case 19: match(name, .proxyAuthorization)
    case 20: match(name, .secWebSocketAccept)
    case 21: match(name, .secWebSocketVersion)
    case 22: match(name, .secWebSocketProtocol)
    case 24: match(name, .secWebSocketExtensions)
    default: break
    }
  }

  private mutating func match(
    _ name: Span<UInt8>, _ first: KnownField, _ second: KnownField? = nil,
    _ third: KnownField? = nil, _ fourth: KnownField? = nil
  ) {
    if ASCII.equalsIgnoringCase(name, first.name) {
      self = first
    } else if let second, ASCII.equalsIgnoringCase(name, second.name) {
      self = second
    } else if let third, ASCII.equalsIgnoringCase(name, third.name) {
      self = third
    } else if let fourth, ASCII.equalsIgnoringCase(name, fourth.name) {
      self = fourth
    }
  }
}
