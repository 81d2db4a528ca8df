import Bytes
import Testing
import Wire

@Suite("The message assembler")
struct WebSocketMessageAssemblerTests {
  /// Everything an endpoint is told.
  struct Received: Equatable {
    var events: [Event] = []
    var violation: WebSocketViolation?
  }
  struct Event: Equatable {
    var opcode: Opcode
    var payload: [UInt8]
    var closeCode: UInt16?
    init(_ opcode: Opcode, _ payload: [UInt8], _ closeCode: UInt16? = nil) {
      (self.opcode, self.payload, self.closeCode) = (opcode, payload, closeCode)
    }
  }

  static func receive(
    _ chunks: [[UInt8]], expectsMask: Bool = true, messageBytesMax: UInt64 = 1 << 20
  ) -> Received {
    var assembler = MessageAssembler(expectsMask: expectsMask, messageBytesMax: messageBytesMax)
    var received = Received()
    for chunk in chunks {
      var at = 0
      receiving: while true {
        switch assembler.receive(chunk.span, from: at) {
        case .needMore:
          break receiving
        case .message(let opcode, let end):
          received.events.append(Event(opcode, assembler.message))
          at = end
        case .control(let opcode, let end):
          received.events.append(Event(opcode, assembler.control, assembler.closeCode))
          at = end
          if opcode == .close { return received }
        case .violation(let violation):
          received.violation = violation
          return received
        }
      }
    }
    return received
  }

  static func checkSplits(_ stream: [UInt8], _ expected: Received) {
    for chunks in everySplit(of: stream) { #expect(receive(chunks) == expected) }
  }

  static func frame(_ opcode: UInt8, _ payload: [UInt8], fin: Bool = true) -> [UInt8] {
    RawFrame(fin: fin, opcode: opcode, payload: payload).bytes
  }

  @Test("joins fragments and reports what comes between them, however it is split")
  func fragments() {
    let stream =
      Self.frame(1, Array("Grü".utf8).dropLast(), fin: false) + Self.frame(9, [1, 2, 3])
      + Self.frame(0, [], fin: false) + Self.frame(10, [])
      + Self.frame(0, Array("Grüße".utf8.dropFirst(3))) + Self.frame(2, [0xFF, 0xFE])
      + Self.frame(1, []) + Self.frame(8, [0x03, 0xE8, 0x62])
      + Self.frame(1, [0x61])
    Self.checkSplits(
      stream,
      Received(events: [
        Event(.ping, [1, 2, 3]), Event(.pong, []), Event(.text, Array("Grüße".utf8)),
        Event(.binary, [0xFF, 0xFE]), Event(.text, []), Event(.close, [0x03, 0xE8, 0x62], 1000),
      ]))
  }

  @Test("long messages come whole", arguments: [126, 65_535, 65_536, 200_000])
  func long(_ count: Int) {
    let payload = (0..<count).map { UInt8($0 % 251) }
    Self.checkSplits(Self.frame(2, payload), Received(events: [Event(.binary, payload)]))
  }

  @Test(
    "refuses text that is not UTF-8",
    arguments: [
      [Self.frame(1, [0x61, 0x80])],
      [Self.frame(1, [0xE2, 0x82])],
      [Self.frame(1, [0xE2, 0x82], fin: false), Self.frame(0, [0x61])],
      [Self.frame(1, [0xE2, 0x82], fin: false), Self.frame(9, []), Self.frame(0, [])],
      [Self.frame(1, [0x61], fin: false), Self.frame(0, [0xED, 0xA0, 0x80])],
    ])
  func badText(_ frames: [[UInt8]]) {
    for chunks in everySplit(of: Array(frames.joined())) {
      #expect(Self.receive(chunks).violation == .textNotUTF8)
    }
  }

  @Test("refuses bad text before its frame is complete")
  func failsFast() {
    let frame = Self.frame(1, [0x61, 0xC0] + [UInt8](repeating: 0x62, count: 1000))
    #expect(Self.receive([Array(frame[..<9])]).violation == nil)
    #expect(Self.receive([Array(frame[..<10])]).violation == .textNotUTF8)
  }

  @Test("binary messages need not be text, and text after them is read afresh")
  func binary() {
    let stream =
      Self.frame(2, [0xE2], fin: false) + Self.frame(0, [0x82]) + Self.frame(1, [0x61])
    Self.checkSplits(
      stream, Received(events: [Event(.binary, [0xE2, 0x82]), Event(.text, [0x61])]))
  }

  @Test("holds peers to the same rules as the scanner", arguments: FrameCases.all)
  func rules(_ example: FrameCase) {
    guard !example.allowsRSV1 else { return }
    for chunks in [[example.bytes], example.bytes.map { [$0] }] {
      let received = Self.receive(
        chunks, expectsMask: example.side == .client, messageBytesMax: example.limit)
      switch example.expectation {
      case .passes(let messages, let controls):
        // Its tables send octets that are not always text.
        if received.violation == .textNotUTF8 { continue }
        #expect(received.violation == nil)
        #expect(received.events.filter { $0.opcode.isControl }.count == controls)
        #expect(received.events.filter { !$0.opcode.isControl }.count == Int(messages))
      case .violates(let violation, _):
        #expect(received.violation == violation || received.violation == .textNotUTF8)
      }
    }
  }

  @Test("reads what the writer wrote, both ways, over random splits", arguments: 0..<100)
  func roundTrip(seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    let isMasked = Bool.random(using: &random)
    var stream: [UInt8] = []
    var expected: [Event] = []
    for _ in 0..<10 {
      let payload = (0..<Int.random(in: 0...400, using: &random)).map { _ in
        UInt8.random(in: 0...127, using: &random)
      }
      let opcode = [Opcode.text, .binary].randomElement(using: &random)!
      expected.append(Event(opcode, payload))
      var rest = payload[...]
      var first = true
      repeat {
        let part = rest.prefix(Int.random(in: 0...200, using: &random))
        rest = rest.dropFirst(part.count)
        FrameWriter.appendFrame(
          first ? opcode : .continuation, fin: rest.isEmpty,
          mask: isMasked ? UInt32.random(in: 0 ... .max, using: &random) : nil, payload: part.span,
          to: &stream)
        first = false
      } while !rest.isEmpty
    }
    var chunks: [[UInt8]] = []
    var rest = stream[...]
    while !rest.isEmpty {
      chunks.append(Array(rest.prefix(Int.random(in: 1...90, using: &random))))
      rest = rest.dropFirst(chunks[chunks.count - 1].count)
    }
    #expect(Self.receive(chunks, expectsMask: isMasked) == Received(events: expected))
  }
}
