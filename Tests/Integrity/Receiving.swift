// What an end receives, held against what the other end has sent: everything once, in order, with
// the same bytes, control frames in the same place; and the gateway's own Pings, none missing.

import Bytes
import Kernel
import Support
import TLS
import Wire

extension Driver {
  mutating func read(_ id: SlotID) {
    input.reset()
    // Small reads now and then, and pauses, so that the gateway has to wait for its readers.
    let limit = random.chance(10) ? random.logUniform(bits: 17) : input.capacity
    switch kernel.receive(ends[id].descriptor, into: input, limit: limit) {
    case .bytes: break
    case .wouldBlock: return
    case .endOfStream: return ended(id)
    case .failed(let error): return fail(id, "read: \(error)")
    }
    if random.below(200) == 0 { restForAWhile(id) }
    if ends[id].tls == nil {
      input.withSpan { received($0, id) }
    } else {
      decrypt(id)
    }
    if ends.contains(id) { partIfOver(id) }
  }

  mutating func restForAWhile(_ id: SlotID) {
    guard let pair = ends[id].pair, ends[id].phase == .open, !ends[id].closeReceived else { return }
    if !pairs[pair].isSlow {
      rest(id, .milliseconds(Int64(random.logUniform(bits: 10))))
    } else if let other = pairs[pair].ends[ends[id].side.other.rawValue], ends.contains(other),
      !ends[other].speaker.isFinished
    {
      rest(id, .seconds(15))
    }
  }

  private mutating func decrypt(_ id: SlotID) {
    plaintext.reset()
    records.reset()
    let progress = input.withSpan {
      ends[id].tls?.receive($0, now: now, plaintext: plaintext, output: records)
    }
    records.withSpan { ends[id].wire.append($0) }
    if ends[id].phase == .securing, ends[id].tls?.isEstablished == true { ask(id) }
    if !plaintext.isEmpty { plaintext.withSpan { received($0, id) } }
    guard ends.contains(id) else { return }
    switch progress {
    case .closed: ended(id)
    case .failed(let failure): fail(id, "TLS: \(failure)")
    case .handshaking, .established, nil: break
    }
  }

  private mutating func received(_ bytes: Span<UInt8>, _ id: SlotID) {
    if ends[id].phase == .upgrading {
      headReceived(bytes, id)
    } else {
      framesReceived(bytes, id)
    }
  }

  mutating func framesReceived(_ bytes: Span<UInt8>, _ id: SlotID) {
    var position = 0
    while ends.contains(id), position < bytes.count {
      if ends[id].closeReceived { return fail(id, "bytes after a Close") }
      switch ends[id].assembler.receive(bytes, from: position) {
      case .needMore: return
      case .message(let opcode, let end):
        position = end
        messageReceived(opcode, id)
      case .control(let opcode, let end):
        position = end
        controlReceived(opcode, id)
      case .violation(let violation): return fail(id, "broken frames: \(violation.word)")
      }
    }
  }

  private mutating func messageReceived(_ opcode: Opcode, _ id: SlotID) {
    guard let pair = ends[id].pair else { return }
    let sender = ends[id].side.other
    let identity = Identity(pair: pair, side: sender, number: flow(pair, sender).delivered)
    let message = ends[id].assembler.message
    let isText = opcode == .text
    guard let hash = Payload.check(message.span, isText: isText, identity) else {
      let what = Payload.describe(message, isText: isText)
      return fail(id, "instead of message \(identity.number): \(opcode), \(what)")
    }
    arrived(Item(opcode: opcode, count: message.count, hash: hash), id)
    if ends.contains(id) { closeIfDone(id) }
  }

  /// Takes `item` off the list of what is to arrive; it must be the next.
  private mutating func arrived(_ item: Item, _ id: SlotID) {
    guard let pair = ends[id].pair else { return }
    let sender = ends[id].side.other
    if flows[pair * 2 + sender.rawValue].arrived(item) { return }
    let next = flow(pair, sender).next
    fail(id, "got \(item), next was \(next.map { "\($0)" } ?? "nothing")")
  }

  // MARK: Control frames

  private mutating func controlReceived(_ opcode: Opcode, _ id: SlotID) {
    let payload = ends[id].assembler.control
    let item = Item.control(opcode, payload, offset: ends[id].assembler.message.count)
    switch opcode {
    case .ping: pingReceived(payload, item, id)
    case .pong:
      arrived(item, id)
      guard ends.contains(id) else { return }
      tally.pongs += 1
      ends[id].speaker.pingsUnanswered -= 1
      closeIfDone(id)
    case .close: closeReceived(payload, item, id)
    case .continuation, .text, .binary: break
    }
  }

  private mutating func pingReceived(_ payload: [UInt8], _ item: Item, _ id: SlotID) {
    guard let pair = ends[id].pair else { return }
    if flow(pair, ends[id].side.other).next == item {
      arrived(item, id)
      sendControl(.pong, payload, id)
      return
    }
    // Not the other end's, so the gateway's: a tag of its process, then 1, 2, 3 and so on.
    let number = payload.dropFirst(4).reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
    let tag = gatewayTag ?? Array(payload.prefix(4))
    gatewayTag = tag
    guard payload.count == 8, payload.starts(with: tag), number == ends[id].gatewayPings + 1 else {
      return fail(id, "a Ping that nobody sent: \(payload.prefix(8)) of \(payload.count)")
    }
    ends[id].gatewayPings = number
    tally.gatewayPings += 1
    if item.offset > 0 { tally.gatewayPingsInMessages += 1 }
    if ends[id].closeSent { return }
    tally.gatewayPongs += 1
    sendControl(.pong, payload, id, endsAtGateway: true)
  }

  private mutating func closeReceived(_ payload: [UInt8], _ item: Item, _ id: SlotID) {
    arrived(item, id)
    guard ends.contains(id) else { return }
    ends[id].closeReceived = true
    if ends[id].closeSent { return }
    guard isDone(id) else { return fail(id, "a Close before everything had arrived") }
    ends[id].closeSent = true
    sendControl(.close, payload, id)
  }

  /// The gateway's end of stream: of the connection, or of the HTTP/2 stream.
  mutating func ended(_ id: SlotID) {
    guard ends[id].closeSent, ends[id].closeReceived, !ends[id].hasOutput else {
      return fail(id, "the gateway closed the connection")
    }
    finishStream(id)
    finish(id)
  }
}
