// A backend that answers an upgrade with anything but 101: its one final response goes to the
// client as an ordinary one, with its body framing, and both connections end. No tunnel arises.

import TLS
import Kernel
import Configuration
import Bytes
import Telemetry
import Wire

extension Worker where K: ~Copyable {
  mutating func relayFinal(_ exchange: SlotID, _ head: ResponseHead, _ attempt: UpgradeAttempt) {
    let edits = route(of: exchange).headers.response
    guard let client = exchanges[exchange].client, let backend = exchanges[exchange].backend,
      let answer = ClientResponse.relayed(
        head, edits: edits, cookie: stickyCookie(exchange), onStream: connections[client].isStream)
    else { return refuse(exchange, .backendAnswerBroken) }
    metrics.add(.backendRefusals)
    exchanges[exchange].phase = .relayingResponse
    handshakesInFlight -= 1
    exchanges[exchange].status = UInt16(clamping: head.status)
    exchanges[exchange].body = BodyFraming(head.bodyFraming)
    setTimeout(
      exchange: exchange, .responseIdle, after: route(of: exchange).timeouts.responseIdle)
    connections[client].pauses.remove(.awaitingAnswer)
    connections[client].input.removeAll()
    updateInterest(client)
    sendHead(client, answer)
    var waiting = ByteQueue()
    swap(&waiting, &connections[backend].input)
    waiting.withSpan { relayBody(exchange, $0) }
  }

  /// Body bytes pass verbatim, to a stream their content; the framing is followed to know the end.
  mutating func relayBody(_ exchange: SlotID, _ bytes: Span<UInt8>) {
    guard let client = exchanges[exchange].client else { return }
    let isStream = connections.contains(client) && connections[client].isStream
    var content: [Range<Int>] = []
    do throws(HTTPViolation) {
      let progress = try exchanges[exchange].body.advance(bytes) { range in
        if isStream, !range.isEmpty { content.append(range) }
      }
      for range in content { send(client, bytes.extracting(range)) }
      switch progress {
      case .needMore:
        exchanges[exchange].relayed[Leg.backend.index] &+= UInt64(bytes.count)
        exchanges[exchange].deadline = now + route(of: exchange).timeouts.responseIdle
        if !isStream { send(client, bytes) }
      case .complete(let consumed):
        exchanges[exchange].relayed[Leg.backend.index] &+= UInt64(consumed)
        if !isStream { send(client, bytes.extracting(0..<consumed)) }
        endRelay(exchange, fault: nil)
      }
    } catch {
      endRelay(exchange, fault: .backendAnswerBroken)
    }
  }

  mutating func relayLegLost(_ exchange: SlotID, _ leg: Leg, _ loss: ConnectionLoss) {
    if leg == .client { return endRelay(exchange, fault: .clientVanished) }
    let isComplete = loss == .endOfStream && exchanges[exchange].body.mayEndHere
    endRelay(exchange, fault: isComplete ? nil : .backendVanished)
  }

  mutating func relayTimedOut(_ exchange: SlotID) { endRelay(exchange, fault: .backendSilent) }

  /// A response that is not whole must not look whole: its client's connection is reset.
  private mutating func endRelay(_ exchange: SlotID, fault: Fault?) {
    if let attempt = exchanges[exchange].attempt {
      accessLog.http(
        attempt.facts, method: attempt.head.methodBytes,
        ResponseFacts(
          status: exchanges[exchange].status, duration: now - exchanges[exchange].startedAt,
          fault: fault?.word, bytes: exchanges[exchange].relayed[Leg.backend.index]),
        wall: kernel.wallClock())
    }
    if let fault { metrics.add(fault.counter) }
    let client = exchanges[exchange].client
    let backend = exchanges[exchange].backend
    detach(exchange, .client)
    detach(exchange, .backend)
    remove(exchange)
    if let backend { closeNow(backend) }
    guard let client else { return }
    if fault == nil { finish(client, lingering: true) } else { abortNow(client) }
  }
}
