// The echo backend of `bascule echo` and `bascule demo`: a WebSocket server as a legacy application
// would be one, over HTTP/1.1 upgrades, strict in all of RFC 6455. Not on the gateway's own path.

import Configuration
import Bytes
import Kernel
import TLS
import Telemetry
import Wire

/// One client of the echo backend.
final class EchoSession {
  var parser: RequestParser
  var assembler = MessageAssembler(expectsMask: true, messageBytesMax: 64 * 1024 * 1024)
  var isOpen = false
  var isClosing = false
  /// The demo tells its page how often the gateway has pinged.
  var reportsPings = false
  var pings = 0

  init(limits: HeadLimits) { parser = RequestParser(limits: limits) }
}

extension Worker where K: ~Copyable {
  mutating func echoReceived(_ id: SlotID, _ bytes: SharedBuffer) {
    guard case .echo(let session) = connections[id].role else { return }
    if session.isOpen {
      bytes.withSpan { echoFrames(id, session, $0) }
    } else {
      bytes.withSpan { connections[id].input.append($0) }
      echoHandshake(id, session)
    }
  }

  // MARK: Handshake

  private mutating func echoHandshake(_ id: SlotID, _ session: EchoSession) {
    let parsed = connections[id].input.withSpan { bytes -> Parsed<RequestHead>? in
      do throws(HTTPViolation) {
        return try session.parser.parse(bytes)
      } catch {
        return nil
      }
    }
    guard let parsed else { return refuseEcho(id, .malformedRequest) }
    guard case .done(let head, let consumed) = parsed else { return }
    connections[id].input.consume(consumed)
    clearTimeout(id)
    switch Handshake.classify(head) {
    case .plain: refuseEcho(id, .webSocketVersion)
    case .refused(let violation):
      refuseEcho(id, violation == .wrongVersion ? .webSocketVersion : .malformedHandshake)
    case .webSocket(let offer): acceptEcho(id, session, head, offer)
    }
  }

  private mutating func refuseEcho(_ id: SlotID, _ fault: Fault) {
    if let response = LocalResponse.fault(fault, closes: true) { send(id, response.bytes()) }
    finish(id, lingering: true)
  }

  private mutating func acceptEcho(
    _ id: SlotID, _ session: EchoSession, _ head: RequestHead, _ offer: HandshakeOffer
  ) {
    let accept = Handshake.accept(
      key: offer.key.span, sha1: { Digest.sha1($0) }, base64: { Digest.base64($0) })
    var writer = HeadWriter()
    writer.statusLine(101, "Switching Protocols")
    Handshake.appendAnswerFields(
      accept: accept.span, agreement: HandshakeAgreement(subprotocol: offer.subprotocols.first),
      to: &writer)
    writer.end()
    session.isOpen = true
    send(id, writer.bytes)
    if shared.demo != nil {
      session.reportsPings = true
      let via = head.values(of: .via).map { head.string($0) }.joined(separator: ", ")
      sendEcho(id, .text, Array("{\"type\":\"hello\",\"via\":\"\(Self.plain(via))\"}".utf8))
    }
    var waiting = ByteQueue()
    swap(&waiting, &connections[id].input)
    waiting.withSpan { echoFrames(id, session, $0) }
  }

  /// Only what needs no escaping in JSON.
  private static func plain(_ text: String) -> String {
    String(
      text.unicodeScalars.filter {
        $0.isASCII && $0.value >= 0x20 && !"\"\\<".unicodeScalars.contains($0)
      })
  }

  // MARK: Frames

  private mutating func echoFrames(_ id: SlotID, _ session: EchoSession, _ bytes: Span<UInt8>) {
    var position = 0
    while connections.contains(id), !session.isClosing {
      switch session.assembler.receive(bytes, from: position) {
      case .needMore: return
      case .message(let opcode, let end):
        position = end
        sendEcho(id, opcode, session.assembler.message)
      case .control(let opcode, let end):
        position = end
        echoControl(id, session, opcode)
      case .violation(let violation): closeEcho(id, session, violation.closeCode)
      }
    }
  }

  private mutating func echoControl(_ id: SlotID, _ session: EchoSession, _ opcode: Opcode) {
    switch opcode {
    case .ping:
      sendEcho(id, .pong, session.assembler.control)
      session.pings += 1
      if session.reportsPings {
        sendEcho(id, .text, Array("{\"type\":\"ping-report\",\"sent\":\(session.pings)}".utf8))
      }
    case .close:
      session.isClosing = true
      sendEcho(id, .close, Array(session.assembler.control.prefix(2)))
      finish(id, lingering: true)
    case .pong, .continuation, .text, .binary: break
    }
  }

  private mutating func closeEcho(_ id: SlotID, _ session: EchoSession, _ code: UInt16) {
    session.isClosing = true
    sendEcho(id, .close, FrameWriter.closePayload(code: code))
    finish(id, lingering: true)
  }

  private mutating func sendEcho(_ id: SlotID, _ opcode: Opcode, _ payload: [UInt8]) {
    guard connections.contains(id) else { return }
    let frame = self.scratch
    frame.reset()
    FrameWriter.appendFrame(opcode, mask: nil, payload: payload.span, to: frame)
    frame.withSpan { send(id, $0) }
  }

  mutating func endEcho(_ id: SlotID) {
    guard case .echo(let session) = connections[id].role else { return }
    guard session.isOpen else { return finish(id, lingering: false) }
    if !session.isClosing { closeEcho(id, session, 1001) }
  }
}
