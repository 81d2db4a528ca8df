// One socket and everything that hangs on it, or one stream of an HTTP/2 connection, which to its
// exchange is the same. Lives in a slot of its worker's slab from accept or connect to close;
// everybody else holds its `SlotID`. An idle connection owns no buffer.

import Bytes
import Kernel
import TLS
import Wire

/// What a connection is for.
enum ConnectionRole {
  /// A client's: requests are parsed until one of them is bridged.
  case front(RequestParser)
  /// A client's over HTTP/2: its requests are streams, which have slots of their own.
  case http2(HTTP2Front)
  /// One stream of such a connection, which does all I/O for it (`HTTP2/HTTP2Streams.swift`).
  case stream(StreamLink)
  /// A backend's, opened for one exchange.
  case upstream(ResponseParser)
  /// A check of an endpoint's health.
  case probe(HealthProbe, ResponseParser)
  /// A client of the built-in echo backend.
  case echo(EchoSession)
}

/// Why a connection is not being read. Reading goes on when no reason is left.
struct ReadPauses: OptionSet {
  let rawValue: UInt8
  /// The client's bytes wait until the backend's answer to the upgrade has been validated.
  static let awaitingAnswer = ReadPauses(rawValue: 1)
  /// The other side of the exchange takes no more for now.
  static let backpressure = ReadPauses(rawValue: 2)
  /// The peer has sent its FIN; only our output is still owed.
  static let finished = ReadPauses(rawValue: 4)
}

/// How far a connection is on its way out.
enum Ending {
  case open
  /// Close the socket when everything queued has been sent.
  case closeWhenSent
  /// Send what is queued, then a FIN, and read and drop what comes until the peer's FIN.
  case lingerWhenSent
  /// Our FIN is out.
  case lingering
}

/// What a connection's deadline means when it passes.
enum ConnectionTimeout {
  case none
  case tlsHandshake
  case requestHead
  case requestBody
  case keepAliveIdle
  case writeStall
  case lingering
  /// The admin listener: for an answer of the other workers.
  case adminAnswer
  /// HTTP/2: the peer is asked whether it is there, while no bridge does that.
  case http2Silence
  /// HTTP/2: the first GOAWAY has had its time.
  case http2Drain
}

/// The first properties are what every event touches: with many connections each cache line counts.
struct Connection: ~Copyable {
  /// No system call may be made on a stream's.
  let descriptor: Descriptor
  let isStream: Bool
  /// The exchange this connection is a leg of.
  var exchange: SlotID?
  var pauses: ReadPauses = []
  var ending = Ending.open
  /// What epoll has been told.
  var interest: Interest
  /// Not with epoll: not yet, or because it reported an error or hang-up while it was not being
  /// read, which would be repeated without end. Watched (again) as soon as it is to be read.
  var isUnwatched = false
  /// Its close handshake is complete; all that is awaited is its FIN, which needs no reading.
  var isDone = false
  /// A FIN is owed when the output has been sent (a tunnel passes half-closes on).
  var isFinDue = false
  var isTLSEstablished = false
  /// To a backend, and waiting for its next request.
  var isIdle = false
  /// Nothing has been read but a part of the PROXY header; `peer` is the proxy, and not counted.
  var awaitsProxyHeader = false
  /// Accepted while memory was short: its requests are refused as long as it is.
  var isUnwelcome = false
  /// The first error a send met; acted upon when the current event has been handled.
  var failure: Errno?
  /// Bytes that the socket did not take, as they go on the wire.
  var output = ByteQueue()
  /// A stream's bytes that its session holds, and since when there are some.
  var queued = 0
  var queuedSince = MonotonicTime.never
  var tls: TLSSession?

  var role: ConnectionRole
  /// Plaintext received and not used yet: an incomplete head, or what came behind a head.
  var input = ByteQueue()
  /// The other end, or whom a PROXY header names.
  var peer: SocketAddress
  /// Index into the worker's listeners; nil for a connection that we opened.
  let listener: Int?
  /// A stream's bytes received for which the peer has not been given credit again.
  var creditOwed = 0

  var timeout = ConnectionTimeout.none
  var deadline = MonotonicTime.never
  /// The earliest timer entry outstanding for this slot.
  var armedAt = MonotonicTime.never

  init(
    descriptor: Descriptor, peer: SocketAddress, listener: Int?, role: ConnectionRole,
    tls: consuming TLSSession?, interest: Interest
  ) {
    self.descriptor = descriptor
    if case .stream = role { isStream = true } else { isStream = false }
    self.peer = peer
    self.listener = listener
    self.role = role
    self.tls = tls
    self.interest = interest
  }

  /// Bytes towards the peer that wait.
  var unsent: Int { output.count + queued }
  var hasUnsent: Bool { queued > 0 || !output.isEmpty }

  var wantedInterest: Interest {
    var interest: Interest = pauses.isEmpty ? .read : []
    if !output.isEmpty { interest.insert(.write) }
    return interest
  }
}

/// Why a connection ended, when it was not our decision.
enum ConnectionLoss: Equatable {
  case endOfStream
  case failed(Errno)
  case tls(TLSFailure)
  case writeStalled
  case timedOut
}
