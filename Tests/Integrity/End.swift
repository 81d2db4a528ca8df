// One end of a pair, the client's or the backend's: a socket, or a stream of an HTTP/2 connection that
// carries several. Owned by the driver's slab.

import Bytes
import Kernel
import Support
import TLS
import Wire

struct End: ~Copyable {
  /// connecting → (securing →) upgrading → open; a backend starts at upgrading.
  enum Phase { case connecting, securing, upgrading, open }

  static let limits = HeadLimits(headBytesMax: 32 << 10, fieldsMax: 100, lineBytesMax: 8 << 10)

  /// Where a stream is; its number comes when it has been asked for.
  struct Place {
    let carrier: SlotID
    var number: SlotID?
  }

  /// None for a stream.
  let descriptor: Descriptor
  var place: Place?
  let side: Side
  /// A backend learns it from the request.
  var pair: Int?
  var phase: Phase
  var interest: Interest
  var isResting = false
  /// What a stream has received while it rests, and whether its END_STREAM has come.
  var held = ByteQueue()
  var hasEnded = false

  var requests = RequestParser(limits: End.limits)
  var responses = ResponseParser(limits: End.limits)
  /// The peer's head until it is complete.
  var head = ByteQueue()
  /// The Sec-WebSocket-Accept that answers the client's key.
  var accept: [UInt8] = []

  var tls: TLSSession?
  var speaker: Speaker
  var assembler: MessageAssembler
  /// Whole frames, of which the first bytes may have left.
  var pending = ByteQueue()
  /// The same, encrypted.
  var wire = ByteQueue()
  /// Segments of 1 to 7 bytes, for the first bytes of every batch.
  var isDribbling = false
  var sentOfBatch = 0
  /// When the transport took something last.
  var lastSent = MonotonicTime(nanoseconds: 0)

  /// Of the gateway's own Pings: they are counted, one by one.
  var gatewayPings: UInt32 = 0
  var closeSent = false
  var closeReceived = false

  init(
    _ descriptor: Descriptor, _ side: Side, _ phase: Phase, _ interest: Interest, _ speaker: Speaker
  ) {
    self.descriptor = descriptor
    self.side = side
    self.phase = phase
    self.interest = interest
    self.speaker = speaker
    assembler = MessageAssembler(expectsMask: side == .backend, messageBytesMax: 16 << 20)
  }

  var hasOutput: Bool { !pending.isEmpty || !wire.isEmpty }

  /// Offers the first `count` bytes of what waits to the socket, and drops what it took.
  static func send(_ end: inout End, _ count: Int, on kernel: inout LinuxKernel) -> IOOutcome {
    let descriptor = end.descriptor
    if end.tls == nil {
      let outcome = end.pending.withSpan { kernel.send(descriptor, $0.extracting(0..<count)) }
      if case .bytes(let taken) = outcome { end.pending.consume(taken) }
      return outcome
    }
    let outcome = end.wire.withSpan { kernel.send(descriptor, $0.extracting(0..<count)) }
    if case .bytes(let taken) = outcome { end.wire.consume(taken) }
    return outcome
  }

  /// Moves the first `count` bytes of what waits into TLS records.
  static func encrypt(_ end: inout End, _ count: Int, _ scratch: SharedBuffer) {
    scratch.reset()
    var plain = ByteQueue()
    swap(&plain, &end.pending)
    plain.withSpan { _ = end.tls?.send($0.extracting(0..<count), output: scratch) }
    plain.consume(count)
    swap(&plain, &end.pending)
    scratch.withSpan { end.wire.append($0) }
  }
}
