// The client side: opens connections through the proxy, keeps the wanted number of messages under
// way on each, or opens and closes as fast as the proxy lets it.

import Bytes
import Kernel
import TLS

/// Where the clients stand.
struct Clients {
  /// Sockets that exist, and those of them whose handshake is done.
  var alive = 0
  var open = 0
  /// Messages are (to be) sent.
  var driving = false
}

extension Driver {
  /// Starts one more connection; false when that is impossible.
  mutating func startClient() -> Bool {
    if let streams = options.streams { return startStream(of: streams) }
    guard let descriptor = connect() else { return false }
    var link = Link(descriptor, .client, .connecting, .write)
    link.begun[0] = now.nanoseconds
    link.tls = session()
    guard let id = links.insert(link) else {
      kernel.close(descriptor)
      return false
    }
    clients.alive += 1
    return kernel.watch(descriptor, .write, token: id.packed)
  }

  /// A socket on its way to the proxy.
  mutating func connect() -> Descriptor? {
    guard let target = options.target else { return nil }
    switch kernel.connect(target) {
    case .connected(let made), .inProgress(let made): return made
    case .failed(let error):
      results.note(failure: "connect: \(error)")
      return nil
    }
  }

  func session() -> TLSSession? {
    guard let tlsContext else { return nil }
    return TLSSession(client: tlsContext, serverName: options.host)
  }

  mutating func connected(_ id: SlotID) {
    if let error = kernel.pendingError(links[id].descriptor) {
      return fail(id, "connect: \(error)")
    }
    output.reset()
    if links[id].tls == nil {
      links[id].phase = .upgrading
      output.append(request)
    } else {
      links[id].phase = .securing
      wire.reset()
      _ = links[id].tls?.start(output: wire)
      wire.withSpan { links[id].pending.append($0) }
    }
    transmit(id)
  }

  mutating func secured(_ id: SlotID) {
    links[id].phase = .upgrading
    output.append(request)
  }

  mutating func answered(_ head: [UInt8], _ id: SlotID) {
    guard Upgrade.isAccepted(head) else {
      let line = head.prefix { $0 != 13 }
      return fail(id, "refused: " + String(decoding: line, as: UTF8.self))
    }
    accepted(id)
  }

  mutating func accepted(_ id: SlotID) {
    clients.open += 1
    if options.mode == .open {
      let close = Frames.header(opcode: 8, final: true, count: 2, mask: 0)
      output.append(close + [0x03, 0xe8])
    } else if clients.driving {
      drive(id)
    }
  }

  /// Allows the first messages of an open connection to go out.
  mutating func drive(_ id: SlotID) {
    for _ in 0..<options.inFlight { links[id].noteBegun(now) }
  }

  /// Sends the messages a client owes; false when the link is gone or the socket full.
  mutating func sendOwed(_ id: SlotID) -> Bool {
    if links[id].tls != nil { return sendOwedSecured(id) }
    while links[id].owed > 0 {
      let descriptor = links[id].descriptor
      let sent = links[id].sentOfMessage
      let outcome = message.withSpan {
        kernel.send(descriptor, $0.extracting(sent..<$0.count))
      }
      switch outcome {
      case .bytes(let count):
        links[id].sentOfMessage += count
        if links[id].sentOfMessage == message.count {
          links[id].sentOfMessage = 0
          links[id].owed -= 1
        }
      case .wouldBlock:
        settle(id, [.read, .write])
        return false
      case .endOfStream, .failed:
        ended(id)
        return false
      }
    }
    return true
  }

  private mutating func sendOwedSecured(_ id: SlotID) -> Bool {
    while links[id].owed > 0 {
      wire.reset()
      _ = message.withSpan { links[id].tls?.send($0, output: wire) }
      wire.withSpan { links[id].pending.append($0) }
      links[id].owed -= 1
    }
    let outcome = Link.send(&links[id], on: &kernel)
    if case .bytes(let count) = outcome { links[id].pending.consume(count) }
    if links[id].pending.isEmpty { return true }
    settle(id, [.read, .write])
    return false
  }

  mutating func clientReceived(_ bytes: Span<UInt8>, from start: Int, _ id: SlotID) {
    var position = start
    while links[id].phase == .open {
      switch links[id].cursor.next(bytes, at: &position) {
      case .needMore: return
      case .header(let opcode, let final, let length):
        links[id].closes = opcode == 8
        links[id].counts = final && opcode < 8
        if opcode < 8 { links[id].echoed += length }
        beginPong(opcode, length, id)
        if length == 0 { frameReceived(id) }
      case .payload(let range, let ends):
        if links[id].answersPing { output.append(bytes.extracting(range)) }
        if ends { frameReceived(id) }
      }
    }
  }

  /// A Ping is answered unless a message of ours is half sent: then that message shows we live.
  private mutating func beginPong(_ opcode: UInt8, _ length: Int, _ id: SlotID) {
    links[id].answersPing = opcode == 9 && links[id].sentOfMessage == 0
    guard links[id].answersPing else { return }
    output.append(Frames.header(opcode: 10, final: true, count: length, mask: 0))
  }

  private mutating func frameReceived(_ id: SlotID) {
    if links[id].closes {
      links[id].phase = .closing
    } else if links[id].counts {
      messageReceived(id)
    }
  }

  private mutating func messageReceived(_ id: SlotID) {
    guard links[id].echoed == options.size, links[id].underWay > 0 else {
      results.note(failure: "an echo of \(links[id].echoed) bytes")
      return
    }
    links[id].echoed = 0
    let time = kernel.now()
    results.note(took: links[id].noteEchoed(time))
    if clients.driving { links[id].noteBegun(time) }
  }

  mutating func clientEnded(_ id: SlotID) {
    if links[id].phase == .closing {
      results.note(took: now.nanoseconds - links[id].begun[0])
      clients.alive -= 1
      return drop(id)
    }
    fail(id, "the proxy closed a connection")
  }
}
