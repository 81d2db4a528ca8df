import Bytes
import Testing
import Wire

private func text(_ writer: HeadWriter) -> String { String(decoding: writer.bytes, as: UTF8.self) }

@Suite("The head writer")
struct HTTP1HeadWriterTests {
  @Test("writes heads that the parsers read back")
  func roundTrip() throws {
    var request = HeadWriter()
    let path = Array("/ws".utf8)
    let query = Array("a=b".utf8)
    let isWritten = request.requestLine(Array("GET".utf8).span, path: path.span, query: query.span)
    #expect(isWritten)
    request.field("Host", "a.example:80")
    request.field("X-Long", String(repeating: "x", count: 300))
    request.field("Content-Length", decimal: 0)
    request.field("Connection", literal: "close")
    request.end()
    var parser = RequestParser(limits: requestLimits)
    guard case .done(let head, let consumed) = try parser.parse(request.bytes.span) else {
      Issue.record("incomplete head")
      return
    }
    #expect(consumed == request.bytes.count)
    #expect(head.verdict == "ok GET /ws ?a=b host=a.example:80 body=0")
    #expect(head.fields.map(\.known) == [.host, .other, .contentLength, .connection])

    var response = HeadWriter()
    response.statusLine(426, "Upgrade Required")
    response.end()
    #expect(text(response) == "HTTP/1.1 426 Upgrade Required\r\n\r\n")
  }

  @Test(
    "refuses values that could end a line, and writes nothing then",
    arguments: ["a\r\nb", "a\rb", "a\nb", "a\0b", "\u{1b}[0m", "a\u{7f}", "\u{b}"])
  func values(_ value: String) {
    var writer = HeadWriter()
    let bytes = Array(value.utf8)
    let name = Array("X-A".utf8)
    let path = Array("/\(value)".utf8)
    let slash = Array("/".utf8)
    let results = [
      writer.field("X-A", value), writer.field("X-A", bytes.span),
      writer.field(name.span, bytes.span), writer.statusLine(200, bytes.span),
      writer.requestLine(Array("GET".utf8).span, path: path.span, query: nil),
      writer.requestLine(Array("GET".utf8).span, path: slash.span, query: bytes.span),
    ]
    #expect(!results.contains(true))
    #expect(writer.bytes.isEmpty)
  }

  @Test(
    "refuses lines of another head that would end it, or are none, and writes nothing then",
    arguments: [
      "a: b", "a: b\r", "a: b\n", "a: b\rc: d\r\n", "a: b\r\n\r\n", "\r\n", "a: b\r\n\r\nc: d\r\n",
      "a: \0\r\n", "a: b\u{7f}\r\n", "a: b\r\nc: d", "\t", "a: b\t",
    ])
  func badLines(_ lines: String) {
    var writer = HeadWriter()
    let isWritten = writer.lines(lines.utf8.span)
    #expect(!isWritten)
    #expect(writer.bytes.isEmpty)
  }

  @Test("takes lines of another head as they are")
  func lines() {
    var writer = HeadWriter()
    let lines = "A: b\r\nX-Tab: a\tb\t\r\nx-high: \u{e9}\r\nempty: \r\n"
    let isWritten = [writer.lines(lines.utf8.span), writer.lines("".utf8.span)]
    #expect(isWritten == [true, true])
    #expect(text(writer) == lines)
  }

  @Test("refuses names that are no tokens", arguments: ["", "a b", "a:", "a\r\n", "é", "a\0"])
  func names(_ name: String) {
    var writer = HeadWriter()
    let isWritten = writer.field(name, "v")
    #expect(!isWritten)
    #expect(writer.bytes.isEmpty)
  }

  @Test("passes tabs and bytes beyond ASCII in values")
  func freeText() {
    var writer = HeadWriter()
    let value: [UInt8] = [0x61, 0x09, 0xe9, 0xff]
    let isWritten = writer.field("X", value.span)
    #expect(isWritten)
    #expect(writer.bytes == Array("X: ".utf8) + value + [13, 10])
  }
}
