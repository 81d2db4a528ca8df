// One WebSocket of the load generator, on either side of the proxy: a client that sends masked messages
// and waits for their echo, or the backend that echoes. Owned by the driver's slab. A client is a
// socket, or an HTTP/2 stream on a connection that it shares.

import Bytes
import Kernel
import TLS

struct Link: ~Copyable {
  enum Role { case client, backend }
  /// connecting → (securing →) upgrading → open → closing; a backend starts at upgrading.
  enum Phase { case connecting, securing, upgrading, open, closing }

  /// Where a stream is; its number comes when it has been asked for.
  struct Place {
    let carrier: SlotID
    var number: SlotID?
  }

  /// None for a stream.
  let descriptor: Descriptor
  var place: Place?
  let role: Role
  var phase: Phase
  var interest: Interest
  var tls: TLSSession?
  /// The peer's request or response head until it is complete.
  var head: [UInt8] = []
  var cursor = FrameCursor()
  /// What the socket did not take.
  var pending = ByteQueue()

  /// Bytes of the current message that left; a client's messages all have the same bytes.
  var sentOfMessage = 0
  /// Messages allowed to go out but not sent whole.
  var owed = 0
  /// When each message under way was begun, oldest at `oldest`.
  var begun = SIMD4<Int64>()
  var oldest = 0
  var underWay = 0
  /// Payload bytes of the echo that has begun and not ended.
  var echoed = 0

  /// About the frame being read: it is a Close, a Ping to answer, the last of a data message.
  var closes = false
  var answersPing = false
  var counts = false

  init(_ descriptor: Descriptor, _ role: Role, _ phase: Phase, _ interest: Interest) {
    self.descriptor = descriptor
    self.role = role
    self.phase = phase
    self.interest = interest
  }

  init(streamOn carrier: SlotID) {
    self.init(Descriptor(-1), .client, .connecting, [])
    place = Place(carrier: carrier)
  }

  mutating func noteBegun(_ time: MonotonicTime) {
    begun[(oldest + underWay) & 3] = time.nanoseconds
    underWay += 1
    owed += 1
  }

  /// Takes the oldest message off the list; how long it was under way.
  mutating func noteEchoed(_ time: MonotonicTime) -> Int64 {
    let took = time.nanoseconds - begun[oldest]
    oldest = (oldest + 1) & 3
    underWay -= 1
    return took
  }

  /// Offers what waits to the socket; the caller drops what it took.
  static func send(_ link: inout Link, on kernel: inout LinuxKernel) -> IOOutcome {
    let descriptor = link.descriptor
    return link.pending.withSpan { kernel.send(descriptor, $0) }
  }
}
