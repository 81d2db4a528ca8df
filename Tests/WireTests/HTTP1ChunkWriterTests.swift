// Chunks that we write, read back by our own decoder, and what survives of chunks that others wrote.

import Bytes
import Support
import Testing
import Wire

private func written(_ pieces: [[UInt8]], trailers: [UInt8] = []) -> [UInt8] {
  let buffer = SharedBuffer(capacity: 64)
  for piece in pieces { ChunkWriter.appendChunk(piece.span, to: buffer) }
  ChunkWriter.appendEnd(trailers: trailers, to: buffer)
  return contents(buffer)
}

private func contents(_ buffer: SharedBuffer) -> [UInt8] {
  buffer.withSpan { span in (0..<span.count).map { span[$0] } }
}

@Suite("The chunk writer")
struct HTTP1ChunkWriterTests {
  @Test("writes size, content and line ends, and nothing for no content")
  func bytes() {
    #expect(written([]) == Array("0\r\n\r\n".utf8))
    #expect(
      written([Array("hello".utf8), [], Array("0\r\n\r\n".utf8)], trailers: Array("A: 1\r\n".utf8))
        == Array("5\r\nhello\r\n5\r\n0\r\n\r\n\r\n0\r\nA: 1\r\n\r\n".utf8))
    let buffer = SharedBuffer(capacity: 64)
    ChunkWriter.appendChunk([UInt8]().span, to: buffer)
    #expect(buffer.isEmpty)
  }

  @Test("spells sizes in the fewest lower-case digits")
  func sizes() {
    for count in [1, 9, 10, 15, 16, 255, 256, 4095, 65_535, 65_536, 0xabcdef, Int.max] {
      let line = ChunkWriter.sizeLine(count)
      let bytes = line.withSpan { span in (0..<span.count).map { span[$0] } }
      #expect(String(decoding: bytes, as: UTF8.self) == String(count, radix: 16) + "\r\n")
      #expect(line.count == bytes.count && line.count <= ChunkWriter.sizeLineBytesMax)
    }
  }

  @Test("writes the same when size line, content and end are put together by the caller")
  func inParts() {
    let content = Array(repeating: UInt8(ascii: "x"), count: 300)
    let whole = SharedBuffer(capacity: 64)
    ChunkWriter.appendChunk(content.span, to: whole)
    let parts = SharedBuffer(capacity: 1024)
    parts.reset(headroom: ChunkWriter.sizeLineBytesMax)
    parts.append(content)
    ChunkWriter.sizeLine(content.count).withSpan { parts.prepend($0) }
    let end = ChunkWriter.chunkEnd
    parts.append(end.span)
    #expect(contents(parts) == contents(whole))
  }

  @Test("is read back with the same content and trailers, whatever the pieces")
  func roundTrip() {
    var random = SeededRandom(seed: 5)
    for _ in 0..<200 {
      let pieces = (0..<Int.random(in: 0...6, using: &random)).map { _ in
        random.bytes(Int.random(in: 0...40, using: &random))
      }
      let bytes = written(pieces, trailers: Array("X-A: 1\r\nB: \r\n".utf8))
      let (body, disagreement) = DecoderVerifier.verify(bytes) { decodeBody(.chunked, $0) }
      #expect(
        body
          == DecodedBody(
            verdict: "ok \(bytes.count)", content: pieces.flatMap { $0 },
            trailers: Array("X-A: 1\r\nB: \r\n".utf8)))
      #expect(disagreement == nil)
    }
  }

  @Test(
    "nothing but content and permitted trailers survives when a body is framed anew",
    arguments: Vector.load("chunked.txt").filter { $0.verdict.hasPrefix("ok") })
  func framedAnew(_ vector: Vector) {
    let body = decodeBody(.chunked, [vector.bytes[...]])
    let anew = written([body.content], trailers: body.trailers)
    let size = body.content.isEmpty ? "" : String(body.content.count, radix: 16) + "\r\n"
    let end = body.content.isEmpty ? 0 : 2
    #expect(anew.count == size.utf8.count + body.content.count + end + 5 + body.trailers.count)
    var again = decodeBody(.chunked, [anew[...]])
    #expect(again.verdict == "ok \(anew.count)")
    again.verdict = body.verdict
    #expect(again == body)
  }
}
