import Bytes
import Testing
import Wire

@Suite("The frame writer")
struct WebSocketFrameWriterTests {
  static let mask: [UInt8] = [0x37, 0xFA, 0x21, 0x3D]

  @Test(
    "writes the least header for every length, masked and unmasked, to both kinds of buffer",
    arguments: [0, 1, 125, 126, 127, 65_535, 65_536, 70_001], [true, false])
  func lengths(_ count: Int, _ isMasked: Bool) {
    let payload = (0..<count).map { UInt8($0 & 255) }
    for (opcode, fin) in [(Opcode.text, true), (.binary, false), (.continuation, true)] {
      let expected = RawFrame(
        fin: fin, opcode: opcode.rawValue, mask: isMasked ? Self.mask : nil, payload: payload
      ).bytes
      let key: UInt32? = isMasked ? 0x37FA_213D : nil

      var array: [UInt8] = [9]
      FrameWriter.appendFrame(opcode, fin: fin, mask: key, payload: payload.span, to: &array)
      #expect(array == [9] + expected)

      let buffer = SharedBuffer(capacity: 64)
      buffer.append(9)
      FrameWriter.appendFrame(opcode, fin: fin, mask: key, payload: payload.span, to: buffer)
      let content = buffer.withSpan { span in span.indices.map { span[$0] } }
      #expect(content == [9] + expected)

      var header: [UInt8] = []
      FrameWriter.appendHeader(opcode, fin: fin, mask: key, payloadCount: count, to: &header)
      #expect(header == Array(expected.dropLast(count)))
      #expect(header.count <= FrameWriter.headerBytesMax)
    }
  }

  @Test("writes the examples of RFC 6455, section 5.7")
  func examples() {
    let hello = Array("Hello".utf8)
    var bytes: [UInt8] = []
    FrameWriter.appendFrame(.text, mask: nil, payload: hello.span, to: &bytes)
    #expect(bytes == [0x81, 0x05, 0x48, 0x65, 0x6C, 0x6C, 0x6F])
    bytes = []
    FrameWriter.appendFrame(.pong, mask: 0x37FA_213D, payload: hello.span, to: &bytes)
    #expect(bytes == [0x8A, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58])
  }

  @Test("cuts a Close reason to what fits, at a whole character")
  func closePayload() {
    #expect(FrameWriter.closePayload(code: 1001) == [0x03, 0xE9])
    #expect(FrameWriter.closePayload(code: 4999, reason: "no") == [0x13, 0x87, 0x6E, 0x6F])
    let exact = FrameWriter.closePayload(code: 1000, reason: String(repeating: "a", count: 123))
    #expect(exact.count == 125)
    for width in [2, 3, 4] {
      let character = ["é", "€", "𝄞"][width - 2]
      let payload = FrameWriter.closePayload(
        code: 1000, reason: String(repeating: character, count: 100))
      #expect(payload.count == 2 + 123 / width * width)
      #expect(String(validating: payload[2...], as: UTF8.self) != nil)
    }
  }
}
