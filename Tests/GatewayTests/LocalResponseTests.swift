import Bytes
import Configuration
import Testing

@testable import Gateway

/// A response taken apart: the head, and the body as text.
private func parts(_ bytes: [UInt8]) -> (head: WrittenHead, body: String) {
  let text = String(decoding: bytes, as: UTF8.self)
  guard let end = text.range(of: "\r\n\r\n") else { return (WrittenHead(bytes), "") }
  return (WrittenHead(Array(text[..<end.upperBound].utf8)), String(text[end.upperBound...]))
}

extension String {
  fileprivate func range(of part: String) -> Range<String.Index>? {
    var start = startIndex
    while start < endIndex {
      if self[start...].utf8.starts(with: part.utf8) {
        return start..<utf8.index(start, offsetBy: part.utf8.count)
      }
      start = utf8.index(after: start)
    }
    return nil
  }
}

@Suite("Local responses")
struct LocalResponseTests {
  @Test("every fault with a status has an answer of that length, and no other has one")
  func all() throws {
    for fault in Fault.allCases {
      let response = LocalResponse.fault(fault, closes: false)
      #expect((response != nil) == (fault.status != nil), "\(fault)")
      guard let response else { continue }
      let (head, body) = parts(response.bytes())
      let status = try #require(fault.status)
      #expect(head.startLine.hasPrefix("HTTP/1.1 \(status) "))
      #expect(!head.startLine.hasSuffix("Response"), "\(status) has no reason phrase")
      #expect(head.values("Content-Type") == ["text/plain; charset=utf-8"])
      #expect(head.values("Content-Length") == ["\(body.utf8.count)"])
      #expect(head.values("Cache-Control") == ["no-store"])
      #expect(body.hasPrefix("\(status) "))
      #expect(head.values("Connection").contains("close") == (fault.closesConnection))
    }
  }

  @Test("a connection that ends is told so")
  func closes() throws {
    let response = try #require(LocalResponse.fault(.noRoute, closes: true))
    #expect(parts(response.bytes()).head.values("Connection") == ["close"])
  }

