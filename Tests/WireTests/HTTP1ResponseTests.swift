import Bytes
import Support
import Testing
import Wire

@Suite("A response head")
struct HTTP1ResponseTests {
  @Test(
    "is read or refused alike however its bytes arrive", arguments: Vector.load("response.txt"))
  func vectors(_ vector: Vector) {
    // In memory that a longer head had, and then each of these ways.
    var room = HeadRoom()
    let long = "HTTP/1.1 200 \(String(repeating: "r", count: 900))\r\n"
    let fields = (0..<40).map { "Old-\($0): secret\r\n" }.joined()
    #expect(responseVerdict([Array((long + fields + "\r\n").utf8)[...]], in: &room).hasPrefix("ok"))
    let (verdict, disagreement) = DecoderVerifier.verify(vector.bytes) {
      responseVerdict($0, in: &room)
    }
    #expect(verdict == vector.verdict)
    #expect(disagreement == nil)
  }

  @Test("lends its memory to the next one, but not what somebody still holds")
  func room() throws {
    var room = HeadRoom()
    func parse(_ text: String) throws -> ResponseHead? {
      var parser = ResponseParser(limits: responseLimits)
      let parsed = try parser.parse(Array(text.utf8).span, in: &room)
      guard case .done(let head, _) = parsed else { return nil }
      return head
    }
    let texts =
      ["HTTP/1.1 200 OK\r\nA: \(String(repeating: "x", count: 99))\r\n\r\n"]
      + ["HTTP/1.1 404 No\r\nB: 1\r\nC: 2\r\n\r\n", "HTTP/1.1 204 \r\n\r\n"]
    for holds in [false, true] {
      var held: [ResponseHead] = []
      for text in texts {
        var head = try #require(try parse(text))
        #expect(head.bytes == Array(text.utf8))
        if holds { held.append(head) }
        room.take(from: &head)
        #expect(head.bytes.isEmpty && head.fields.isEmpty)
      }
      #expect(held.map(\.bytes) == (holds ? texts.map { Array($0.utf8) } : []))
      #expect(held.map(\.fields.count) == (holds ? [1, 2, 0] : []))
    }
  }

  @Test("comes one per call, interim ones first")
  func interim() throws {
    let texts = [
      "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
    ]
    var bytes = Array((texts.joined() + "\u{1}").utf8)
    var parser = ResponseParser(limits: responseLimits)
    var statuses: [Int] = []
    while true {
      guard case .done(let head, let consumed) = try parser.parse(bytes.span) else {
        Issue.record("a complete head was not read")
        return
      }
      #expect(consumed == texts[statuses.count].utf8.count)
      #expect(head.fields.count == (head.status == 100 ? 0 : 1))
      statuses.append(head.status)
      bytes.removeFirst(consumed)
      if !head.isInterim { break }
    }
    #expect(statuses == [100, 103, 101])
    #expect(bytes == [1])
  }

  @Test("may be as large as its limits and no larger")
  func limits() {
    let limits = HeadLimits(headBytesMax: 60, fieldsMax: 2, lineBytesMax: 30)
    func verdict(_ text: String) -> String {
      let (verdict, disagreement) = DecoderVerifier.verify(Array(text.utf8)) {
        responseVerdict($0, limits)
      }
      #expect(disagreement == nil)
      return verdict
    }
    func pad(_ count: Int) -> String { String(repeating: "a", count: count) }
    #expect(verdict("HTTP/1.1 200 \(pad(17))\r\n\r\n").hasPrefix("ok"))
    #expect(verdict("HTTP/1.1 200 \(pad(18))\r\n\r\n") == "431 line-too-long")
    #expect(verdict("HTTP/1.1 200 OK\r\nA:\r\nB:\r\n\r\n").hasPrefix("ok"))
    #expect(verdict("HTTP/1.1 200 OK\r\nA:\r\nB:\r\nC:\r\n\r\n") == "431 too-many-fields")
    // 17 + 2 + 41 bytes are 60.
    let line = "HTTP/1.1 200 OK\r\nA:\(pad(20))\r\n"
    #expect(verdict(line + "B:\(pad(13))\r\n\r\n").hasPrefix("ok"))
    #expect(verdict(line + "B:\(pad(14))\r\n\r\n") == "431 head-too-large")
  }
}

