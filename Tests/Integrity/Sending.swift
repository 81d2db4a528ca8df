// What an end sends and in which pieces: batches of frames, cut anywhere, so that what the gateway
// reads begins and ends in the middle of headers, payloads and control frames.

import Bytes
import Kernel
import Support
import Wire

extension Driver {
  /// Of every batch a dribbling end sends so many bytes in segments of 1 to 7.
  private static let dribbledMax = 256

  /// Sends one segment; the rest waits for the next turn, so that segments stay apart.
  mutating func write(_ id: SlotID) {
    if !ends[id].hasOutput { refill(id) }
    if ends[id].tls != nil, ends[id].wire.isEmpty, !ends[id].pending.isEmpty {
      End.encrypt(&ends[id], segment(id, ends[id].pending.count), records)
    }
    let waiting = ends[id].tls == nil ? ends[id].pending.count : ends[id].wire.count
    guard waiting > 0 else { return }
    let count = segment(id, waiting)
    switch send(id, count) {
    case .bytes(let taken):
      ends[id].lastSent = now
      tally.segments += 1
      ends[id].sentOfBatch = ends[id].hasOutput ? ends[id].sentOfBatch + taken : 0
    case .wouldBlock: return
    case .endOfStream, .failed: return fail(id, "the gateway took no more")
    }
    if !ends[id].hasOutput { partIfOver(id) }
  }

  private mutating func send(_ id: SlotID, _ count: Int) -> IOOutcome {
    if ends[id].place != nil { return sendOnStream(id, count) }
    return End.send(&ends[id], count, on: &kernel)
  }

  private mutating func segment(_ id: SlotID, _ count: Int) -> Int {
    if ends[id].isDribbling, ends[id].sentOfBatch < Driver.dribbledMax {
      return min(count, 1 + random.below(7))
    }
    return random.chance(60) ? count : 1 + random.below(count)
  }

  private mutating func refill(_ id: SlotID) {
    guard ends[id].phase == .open, let pair = ends[id].pair, !ends[id].speaker.isFinished else {
      return
    }
    frames.reset()
    let wanted = ends[id].isDribbling ? 1 : random.logUniform(bits: 16)
    while frames.count < wanted, !ends[id].speaker.isFinished {
      tally.frames += 1
      guard let item = ends[id].speaker.speak(now, sea, to: frames) else { continue }
      sent(item, pair, ends[id].side)
    }
    frames.withSpan { ends[id].pending.append($0) }
    closeIfDone(id)
  }

  private mutating func sent(_ item: Item, _ pair: Int, _ side: Side) {
    flows[pair * 2 + side.rawValue].sent(item)
    switch item.opcode {
    case .ping: tally.pings += 1
    case .pong, .continuation: break
    case .close: tally.closes += 1
    case .text, .binary:
      tally.messages[side.rawValue] += 1
      tally.bytes[side.rawValue] += item.count
    }
  }

  /// Queues a control frame behind what waits. One that answers the gateway itself goes no further
  /// than there, so nobody expects it.
  mutating func sendControl(
    _ opcode: Opcode, _ payload: [UInt8], _ id: SlotID, endsAtGateway: Bool = false
  ) {
    guard let pair = ends[id].pair else { return }
    frames.reset()
    let item = ends[id].speaker.control(opcode, payload, to: frames)
    frames.withSpan { ends[id].pending.append($0) }
    if !endsAtGateway { sent(item, pair, ends[id].side) }
  }

  // MARK: The end

  /// The end that is to close does so when it has said and heard everything.
  mutating func closeIfDone(_ id: SlotID) {
    guard let pair = ends[id].pair, pairs[pair].isClosedBy == ends[id].side, isDone(id),
      !ends[id].closeSent
    else { return }
    ends[id].closeSent = true
    sendControl(.close, closePayload(), id)
  }

  func isDone(_ id: SlotID) -> Bool {
    guard let pair = ends[id].pair else { return false }
    return ends[id].speaker.isFinished && ends[id].speaker.pingsUnanswered == 0
      && flow(pair, ends[id].side.other).delivered == pairs[pair].messages
  }

  private mutating func closePayload() -> [UInt8] {
    switch random.below(4) {
    case 0: []
    case 1: FrameWriter.closePayload(code: 1_000)
    case 2: FrameWriter.closePayload(code: 1_001, reason: "genug für heute")
    default:
      FrameWriter.closePayload(
        code: UInt16(3_000 + random.below(2_000)),
        reason: String(repeating: "r", count: random.below(124)))
    }
  }

  /// The server closes the connection first (RFC 6455 7.1.1): the backend here, the gateway there.
  mutating func partIfOver(_ id: SlotID) {
    guard ends[id].side == .backend, ends[id].closeSent, ends[id].closeReceived,
      !ends[id].hasOutput
    else { return }
    finish(id)
  }
}