  @Test("405 lists methods, 503 says when to come back, 426 what to upgrade to")
  func extras() throws {
    func head(_ fault: Fault, closes: Bool = false) throws -> WrittenHead {
      parts(try #require(LocalResponse.fault(fault, closes: closes)).bytes()).head
    }
    let allow = try head(.methodNotAllowed).values("Allow")
    #expect(allow == ["GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"])
    for fault in [Fault.noEndpoint, .connectFailed, .limitReached, .refusingWork] {
      #expect(try head(fault).values("Retry-After") == ["5"])
    }
    let kept = try head(.webSocketVersion)
    #expect(kept.values("Upgrade") == ["websocket"])
    #expect(kept.values("Connection") == ["Upgrade"])
    #expect(kept.values("Sec-WebSocket-Version") == ["13"])
    let closed = try head(.webSocketVersion, closes: true)
    #expect(closed.values("Connection") == ["Upgrade, close"])
  }

  @Test("an answer to HEAD has the same head and no body")
  func headMethod() throws {
    let response = try #require(LocalResponse.fault(.noRoute, closes: false))
    let whole = response.bytes()
    let headOnly = response.bytes(withoutBody: true)
    #expect(whole.starts(with: headOnly) && whole.count > headOnly.count)
    #expect(headOnly.suffix(4).elementsEqual("\r\n\r\n".utf8))
  }

  @Test("a refused origin is named beside the address's own, and nothing in it can be markup")
  func origin() {
    let evil = Array("https://evil.test\r\n\r\n<script>\u{1b}[1m ä".utf8)
    let own = Origin.tuple(scheme: "http", host: "a.test", port: 8080)
    let response = LocalResponse.originRefused(evil, own: own, why: .notListed, closes: false)
    #expect(response.status == 403)
    let (head, body) = parts(response.bytes())
    #expect(head.startLine == "HTTP/1.1 403 Forbidden")
    #expect(head.values("Content-Type") == ["text/plain; charset=utf-8"])
    #expect(head.values("X-Content-Type-Options") == ["nosniff"])
    #expect(head.values("Content-Length") == ["\(body.utf8.count)"])
    #expect(body.contains(" https://evil.test????<script>?[1m???\n"))
    #expect(body.contains(" http://a.test:8080\n"))
    #expect(!body.contains("trusted_proxies"))
  }

  @Test("when only the scheme differs the answer asks where TLS ends")
  func scheme() {
    let response = LocalResponse.originRefused(
      Array("https://a.test".utf8), own: .tuple(scheme: "http", host: "a.test", port: 80),
      why: .schemeDiffers, closes: true)
    let (head, body) = parts(response.bytes())
    #expect(body.contains("Does TLS end at a proxy before this gateway?"))
    #expect(body.contains("trusted_proxies"))
    #expect(body.contains(" http://a.test\n"))
    #expect(head.values("Connection") == ["close"])
  }

  @Test("a long or missing origin makes no long answer")
  func odd() {
    let long = LocalResponse.originRefused(
      Array(repeating: 0x41, count: 8000), own: nil, why: .malformed, closes: false)
    #expect(long.bytes().count < 1000)
    let none = LocalResponse.originRefused(nil, own: nil, why: .missing, closes: false)
    #expect(parts(none.bytes()).body.contains("Origin that was sent:   none\n"))
  }

  @Test("the demo page is one document with the ports in it and leave to load nothing")
  func demo() {
    let response = LocalResponse.demoPage(httpPort: 8081, httpsPort: 8444, closes: false)
    let (head, body) = parts(response.bytes())
    #expect(head.startLine == "HTTP/1.1 200 OK")
    #expect(head.values("Content-Type") == ["text/html; charset=utf-8"])
    #expect(head.values("Content-Length") == ["\(body.utf8.count)"])
    let policy = head.values("Content-Security-Policy")
    #expect(policy.count == 1 && policy[0].hasPrefix("default-src 'none'"))
    #expect(body.hasPrefix("<!doctype html>"))
    #expect(body.contains("data-http-port=\"8081\" data-https-port=\"8444\" data-path=\"/ws\""))
    for outside in ["src=\"http", "href=\"http", "@import", "url(", "innerHTML", "eval("] {
      #expect(!body.contains(outside), "\(outside)")
    }
    for id in ["connect", "send", "close", "log", "message"] {
      #expect(body.contains("id=\"\(id)\""), "\(id)")
    }
  }

  private func redirect(
    _ target: RedirectSettings.Target, status: UInt16? = nil,
    request asked: String = "/a/%C3%A9?x=%22",
    host: String? = "a.test:8080", edits: HeaderEdits = HeaderEdits()
  ) -> WrittenHead? {
    let head = request(target: asked)
    let authority = host.flatMap { text in
      let bytes = Array(text.utf8)
      return Authority(parsing: bytes.span)
    }
    return LocalResponse.redirect(
      RedirectSettings(target: target, status: status), head, authority: authority, edits: edits,
      closes: false
    ).map { parts($0.bytes()).head }
  }

  @Test("a redirect to https keeps host, path and query as they came, and drops the port")
  func redirectToHTTPS() throws {
    let head = try #require(redirect(.https(port: 443)))
    #expect(head.startLine == "HTTP/1.1 308 Permanent Redirect")
    #expect(head.values("Location") == ["https://a.test/a/%C3%A9?x=%22"])
    #expect(head.values("Cache-Control") == [])
    let other = try #require(redirect(.https(port: 8443), request: "//evil.test/?", host: "[::1]"))
    #expect(other.values("Location") == ["https://[::1]:8443//evil.test/?"])
    #expect(redirect(.https(port: 443), host: nil) == nil)
  }

  @Test("a redirect elsewhere says what the route says, and is temporary unless it says more")
  func redirectElsewhere() throws {
    let head = try #require(redirect(.fixed("/new?a#b"), host: nil))
    #expect(head.startLine == "HTTP/1.1 302 Found")
    #expect(head.values("Location") == ["/new?a#b"])
    for status: UInt16 in [301, 302, 303, 307, 308] {
      let head = try #require(redirect(.fixed("https://b.test/"), status: status))
      #expect(head.startLine.hasPrefix("HTTP/1.1 \(status) "))
      #expect(!head.startLine.hasSuffix("Response"))
    }
  }

  @Test("the fields of a route are set on what it answers by itself, but not its framing")
  func edited() throws {
    let change = edits(
      set: [("Cache-Control", "max-age=60"), ("X-A", "b")], remove: ["Content-Type"])
    let head = try #require(redirect(.fixed("/new"), edits: change))
    #expect(head.values("Cache-Control") == ["max-age=60"])
    #expect(head.values("X-A") == ["b"])
    #expect(head.values("Content-Type") == [])
    var settings = RespondSettings()
    settings.body = "text"
    let fixed = LocalResponse.fixed(settings, edits: change, closes: true)
    let written = parts(fixed.bytes()).head
    #expect(written.values("Cache-Control") == ["max-age=60"])
    #expect(written.values("Content-Length") == ["4"])
    #expect(written.values("Connection") == ["close"])
    #expect(fixed.fields().count == 3)
  }

  @Test("a fixed response has its body and type, and a status without body has neither")
  func fixedResponse() {
    var settings = RespondSettings()
    settings.status = 503
    settings.body = "<h1>Later</h1>"
    settings.contentType = "text/html"
    let (head, body) = parts(
      LocalResponse.fixed(settings, edits: HeaderEdits(), closes: false).bytes())
    #expect(head.startLine == "HTTP/1.1 503 Service Unavailable")
    #expect(head.values("Content-Type") == ["text/html"])
    #expect(head.values("Content-Length") == ["14"])
    #expect(body == "<h1>Later</h1>")
    settings.status = 204
    settings.body = ""
    let empty = LocalResponse.fixed(settings, edits: HeaderEdits(), closes: false).bytes()
    #expect(
      String(decoding: empty, as: UTF8.self)
        == "HTTP/1.1 204 No Content\r\nCache-Control: no-store\r\n\r\n")
  }
}
