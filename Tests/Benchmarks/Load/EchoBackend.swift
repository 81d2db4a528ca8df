// The backend behind the proxy: a server that answers upgrades with the right accept value and sends
// every frame back unmasked, piece by piece, without collecting messages.

import Bytes
import Kernel

extension Driver {
  mutating func acceptAll() {
    guard let listener else { return }
    for _ in 0..<64 {
      switch kernel.accept(listener) {
      case .accepted(let descriptor, _): adopt(descriptor)
      case .retry: continue
      case .wouldBlock: return
      case .failed(let error): return results.note(failure: "accept: \(error)")
      }
    }
  }

  private mutating func adopt(_ descriptor: Descriptor) {
    guard let id = links.insert(Link(descriptor, .backend, .upgrading, .read)) else {
      kernel.close(descriptor)
      return results.note(failure: "the backend has no room")
    }
    _ = kernel.watch(descriptor, .read, token: id.packed)
  }

  mutating func asked(_ head: [UInt8], _ id: SlotID) {
    guard let answer = Upgrade.answer(head) else { return fail(id, "a request without a key") }
    output.append(answer)
  }

  mutating func backendReceived(_ bytes: Span<UInt8>, from start: Int, _ id: SlotID) {
    var position = start
    while links[id].phase == .open {
      switch links[id].cursor.next(bytes, at: &position) {
      case .needMore: return
      case .header(let opcode, let final, let length):
        let echo = opcode == 9 ? 10 : opcode
        output.append(Frames.header(opcode: echo, final: final, count: length, mask: nil).span)
        links[id].closes = opcode == 8
        if length == 0 { frameEchoed(id) }
      case .payload(let range, let ends):
        let phase = links[id].cursor.payloadOffset - range.count
        Mask.append(
          bytes.extracting(range), key: links[id].cursor.mask, phase: phase, to: output)
        if ends { frameEchoed(id) }
      }
    }
  }

  /// After the echo of a Close the server is the one that closes the connection (RFC 6455 7.1.1).
  private mutating func frameEchoed(_ id: SlotID) {
    if links[id].closes { links[id].phase = .closing }
  }
}