@Suite("A message body")
struct HTTP1BodyTests {
  @Test(
    "in chunks is followed to its end, or refused, alike however its bytes arrive",
    arguments: Vector.load("chunked.txt"))
  func chunked(_ vector: Vector) {
    let (verdict, disagreement) = DecoderVerifier.verify(vector.bytes) {
      bodyVerdict(.chunked, $0)
    }
    #expect(verdict == vector.verdict)
    #expect(disagreement == nil)
  }

  @Test("there are at least 100 vectors of responses and chunks, with names of their own")
  func vectorCount() {
    for file in ["response.txt", "chunked.txt"] {
      let names = Vector.load(file).map(\.name)
      #expect(names.count >= 60)
      #expect(Set(names).count == names.count)
    }
  }

  @Test("of a known length ends after that many bytes")
  func counted() {
    let bytes = Array("hello, world".utf8)
    for length in [0, 1, 5, 11, 12] {
      let (verdict, disagreement) = DecoderVerifier.verify(bytes) {
        bodyVerdict(.length(UInt64(length)), $0)
      }
      #expect(verdict == "ok \(length) \"\("hello, world".prefix(length))\"")
      #expect(disagreement == nil)
    }
    #expect(bodyVerdict(.length(13), [bytes[...]]) == "more")
    #expect(bodyVerdict(.length(.max), [bytes[...]]) == "more")
    #expect(bodyVerdict(.none, [bytes[...]]) == "ok 0 \"\"")
    let (open, disagreement) = DecoderVerifier.verify(bytes) { decodeBody(.untilClose, $0) }
    #expect(open == DecodedBody(verdict: "open", content: bytes))
    #expect(disagreement == nil)
  }

  @Test("that has ended takes no more bytes")
  func ended() throws {
    for length in [BodyFraming.Length.none, .length(3), .chunked] {
      var framing = BodyFraming(length)
      let body: [UInt8] =
        length == .chunked ? Array("0\r\n\r\n".utf8) : length == .none ? [] : [1, 2, 3]
      let end = try framing.advance(body.span)
      #expect(end == .complete(consumed: body.count))
      #expect(framing.mayEndHere)
      let more: [UInt8] = [1, 2]
      let again = try framing.advance(more.span)
      #expect(again == .complete(consumed: 0))
    }
  }

  @Test("may hold extensions and trailers up to their limits and no more")
  func limits() {
    func verdict(_ text: String) -> String {
      let (verdict, disagreement) = DecoderVerifier.verify(Array(text.utf8), everySplitMax: 64) {
        bodyVerdict(.chunked, $0)
      }
      #expect(disagreement == nil)
      return verdict
    }
    func pad(_ count: Int) -> String { String(repeating: "a", count: count) }
    #expect(verdict("0;\(pad(255))\r\n\r\n").hasPrefix("ok"))
    #expect(verdict("0;\(pad(256))\r\n\r\n") == "400 malformed-chunk-extension")
    // 64 extensions of 256 bytes are the 16 KiB a message may hold.
    let chunks = String(repeating: "1;\(pad(255))\r\nx\r\n", count: 64)
    #expect(verdict(chunks + "0\r\n\r\n").hasPrefix("ok"))
    #expect(verdict(chunks + "0;\r\n\r\n") == "400 malformed-chunk-extension")
    #expect(verdict("0\r\n" + String(repeating: "A:\r\n", count: 100) + "\r\n").hasPrefix("ok"))
    #expect(
      verdict("0\r\n" + String(repeating: "A:\r\n", count: 101) + "\r\n")
        == "431 trailers-too-large")
    #expect(verdict("0\r\nA:\(pad(8188))\r\n\r\n").hasPrefix("ok"))
    #expect(verdict("0\r\nA:\(pad(8189))\r\n\r\n") == "431 trailers-too-large")
    // What is dropped counts as well.
    #expect(verdict("0\r\nTE:\(pad(8187))\r\n\r\n").hasSuffix("\"\""))
    #expect(verdict("0\r\nTE:\(pad(8188))\r\n\r\n") == "431 trailers-too-large")
    #expect(
      verdict("0\r\n" + String(repeating: "TE:\r\n", count: 101) + "\r\n")
        == "431 trailers-too-large")
  }
}
