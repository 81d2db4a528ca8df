// The sending half of one end: which frame comes next. It makes messages, cuts them into fragments
// and puts Pings between them; where the bytes go is the driver's business.

import Bytes
import Support
import Wire

struct Speaker {
  private var identity: Identity
  private var random: SeededRandom
  /// Messages not begun.
  private var messagesLeft: Int
  private var opcode = Opcode.binary
  private var payload: [UInt8] = []
  private var hash: UInt64 = 0
  /// Payload bytes of the open message that are in frames already.
  private(set) var position = 0
  private var fragmentsLeft = 0
  private var nextPing: MonotonicTime
  /// Pings of ours without their Pong.
  var pingsUnanswered = 0

  init(pair: Int, side: Side, messages: Int, seed: UInt64, now: MonotonicTime) {
    identity = Identity(pair: pair, side: side, number: -1)
    var mixed = SeededRandom(seed: seed ^ identity.sender &* 0x9e37_79b9_7f4a_7c15)
    random = SeededRandom(seed: mixed.next())
    messagesLeft = messages
    nextPing = now + TimeSpan(nanoseconds: random.pingPause())
  }

  var isFinished: Bool { messagesLeft == 0 && fragmentsLeft == 0 }

  /// Appends the next frame. Returns what it completes: a message or a Ping; nil for a fragment.
  mutating func speak(_ now: MonotonicTime, _ sea: Sea, to frames: SharedBuffer) -> Item? {
    if now >= nextPing {
      nextPing = now + TimeSpan(nanoseconds: random.pingPause())
      pingsUnanswered += 1
      return control(.ping, random.pingPayload(), to: frames)
    }
    let isFirst = fragmentsLeft == 0
    if isFirst { begin(sea) }
    fragmentsLeft -= 1
    let isLast = fragmentsLeft == 0
    let missing = payload.count - position
    let count = isLast ? missing : random.below(missing + 1)
    FrameWriter.appendFrame(
      isFirst ? opcode : .continuation, fin: isLast, mask: mask(),
      payload: payload.span.extracting(position..<position + count), to: frames)
    position = isLast ? 0 : position + count
    return isLast ? Item(opcode: opcode, count: payload.count, hash: hash) : nil
  }

  private mutating func begin(_ sea: Sea) {
    messagesLeft -= 1
    identity.number += 1
    fragmentsLeft = random.fragmentCount()
    opcode = random.chance(25) ? .text : .binary
    hash = Payload.make(
      &payload, count: random.messageSize(), isText: opcode == .text, identity, sea, &random)
  }

  /// Appends a control frame; it stands where the message under way has got to.
  mutating func control(_ opcode: Opcode, _ payload: [UInt8], to frames: SharedBuffer) -> Item {
    FrameWriter.appendFrame(opcode, mask: mask(), payload: payload.span, to: frames)
    return Item.control(opcode, payload, offset: position)
  }

  /// A client's frames carry a fresh mask each.
  private mutating func mask() -> UInt32? {
    identity.side == .client ? UInt32(truncatingIfNeeded: random.next()) : nil
  }
}

extension Item {
  static func control(_ opcode: Opcode, _ payload: [UInt8], offset: Int) -> Item {
    let nobody = Identity(pair: 0, side: .client, number: 0)
    return Item(
      opcode: opcode, count: payload.count, hash: Payload.hash(payload.span, from: 0, nobody),
      offset: offset)
  }
}
