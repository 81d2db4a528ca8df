// Whole connections: heads and bodies one behind the other, as a relay reads them. Smuggling is a
// disagreement about where one message ends and the next begins, so this is where it would show.

import Bytes
import Support
import Testing
import Wire

@Suite("A connection's messages")
struct HTTP1StreamTests {
  @Test(
    "of a client are divided alike however their bytes arrive",
    arguments: Vector.load("request-stream.txt"))
  func requests(_ vector: Vector) {
    let (verdict, disagreement) = DecoderVerifier.verify(vector.bytes) { requestStream($0) }
    #expect(verdict == vector.verdict)
    #expect(disagreement == nil)
  }

  @Test(
    "of a backend are divided alike however their bytes arrive",
    arguments: Vector.load("response-stream.txt"))
  func responses(_ vector: Vector) {
    let head = Array("HEAD ".utf8)
    let toHEAD = vector.bytes.starts(with: head)
    let bytes = Array(vector.bytes.dropFirst(toHEAD ? head.count : 0))
    let (verdict, disagreement) = DecoderVerifier.verify(bytes) {
      responseStream($0, toHEAD: toHEAD)
    }
    #expect(verdict == vector.verdict)
    #expect(disagreement == nil)
  }

  @Test(
    "say whether the connection goes on, what the client waits for and what may be sent twice",
    arguments: Vector.load("request-relay.txt"))
  func relay(_ vector: Vector) {
    let (verdict, disagreement) = DecoderVerifier.verify(vector.bytes) { pieces in
      var parser = RequestParser(limits: requestLimits)
      var received: [UInt8] = []
      for piece in pieces {
        received += piece
        if case .done(let head, _)? = try? parser.parse(received.span) { return facts(head) }
      }
      return "more"
    }
    #expect(verdict == vector.verdict)
    #expect(disagreement == nil)
  }

  private func facts(_ head: RequestHead) -> String {
    var words = [head.keepsConnection ? "keep" : "close"]
    if head.isIdempotent { words.append("idempotent") }
    if head.expectsContinue { words.append("continue") }
    if head.hasUnknownExpectation { words.append("417") }
    return words.joined(separator: " ")
  }

  @Test("only final responses other than 204 and 304 may have a body")
  func bodies() throws {
    for status in [100, 101, 103, 199, 200, 204, 205, 206, 304, 404, 599] {
      let bytes = Array("HTTP/1.1 \(status) X\r\n\r\n".utf8)
      var parser = ResponseParser(limits: responseLimits)
      guard case .done(let head, _) = try parser.parse(bytes.span) else {
        Issue.record("incomplete head")
        return
      }
      #expect(head.allowsBody == ![100, 101, 103, 199, 204, 304].contains(status))
      #expect(head.body(toHEAD: false) == (head.allowsBody ? .untilClose : .none))
      #expect(head.body(toHEAD: true) == .none)
    }
  }

  @Test("come in at least 700 vectors, with names of their own in each file")
  func vectorCount() {
    let files =
      HTTP1RequestTests.files + [
        "response.txt", "chunked.txt", "request-relay.txt", "request-stream.txt",
        "response-stream.txt",
      ]
    var count = 0
    for file in files {
      let names = Vector.load(file).map(\.name)
      #expect(Set(names).count == names.count)
      count += names.count
    }
    #expect(count >= 700)
  }
}

/// A body in the middle of a connection, and what was found of it.
private struct StreamBody {
  var framing: BodyFraming
  var content: [UInt8] = []

  /// Takes what belongs to the body off `pending`; returns its text once it is complete.
  mutating func take(_ pending: inout [UInt8]) throws(HTTPViolation) -> String? {
    let bytes = pending
    let progress = try framing.advance(bytes.span) { content += bytes[$0] }
    guard case .complete(let consumed) = progress else {
      pending = []
      return nil
    }
    pending.removeFirst(consumed)
    let trailers = framing.trailers
    return "\"\(escaped(content))\"" + (trailers.isEmpty ? "" : " + \"\(escaped(trailers))\"")
  }
}

private func requestStream(_ pieces: [ArraySlice<UInt8>]) -> String {
  var parser = RequestParser(limits: requestLimits)
  var body: StreamBody?
  var pending: [UInt8] = []
  var words: [String] = []
  for piece in pieces {
    pending += piece
    do throws(HTTPViolation) {
      while true {
        if let text = try body?.take(&pending) {
          words.append(text)
          body = nil
        }
        guard body == nil, !pending.isEmpty,
          case .done(let head, let consumed) = try parser.parse(pending.span)
        else { break }
        pending.removeFirst(consumed)
        words.append(head.string(head.path))
        body = StreamBody(framing: BodyFraming(head.bodyFraming))
      }
    } catch {
      return (words + [error.verdict]).joined(separator: " ")
    }
  }
  if body != nil || !pending.isEmpty { words.append("more") }
  return words.joined(separator: " ")
}

private func responseStream(_ pieces: [ArraySlice<UInt8>], toHEAD: Bool) -> String {
  var parser = ResponseParser(limits: responseLimits)
  var body: StreamBody?
  var isComplete = false
  var pending: [UInt8] = []
  var words: [String] = []
  for piece in pieces {
    pending += piece
    do throws(HTTPViolation) {
      while body == nil, case .done(let head, let consumed) = try parser.parse(pending.span) {
        pending.removeFirst(consumed)
        words.append("\(head.status)")
        guard !head.isInterim else { continue }
        words.append(head.keepsConnection ? "keep" : "close")
        body = StreamBody(framing: BodyFraming(head.body(toHEAD: toHEAD)))
      }
      if !isComplete, let text = try body?.take(&pending) {
        words.append(text)
        isComplete = true
      }
    } catch {
      return (words + [error.verdict]).joined(separator: " ")
    }
  }
  guard let body else { return (words + ["more"]).joined(separator: " ") }
  if isComplete {
    if !pending.isEmpty { words.append("surplus") }
  } else if body.framing.mayEndHere {
    words += ["\"\(escaped(body.content))\"", "close"]
  } else {
    words.append("truncated")
  }
  return words.joined(separator: " ")
}
