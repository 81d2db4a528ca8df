// The opening handshake of both sides, as bytes. A browser's request, so that the proxies parse what
// they would parse in service; the key is fixed (RFC 6455 1.3), the answer is checked.

import Bytes
import Endpoint
import TLS

enum Upgrade {
  private static let key = "dGhlIHNhbXBsZSBub25jZQ=="
  private static let accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
  private static let guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

  private static let userAgent =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    + "Chrome/140.0.0.0 Safari/537.36"
  private static let cookie = "session=0123456789abcdef0123456789abcdef"

  static func request(host: String, path: String, tls: Bool) -> [UInt8] {
    let lines = [
      "GET \(path) HTTP/1.1", "Host: \(host)", "Connection: Upgrade", "Pragma: no-cache",
      "Cache-Control: no-cache",
      "User-Agent: \(userAgent)", "Upgrade: websocket",
      "Origin: \(tls ? "https" : "http")://\(host)",
      "Sec-WebSocket-Version: 13", "Accept-Encoding: gzip, deflate, br", "Accept-Language: en",
      "Cookie: \(cookie)", "Sec-WebSocket-Key: \(key)",
    ]
    return Array((lines.joined(separator: "\r\n") + "\r\n\r\n").utf8)
  }

  /// The same over HTTP/2 (RFC 8441).
  static func streamRequest(host: String, path: String, tls: Bool) -> RequestFields {
    RequestFields(
      connect: path, authority: host, isSecure: tls,
      [
        ("pragma", "no-cache"), ("cache-control", "no-cache"), ("user-agent", userAgent),
        ("origin", "\(tls ? "https" : "http")://\(host)"),
        ("accept-encoding", "gzip, deflate, br"), ("accept-language", "en"), ("cookie", cookie),
      ])
  }

  /// Whether `head` is the 101 that our key asks for.
  static func isAccepted(_ head: [UInt8]) -> Bool {
    let text = String(decoding: head, as: UTF8.self)
    return text.hasPrefix("HTTP/1.1 101") && text.contains(accept)
  }

  /// The backend's 101 for a request head; nil when it holds no key.
  static func answer(_ head: [UInt8]) -> [UInt8]? {
    let text = String(decoding: head, as: UTF8.self)
    for line in text.split(separator: "\r\n") {
      let parts = line.split(separator: ":", maxSplits: 1)
      guard parts.count == 2, parts[0].lowercased() == "sec-websocket-key" else { continue }
      let value = parts[1].drop { $0 == " " }
      let digest = Digest.base64(Digest.sha1(Array((value + guid).utf8).span).span)
      let response =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        + "Sec-WebSocket-Accept: \(String(decoding: digest, as: UTF8.self))\r\n\r\n"
      return Array(response.utf8)
    }
    return nil
  }

  /// Where the head ends in `bytes`; looks only at the last `added` bytes and the three before.
  static func headEnd(_ bytes: [UInt8], added: Int) -> Int? {
    var index = max(0, bytes.count - added - 3)
    while index + 4 <= bytes.count {
      let here = bytes[index..<index + 4]
      if here.elementsEqual([13, 10, 13, 10]) {
        return index + 4
      }
      index += 1
    }
    return nil
  }
}
