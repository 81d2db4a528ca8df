import Bytes
import Support
import Testing
import Wire

private func parse(_ text: String) throws -> RequestHead {
  var parser = RequestParser(limits: requestLimits)
  let bytes = Array(text.utf8)
  guard case .done(let head, _) = try parser.parse(bytes.span) else {
    throw Incomplete()
  }
  return head
}
private struct Incomplete: Error {}

@Suite("A request head")
struct HTTP1RequestTests {
  static let files = [
    "request-line.txt", "request-target.txt", "request-host.txt", "request-fields.txt",
    "request-framing.txt",
  ]

  @Test("is read or refused alike however its bytes arrive", arguments: files.flatMap(Vector.load))
  func vectors(_ vector: Vector) {
    let (verdict, disagreement) = DecoderVerifier.verify(vector.bytes) { requestVerdict($0) }
    #expect(verdict == vector.verdict)
    #expect(disagreement == nil)
  }

  @Test("has at least 250 vectors with names of their own")
  func vectorCount() {
    let names = Self.files.flatMap(Vector.load).map(\.name)
    #expect(names.count >= 250)
    #expect(Set(names).count == names.count)
  }

  @Test("gives its fields in order, trimmed and with their meaning")
  func fields() throws {
    let head = try parse(
      "GET / HTTP/1.1\r\nhOsT: a\r\nX-A:  1\t \r\nEmpty:\r\nORIGIN: https://a\r\norigin:b\r\n\r\n")
    #expect(
      head.fields.map { head.string($0.name) } == ["hOsT", "X-A", "Empty", "ORIGIN", "origin"])
    #expect(head.fields.map { head.string($0.value) } == ["a", "1", "", "https://a", "b"])
    #expect(head.fields.map(\.known) == [.host, .other, .other, .origin, .origin])
    #expect(head.count(of: .origin) == 2)
    #expect(head.onlyValue(of: .origin) == nil)
    #expect(head.onlyValue(of: .host).map(head.string) == "a")
    #expect(
      head.slices(of: .origin).map { String(decoding: $0, as: UTF8.self) } == ["https://a", "b"])
  }

  @Test("finds tokens in lists over several fields, in any case, and only whole ones")
  func tokens() throws {
    let head = try parse(
      "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive,,\t Upgrade \r\nConnection:close\r\n"
        + "Upgrade: websocket2\r\nUpgrade: x,\r\n\r\n")
    #expect(head.hasToken("upgrade", in: .connection))
    #expect(head.hasToken("keep-alive", in: .connection))
    #expect(head.hasToken("close", in: .connection))
    #expect(!head.hasToken("alive", in: .connection))
    #expect(!head.hasToken("websocket", in: .upgrade))
    #expect(!head.hasToken("", in: .upgrade))
    #expect(!head.hasToken("upgrade", in: .via))
    #expect(head.elements(of: .connection).map(head.string) == ["keep-alive", "Upgrade", "close"])
  }

  @Test("keeps its own bytes, and leaves those behind it")
  func consumed() throws {
    let request = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
    let bytes = Array((request + "GET /b HTTP/1.1\r\nHost: b\r\n\r\nrest").utf8)
    var parser = RequestParser(limits: requestLimits)
    guard case .done(let first, let end) = try parser.parse(bytes.span) else { throw Incomplete() }
    #expect(end == request.utf8.count)
    #expect(first.bytes == Array(request.utf8))
    let rest = Array(bytes[end...])
    guard case .done(let second, _) = try parser.parse(rest.span) else { throw Incomplete() }
    #expect(second.string(second.path) == "/b")
    #expect(second.host?.host == "b")
    #expect(second.fields.count == 1)
  }

  @Test("says whether a body follows, and whether it is a GET")
  func bodies() throws {
    let plain = try parse("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    #expect(!plain.hasBody && plain.isGET)
    let counted = try parse("GETS / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n")
    #expect(counted.hasBody && !counted.isGET)
    let chunked = try parse("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    #expect(chunked.hasBody && chunked.bodyFraming == .chunked)
  }

  @Test("may be as large as its limits and no larger, however it arrives")
  func limits() {
    let limits = HeadLimits(headBytesMax: 120, fieldsMax: 3, lineBytesMax: 40)
    func verdict(_ text: String) -> String {
      let (verdict, disagreement) = DecoderVerifier.verify(Array(text.utf8)) {
        requestVerdict($0, limits)
      }
      #expect(disagreement == nil)
      return String(verdict.prefix { $0 != "/" })
    }
    func pad(_ count: Int) -> String { String(repeating: "a", count: count) }

    #expect(verdict("GET /\(pad(26)) HTTP/1.1\r\nHost: a\r\n\r\n") == "ok GET ")
    #expect(verdict("GET /\(pad(27)) HTTP/1.1\r\nHost: a\r\n\r\n") == "414 request-line-too-long")
    #expect(verdict(pad(41)) == "414 request-line-too-long")
    let line = "GET / HTTP/1.1\r\nHost: a\r\n"
    #expect(verdict(line + "X: \(pad(37))\r\n\r\n") == "ok GET ")
    #expect(verdict(line + "X: \(pad(38))\r\n\r\n") == "431 line-too-long")
    #expect(verdict(line + "A:\r\nB:\r\n\r\n") == "ok GET ")
    #expect(verdict(line + "A:\r\nB:\r\nC:\r\n\r\n") == "431 too-many-fields")
    // 25 + 42 + 51 + 2 bytes are 120.
    #expect(verdict(line + "X: \(pad(37))\r\nY: \(pad(36))\r\n\r\n").hasPrefix("ok"))
    let wide = HeadLimits(headBytesMax: 120, fieldsMax: 3, lineBytesMax: 1000)
    for (padding, expected) in [
      (88, "ok"), (89, "431 head-too-large"), (500, "431 head-too-large"),
    ] {
      let input = Array((line + "X: \(pad(padding))\r\n\r\n").utf8)
      let (verdict, disagreement) = DecoderVerifier.verify(input) { requestVerdict($0, wide) }
      #expect(disagreement == nil)
      #expect(verdict.hasPrefix(expected))
    }
  }

  @Test("is refused at the offending byte, not when it is complete")
  func early() {
    func verdict(_ bytes: [UInt8]) -> String { requestVerdict([bytes[...]]) }
    #expect(verdict([0x16, 0x03, 0x01]) == "400 forbidden-byte")
    #expect(verdict(Array("GET /\t".utf8)) == "400 forbidden-byte")
    #expect(verdict(Array("GET / HTTP/1.1\r\n ".utf8)) == "400 obsolete-fold")
    #expect(verdict(Array("GET / HTTP/1.1\n".utf8)) == "400 bare-line-end")
    #expect(verdict(Array("CONNECT a:1 HTTP/1.1\r\n".utf8)) == "405 method-not-allowed")
    #expect(
      verdict(Array("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n".utf8)) == "400 duplicate-host")
  }

  @Test("takes time in proportion to its size when it arrives byte by byte")
  func linear() {
    // With a scan from the start for each byte this would be 10^9 steps.
    let line = "X: " + String(repeating: "a", count: 7000) + "\r\n"
    let text =
      "GET / HTTP/1.1\r\nHost: a\r\n" + String(repeating: line, count: 4) + "\r\n"
    let bytes = Array(text.utf8)
    var parser = RequestParser(limits: requestLimits)
    let clock = ContinuousClock()
    var isDone = false
    let duration = clock.measure {
      for end in 1...bytes.count {
        let span = bytes.span.extracting(0..<end)
        if case .done = try? parser.parse(span) { isDone = true }
      }
    }
    #expect(isDone)
    #expect(duration < .seconds(4))
  }
}
