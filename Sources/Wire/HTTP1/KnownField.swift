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

  /// The meaning of a name in any case. Length and first letter leave at most two candidates to compare.
  public init(name: Span<UInt8>) {
    self = .other
    guard name.count >= 2, name.count <= 24 else { return }
    switch (name.count, name[0] | 0x20) {
    case (2, UInt8(ascii: "t")): match(name, .te)
    case (3, UInt8(ascii: "v")): match(name, .via)
    case (4, UInt8(ascii: "h")): match(name, .host)
    case (4, UInt8(ascii: "d")): match(name, .date)
    case (6, UInt8(ascii: "c")): match(name, .cookie)
    case (6, UInt8(ascii: "o")): match(name, .origin)
    case (6, UInt8(ascii: "s")): match(name, .server)
    case (6, UInt8(ascii: "e")): match(name, .expect)
    case (7, UInt8(ascii: "u")): match(name, .upgrade)
    case (7, UInt8(ascii: "a")): match(name, .altSvc)
    case (7, UInt8(ascii: "t")): match(name, .trailer)
    case (8, UInt8(ascii: "l")): match(name, .location)
    case (9, UInt8(ascii: "f")): match(name, .forwarded)
    case (9, UInt8(ascii: "x")): match(name, .xRealIP)
    case (10, UInt8(ascii: "c")): match(name, .connection)
    case (10, UInt8(ascii: "k")): match(name, .keepAlive)
    case (10, UInt8(ascii: "s")): match(name, .setCookie)
    case (12, UInt8(ascii: "x")): match(name, .xRequestID)
    case (14, UInt8(ascii: "c")): match(name, .contentLength)
    case (14, UInt8(ascii: "h")): match(name, .http2Settings)
    case (15, UInt8(ascii: "x")): match(name, .xForwardedFor)
    case (16, UInt8(ascii: "x")): match(name, .xForwardedHost, .xForwardedPort)
    case (16, UInt8(ascii: "p")): match(name, .proxyConnection)
    case (17, UInt8(ascii: "s")): match(name, .secWebSocketKey)
    case (17, UInt8(ascii: "t")): match(name, .transferEncoding)
    case (17, UInt8(ascii: "x")): match(name, .xForwardedProto)
    case (18, UInt8(ascii: "p")): match(name, .proxyAuthenticate)
    case (19, UInt8(ascii: "p")): match(name, .proxyAuthorization)
    case (20, UInt8(ascii: "s")): match(name, .secWebSocketAccept)
    case (21, UInt8(ascii: "s")): match(name, .secWebSocketVersion)
    case (22, UInt8(ascii: "s")): match(name, .secWebSocketProtocol)
    case (24, UInt8(ascii: "s")): match(name, .secWebSocketExtensions)
    default: break
    }
  }

  private mutating func match(
    _ name: Span<UInt8>, _ first: KnownField, _ second: KnownField? = nil
  ) {
    if ASCII.equalsIgnoringCase(name, first.name) {
      self = first
    } else if let second, ASCII.equalsIgnoringCase(name, second.name) {
      self = second
    }
  }
}
