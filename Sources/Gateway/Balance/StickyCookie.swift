// The cookie that says at which endpoint a client was. Its value is a keyed hash of the endpoint's
// identity: computed, not stored, so that every worker and every gateway with the same secret knows
// it, and opaque, so that no client learns an address or can make one up.

import Bytes
import Configuration
import TLS
import Wire

struct StickyCookie: Sendable {
  /// Of the hash: 128 bits cannot be guessed.
  private static var hashBytes: Int { 16 }
  /// A client that sends more of that name is not looked at further.
  private static var cookiesMax: Int { 8 }

  private let name: [UInt8]
  private let attributes: String
  /// Per endpoint.
  private let values: [[UInt8]]

  init(
    name: String, sameSite: StickySettings.SameSite, secret: [UInt8], identities: [[UInt8]]
  ) {
    self.name = Array(name.utf8)
    let word =
      switch sameSite {
      case .lax: "Lax"
      case .strict: "Strict"
      case .none: "None"
      }
    attributes = "; Path=/; HttpOnly; SameSite=\(word)"
    values = identities.map { identity in
      let code = Array(Digest.hmacSHA256(key: secret.span, identity.span).prefix(Self.hashBytes))
      return Digest.base64URL(code.span)
    }
  }

  /// The value of the `Set-Cookie` field. `isSecure`: the client came over TLS.
  func field(for endpoint: Int, isSecure: Bool) -> [UInt8] {
    name + [UInt8(ascii: "=")] + values[endpoint] + attributes.utf8
      + (isSecure ? Array("; Secure".utf8) : [])
  }

  /// The endpoint that a cookie of the request stands for.
  func endpoint(of head: RequestHead) -> Int? {
    let bytes = head.bytes
    for value in head.cookies(named: name, atMost: Self.cookiesMax) {
      let text = bytes.span.extracting(value)
      // All are compared, so that the time does not tell which one it is.
      var found: Int?
      for index in values.indices {
        let own = values[index]
        if Digest.equals(own.span, text) { found = index }
      }
      if let found { return found }
    }
    return nil
  }
}

extension RequestHead {
  /// The values of the cookies of that name, in order (RFC 6265 section 4.2.1).
  func cookies(named name: [UInt8], atMost limit: Int) -> [Range<Int>] {
    let bytes = self.bytes
    var found: [Range<Int>] = []
    for field in values(of: .cookie) {
      var start = field.lowerBound
      while start < field.upperBound, found.count < limit {
        let end = bytes[start..<field.upperBound].firstIndex(of: UInt8(ascii: ";"))
        let pair = ASCII.trimmed(bytes.span, start..<(end ?? field.upperBound))
        if let value = value(of: pair, named: name) { found.append(value) }
        start = (end ?? field.upperBound) + 1
      }
    }
    return found
  }

  private func value(of pair: Range<Int>, named name: [UInt8]) -> Range<Int>? {
    let start = pair.lowerBound + name.count
    guard start < pair.upperBound, bytes[start] == UInt8(ascii: "="),
      bytes[pair.lowerBound..<start].elementsEqual(name)
    else { return nil }
    return (start + 1)..<pair.upperBound
  }
}
