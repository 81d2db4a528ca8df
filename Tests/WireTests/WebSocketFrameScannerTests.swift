import Bytes
import Testing
import Wire

@Suite("The frame scanner")
struct WebSocketFrameScannerTests {
  @Test("gives every stream its verdict, however it is split", arguments: FrameCases.all)
  func verdicts(_ example: FrameCase) {
    let whole = relay([example.bytes], through: example.scanner)
    switch example.expectation {
    case .passes(let messages, let controls):
      #expect(whole.violation == nil)
      #expect(whole.forwarded == example.bytes)
      #expect(whole.messages == messages)
      #expect(whole.controls.count == controls)
    case .violates(let violation, let at):
      #expect(whole.violation == violation)
      #expect(whole.violationAt == at)
      #expect(whole.forwarded == Array(example.bytes[..<at]))
    }
    for chunks in everySplit(of: example.bytes) {
      #expect(relay(chunks, through: example.scanner) == whole)
    }
  }

  @Test("messages are told apart by kind, at every byte of the stream")
  func tally() {
    let frames: [(opcode: UInt8, isFinal: Bool, count: Int)] = [
      (1, true, 3), (2, true, 200), (2, false, 4), (0, true, 5), (1, false, 0), (0, false, 7),
      (0, true, 1), (1, true, 130), (2, true, 0), (1, true, 0),
    ]
    var scanner = FrameScanner(expectsMask: false, allowsRSV1: false, messageBytesMax: 1 << 20)
    // Messages and bytes, of text and of binary.
    var expected: [[UInt64]] = [[0, 0], [0, 0]]
    var kind = 0
    for frame in frames {
      if frame.opcode != 0 { kind = frame.opcode == 1 ? 0 : 1 }
      let header: [UInt8] =
        frame.count < 126 ? [UInt8(frame.count)] : [126, 0, UInt8(frame.count)]
      let head: [UInt8] = [frame.opcode | (frame.isFinal ? 0x80 : 0)] + header
      #expect(scanner.scan(head.span, from: 0) == .needMore(passable: head.count))
      for _ in 0..<frame.count {
        #expect(scanner.scan([0x2A].span, from: 0) == .needMore(passable: 1))
        expected[kind][1] += 1
        if scanner.payloadRemaining > 0 { #expect(numbers(scanner.tally) == expected) }
      }
      if frame.isFinal { expected[kind][0] += 1 }
      #expect(numbers(scanner.tally) == expected)
    }
    #expect(scanner.messages == expected[0][0] + expected[1][0])
  }

  private func numbers(_ tally: FrameTally) -> [[UInt64]] {
    [[tally.textMessages, tally.textBytes], [tally.binaryMessages, tally.binaryBytes]]
  }

  @Test("the table is as large as it is meant to be")
  func tableSize() { #expect(FrameCases.all.count >= 1250) }

  @Test("holds back an unfinished header and an unfinished control frame, and nothing else")
  func heldBack() {
    let stream =
      RawFrame(opcode: 2, payload: [UInt8](repeating: 1, count: 70_000)).bytes
      + RawFrame(opcode: 9, payload: [UInt8](repeating: 2, count: 125)).bytes
      + RawFrame(opcode: 1, payload: [UInt8](repeating: 3, count: 200)).bytes
    let data = 14 + 70_000
    let ping = data + 6 + 125
    for cut in Array(0..<100) + Array(data - 50..<stream.count) {
      let scanner = FrameScanner(expectsMask: true, allowsRSV1: false, messageBytesMax: 1 << 20)
      let result = relay([Array(stream[..<cut])], through: scanner)
      let expected =
        switch cut {
        case 0..<14: cut
        case 14...data: 0
        case data..<ping: cut - data
        case ping..<ping + 8: cut - ping
        default: 0
        }
      #expect(result.held == expected, "cut at \(cut)")
      let isBetweenFrames = cut < 14 || (data..<ping + 8).contains(cut) || cut == stream.count
      #expect(result.isAtFrameBoundary == isBetweenFrames, "cut at \(cut)")
    }
  }

  @Test(
    "refuses an illegal header with the byte that makes it so",
    arguments: [
      ([0xB2], .reservedBits), ([0x83], .reservedOpcode), ([0x09], .controlFragmented),
      ([0x80], .unexpectedContinuation), ([0x82, 0x05], .notMasked),
      ([0x89, 0xFE], .controlTooLong),
      ([0x88, 0x81], .closePayloadTooShort), ([0x82, 0xFF, 0x80], .lengthTooLong),
      ([0x82, 0xFE, 0, 125], .lengthNotMinimal),
      ([0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], .lengthNotMinimal),
      ([0x82, 0xFE, 1, 1], .messageTooBig),
    ] as [([UInt8], WebSocketViolation)])
  func early(_ header: [UInt8], _ violation: WebSocketViolation) {
    let scanner = FrameScanner(expectsMask: true, allowsRSV1: true, messageBytesMax: 256)
    #expect(relay([header], through: scanner).violation == violation)
    let before = relay([header.dropLast()], through: scanner)
    #expect(before.violation == nil)
    #expect(before.held == header.count - 1)
  }

  @Test("knows which of the 65,536 close codes may be sent")
  func closeCodes() {
    let never = Set(0...999).union(1004...1006).union(1015...2999)
    for code in 0...65_535 {
      let frame = RawFrame(opcode: 8, mask: nil, payload: [UInt8(code >> 8), UInt8(code & 255)])
      let scanner = FrameScanner(expectsMask: false, allowsRSV1: false, messageBytesMax: 0)
      let result = relay([frame.bytes], through: scanner)
      if never.contains(code) {
        #expect(result.violation == .closeCodeInvalid)
      } else {
        #expect(result.controls.first?.closeCode == UInt16(code))
      }
    }
  }

  @Test("lends the unmasked payload of control frames and the reason of a Close")
  func payloads() {
    let reason = Array("tschüß".utf8)
    for mask in [[0xDE, 0xAD, 0xBE, 0xEF], nil] as [[UInt8]?] {
      var scanner = FrameScanner(
        expectsMask: mask != nil, allowsRSV1: false, messageBytesMax: 100)
      let ping = RawFrame(opcode: 9, mask: mask, payload: Array(0..<125)).bytes
      let bytes = ping + RawFrame(opcode: 8, mask: mask, payload: [0x0F, 0xA0] + reason).bytes
      guard case .control(let first) = scanner.scan(bytes.span, from: 0) else {
        Issue.record("no Ping")
        continue
      }
      #expect(octets(first.payload(in: bytes.span)) == Array(0..<125))
      #expect(octets(first.closeReason(in: bytes.span)).isEmpty)
      #expect(first.closeCode == nil)
      guard case .control(let second) = scanner.scan(bytes.span, from: first.end) else {
        Issue.record("no Close")
        continue
      }
      #expect(second.closeCode == 4000)
      #expect(octets(second.closeReason(in: bytes.span)) == reason)
      #expect(octets(second.payload(in: bytes.span)) == [0x0F, 0xA0] + reason)
      #expect(second.payloadCount == 2 + reason.count)
    }
  }

  @Test("counts payload as it passes, and a message when its last byte has")
  func counts() {
    let stream =
      RawFrame(fin: false, opcode: 2, payload: [1, 2, 3]).bytes
      + RawFrame(opcode: 9, payload: [4, 5]).bytes + RawFrame(opcode: 0, payload: [6, 7]).bytes
    let expected: [(fed: Int, payload: UInt64, messages: UInt64)] = [
      (5, 0, 0), (6, 0, 0), (7, 1, 0), (9, 3, 0), (17, 3, 0), (23, 3, 0), (24, 4, 0), (25, 5, 1),
    ]
    for (fed, payload, messages) in expected {
      let scanner = FrameScanner(expectsMask: true, allowsRSV1: false, messageBytesMax: 100)
      let result = relay([Array(stream[..<fed])], through: scanner)
      #expect(result.payloadBytes == payload, "after \(fed) bytes")
      #expect(result.messages == messages, "after \(fed) bytes")
    }
  }

  @Test("tells the same violation again when asked again")
  func violationStays() {
    let bytes = RawFrame(opcode: 1, payload: [1]).bytes + [0x83, 0x80]
    var scanner = FrameScanner(expectsMask: true, allowsRSV1: false, messageBytesMax: 100)
    let first = scanner.scan(bytes.span, from: 0)
    #expect(first == .violation(.reservedOpcode, at: 7))
    #expect(scanner.scan(bytes.span, from: 7) == first)
  }

  @Test("passes random legal streams verbatim over random splits", arguments: 0..<300)
  func randomStreams(seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    let side = Bool.random(using: &random)
    var stream: [UInt8] = []
    var boundaries: Set<Int> = [0]
    var (messages, payload, controls): (UInt64, UInt64, Int) = (0, 0, 0)
    var open = false
    for _ in 0..<Int.random(in: 1...30, using: &random) {
      let isControl = Int.random(in: 0..<4, using: &random) == 0
      let count = Int.random(in: 0...(isControl ? 125 : 300), using: &random)
      var frame = RawFrame(opcode: isControl ? 9 : open ? 0 : 2)
      frame.payload = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
      frame.mask =
        side ? (0..<4).map { _ in UInt8.random(in: 0...255, using: &random) } : nil
      if isControl {
        controls += 1
      } else {
        frame.fin = Bool.random(using: &random)
        open = !frame.fin
        messages += frame.fin ? 1 : 0
        payload += UInt64(count)
      }
      stream += frame.bytes
      boundaries.insert(stream.count)
    }
    let chunks = randomSplit(of: stream, using: &random)
    let scanner = FrameScanner(expectsMask: side, allowsRSV1: false, messageBytesMax: 1 << 20)
    for end in 0...chunks.count {
      let result = relay(Array(chunks[..<end]), through: scanner)
      let fed = chunks[..<end].joined().count
      #expect(result.violation == nil)
      #expect(result.forwarded == Array(stream[..<(fed - result.held)]))
      #expect(result.isAtFrameBoundary == boundaries.contains(fed - result.held))
    }
    let result = relay(chunks, through: scanner)
    #expect(result.forwarded == stream)
    #expect(result.messages == messages)
    #expect(result.payloadBytes == payload)
    #expect(result.controls.count == controls)
  }

  @Test("gives random bytes one verdict over all splits", arguments: 0..<1000)
  func garbage(seed: UInt64) {
    var random = SeededGenerator(seed: seed &+ 7_000_000)
    // Some begin well, so that the garbage is met in other states as well.
    let opening = [[], RawFrame(fin: false, opcode: 1, payload: [1, 2]).bytes].randomElement(
      using: &random)!
    let noise = (0..<Int.random(in: 0...80, using: &random)).map { _ in
      // Small opcodes and lengths, or most streams would end with their first byte.
      UInt8.random(in: 0...255, using: &random) & [0xFF, 0x8F, 0x83].randomElement(using: &random)!
    }
    let stream = opening + noise
    let scanner = FrameScanner(
      expectsMask: Bool.random(using: &random) || !opening.isEmpty,
      allowsRSV1: Bool.random(using: &random), messageBytesMax: 100)
    let whole = relay([stream], through: scanner)
    for chunks in everySplit(of: stream) { #expect(relay(chunks, through: scanner) == whole) }
  }

  private func randomSplit(
    of stream: [UInt8], using random: inout SeededGenerator
  ) -> [[UInt8]] {
    var chunks: [[UInt8]] = []
    var rest = stream[...]
    while !rest.isEmpty {
      let most = [1, 3, 20, 500].randomElement(using: &random)!
      let chunk = rest.prefix(Int.random(in: 1...most, using: &random))
      chunks.append(Array(chunk))
      rest = rest.dropFirst(chunk.count)
    }
    return chunks
  }
}
