// What we keep for each stream of a connection, besides what the library keeps: one allocation, whose
// address the library holds as the stream's user data. Made when its request begins, freed when the
// library closes the stream or the session goes.

internal import Bytes

/// One stream. Linked, because the library does not walk its streams for us.
@unsafe
struct HTTP2Stream: ~Copyable {
  struct Flags: OptionSet {
    let rawValue: UInt16
    /// The owner was told about the request, so it is told about the end as well.
    static let announced = Flags(rawValue: 1)
    static let owned = Flags(rawValue: 2)
    /// The peer has ended its side.
    static let peerEnded = Flags(rawValue: 4)
    static let resetByPeer = Flags(rawValue: 8)
    static let resetByOwner = Flags(rawValue: 16)
    /// A response was submitted.
    static let answered = Flags(rawValue: 32)
    /// END_STREAM goes out behind what is unsent.
    static let finishing = Flags(rawValue: 64)
    static let endSent = Flags(rawValue: 128)
    /// RST_STREAM(NO_ERROR) follows END_STREAM.
    static let resetsAfterEnd = Flags(rawValue: 256)
    /// The library waits to be told that there are bytes to send.
    static let idle = Flags(rawValue: 512)
    /// A CONNECT: nothing but DATA follows its head.
    static let connected = Flags(rawValue: 1024)
  }

  let id: Int32
  var flags: Flags = []
  var owner: UInt64 = 0
  var knownOwner: UInt64? { unsafe flags.contains(.owned) ? owner : nil }
  var unsent = ByteQueue()
  /// What goes out behind `unsent` and carries END_STREAM, if anything.
  var trailers: FieldBlock?
  var previous: UnsafeMutablePointer<HTTP2Stream>?
  var next: UnsafeMutablePointer<HTTP2Stream>?

  init(id: Int32) { unsafe self.id = id }
}

/// What the library's callbacks work on. One per session, at an address of its own; `events`, `input`,
/// `output` and `spare` are lent to it for the duration of one call.
@unsafe
struct HTTP2Context: ~Copyable {
  var first: UnsafeMutablePointer<HTTP2Stream>?
  var count = 0
  let streamsMax: Int

  var events: UnsafeMutablePointer<[HTTP2Event]>?
  var input: UnsafePointer<UInt8>?
  var output: Unmanaged<SharedBuffer>?
  var outputLimit = 0
  var spare: UnsafeMutablePointer<SpareBytes>?

  /// The request whose field block is being received, or whose trailers are, and its stream.
  var fields: RequestFields
  var fieldsStream: Int32 = 0
  /// Payload bytes handed out since they were last asked for.
  var received = 0
  /// Resets we were made to send, since the count was last asked for.
  var madeResets = 0
  /// Resets of our own choice that are queued. Only their number tells them from the others, for a
  /// stream may be gone before its RST_STREAM leaves.
  var ownResets = 0
  var framesSent = 0
  var framesTaken = 0
  /// The code of a GOAWAY that ends the connection, once the library has sent one.
  var terminated: UInt32?

  init(_ limits: HTTP2Limits) {
    unsafe streamsMax = limits.streams
    unsafe fields = RequestFields(limits: limits)
  }

  mutating func report(_ event: HTTP2Event) { unsafe events?.pointee.append(event) }

  mutating func open(_ id: Int32) -> UnsafeMutablePointer<HTTP2Stream> {
    // Safety: freed by `close`, or by the session's end.
    let stream = UnsafeMutablePointer<HTTP2Stream>.allocate(capacity: 1)
    unsafe stream.initialize(to: HTTP2Stream(id: id))
    unsafe stream.pointee.next = first
    unsafe first?.pointee.previous = stream
    unsafe first = stream
    unsafe count += 1
    return unsafe stream
  }

  mutating func close(_ stream: UnsafeMutablePointer<HTTP2Stream>) {
    let (previous, next) = unsafe (stream.pointee.previous, stream.pointee.next)
    if let previous = unsafe previous {
      unsafe previous.pointee.next = next
    } else {
      unsafe first = next
    }
    unsafe next?.pointee.previous = previous
    // Safety: it is linked nowhere any more, and the library is closing the stream.
    unsafe stream.deinitialize(count: 1)
    unsafe stream.deallocate()
    unsafe count -= 1
  }
}
