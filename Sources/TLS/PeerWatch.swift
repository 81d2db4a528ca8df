// What a peer may make OpenSSL do besides carrying data: long handshake messages, KeyUpdates,
// alerts, renegotiation requests, tickets. OpenSSL itself bounds empty records (32 in a row) and
// warning alerts (5 in a row); the rest is counted here. Owned by its session.

internal import Bytes
internal import COpenSSL

/// Counts of one session, and the verdict when one of them is over its limit.
struct PeerWatch: Sendable {
  /// The longest handshake message taken from a client. Browsers send under 2 KiB.
  static let helloBytesMax = 16_384
  /// Post-handshake messages and alerts per second, in both directions together.
  static let controlsMax: UInt16 = 100

  /// Bytes of the handshake message under way, as far as record headers have announced them.
  private var messageBytes: UInt32 = 0
  private(set) var controls: UInt16 = 0
  /// The time of the last `receive`.
  var now = MonotonicTime(nanoseconds: .min)
  private var windowEnd = MonotonicTime(nanoseconds: .min)
  private(set) var verdict: TLSFailure?

  /// A record of `count` bytes that belongs to the client's handshake begins.
  mutating func handshakeRecord(bytes count: Int) {
    messageBytes = messageBytes &+ UInt32(truncatingIfNeeded: count)
    if messageBytes > Self.helloBytesMax { verdict = verdict ?? .helloTooLong }
  }

  mutating func handshakeMessageEnded() { messageBytes = 0 }

  /// One message that carries no data, sent or received after the handshake. Counted in windows
  /// of a second that begin with their first message.
  mutating func control() {
    if now >= windowEnd {
      windowEnd = now + .seconds(1)
      controls = 0
    }
    controls &+= 1
    if controls > Self.controlsMax { verdict = verdict ?? .controlFlood }
  }
}

/// OpenSSL tells of every record header, handshake message and alert (`SSL_CTX_set_msg_callback`).
@c(bascule_tls_message)
func messageSeen(
  _ isOurs: CInt, _ version: CInt, _ type: CInt, _ bytes: UnsafeRawPointer?, _ count: Int,
  _ session: OpaquePointer?, _ argument: UnsafeMutableRawPointer?
) {
  if type == SSL3_RT_INNER_CONTENT_TYPE { return }
  guard let io = unsafe TLSMemoryIO.lent(to: SSL_get_rbio(session)) else { return }
  if unsafe io.pointee.isEstablished {
    let isControl = type == SSL3_RT_ALERT || (type == SSL3_RT_HANDSHAKE && isOurs == 0)
    if isControl { unsafe io.pointee.watch.control() }
    return
  }
  guard isOurs == 0, unsafe SSL_is_server(session) == 1 else { return }
  if type == SSL3_RT_HANDSHAKE { return unsafe io.pointee.watch.handshakeMessageEnded() }
  guard type == SSL3_RT_HEADER, count == SSL3_RT_HEADER_LENGTH, let bytes = unsafe bytes else {
    return
  }
  // Safety: OpenSSL lends `count` bytes, which are the five of a record header.
  let header = unsafe UnsafeRawBufferPointer(start: bytes, count: count)
  guard unsafe header[0] == UInt8(truncatingIfNeeded: SSL3_RT_HANDSHAKE) else { return }
  unsafe io.pointee.watch.handshakeRecord(bytes: Int(header[3]) << 8 | Int(header[4]))
}
