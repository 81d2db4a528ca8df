// The client's side of an HTTP/2 connection (RFC 9113) that opens WebSockets (RFC 8441), over nghttp2:
// bytes in, events out, bytes out. Owned by one `Carrier`. It does no I/O and shares no code with the
// gateway's own HTTP/2, so that a mistake there cannot hide here.

public import Bytes
import CNghttp2

/// What the server has done. `owner` is the word that `connect` was given.
public enum StreamEvent: Equatable {
  /// Its SETTINGS are here: whether it takes extended CONNECT (RFC 8441 section 3).
  case settings(takesConnect: Bool)
  /// The final response head.
  case answered(owner: UInt64, status: Int)
  /// DATA: a range of the bytes that were received.
  case data(owner: UInt64, Range<Int>)
  /// END_STREAM.
  case ended(owner: UInt64)
  /// The stream is gone, by RST_STREAM or because both sides have ended; its last event.
  case closed(owner: UInt64, code: UInt32)
  case goAway(code: UInt32)
}

/// A final class, because nghttp2 keeps its address; used from one thread.
@safe
public final class HTTP2Client {
  struct Stream: ~Copyable {
    var number: Int32 = 0
    let owner: UInt64
    var status = 0
    var unsent = ByteQueue()
    var finishes = false
    /// nghttp2 has been told that nothing is there.
    var isDeferred = false
  }

  static let streamsMax = 1_000

  // Safety: owned; made in `init`, freed in `deinit`, never replaced. Its callbacks hold an unretained
  // pointer to this object and run inside `receive` and `send` only.
  private let session: OpaquePointer
  var streams = Slab<Stream>(capacity: HTTP2Client.streamsMax)
  var events: [StreamEvent] = []
  /// Where the bytes being received lie; nil outside `receive`.
  var received: UnsafePointer<UInt8>?
  /// Where frames go, and how many bytes are enough; nil outside `send`.
  var output: SharedBuffer?
  var outputLimit = 0

  /// `window` octets per stream, `connectionWindow`, at least 65,535, for all together. Nil only when
  /// memory is out.
  public init?(window: Int32, connectionWindow: Int32) {
    guard let session = unsafe Callbacks.makeSession() else { return nil }
    unsafe self.session = unsafe session
    unsafe nghttp2_session_set_user_data(session, Unmanaged.passUnretained(self).toOpaque())
    let settings = [
      nghttp2_settings_entry(
        settings_id: Int32(NGHTTP2_SETTINGS_ENABLE_PUSH.rawValue), value: 0),
      nghttp2_settings_entry(
        settings_id: Int32(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE.rawValue), value: UInt32(window)),
    ]
    unsafe nghttp2_submit_settings(session, 0, settings, settings.count)
    unsafe nghttp2_session_set_local_window_size(session, 0, 0, connectionWindow)
  }

  deinit { unsafe nghttp2_session_del(session) }

  public var streamCount: Int { streams.count }

  /// Feeds all that was received; appends what it means. False: the server has broken the protocol.
  public func receive(_ bytes: Span<UInt8>, into events: inout [StreamEvent]) -> Bool {
    swap(&events, &self.events)
    defer { swap(&events, &self.events) }
    // Safety: nghttp2 reads `bytes` during the call and keeps no pointer.
    return unsafe bytes.withUnsafeBufferPointer { buffer in
      unsafe received = buffer.baseAddress
      defer { unsafe received = nil }
      return unsafe nghttp2_session_mem_recv(session, buffer.baseAddress, buffer.count)
        == buffer.count
    }
  }

  /// Appends frames to `output` until none is left or about `limit` bytes are in it. False: nghttp2
  /// is out of memory.
  public func send(into output: SharedBuffer, limit: Int) -> Bool {
    self.output = output
    outputLimit = limit
    defer { self.output = nil }
    var before = -1
    // A DATA frame is appended by the callback: then the call itself returns nothing.
    while output.count < limit, output.count != before {
      before = output.count
      var bytes: UnsafePointer<UInt8>?
      let count = unsafe nghttp2_session_mem_send(session, &bytes)
      if count < 0 { return false }
      // Safety: `count` bytes, lent until the next call.
      unsafe output.append(UnsafeBufferPointer(start: bytes, count: count).span)
    }
    return true
  }

  public var wantsToSend: Bool { unsafe nghttp2_session_want_write(session) != 0 }
}

// Streams. Calls on one that is gone do nothing.
extension HTTP2Client {
  /// Opens a stream with these fields, pseudo-fields first, and without END_STREAM. Nil when nghttp2
  /// refuses.
  public func connect(_ fields: RequestFields, owner: UInt64) -> SlotID? {
    guard let id = streams.insert(Stream(owner: owner)) else { return nil }
    // Safety: the slot's packed id is not 0 and never used as an address; nghttp2 copies the fields
    // and the data provider.
    let word = unsafe UnsafeMutableRawPointer(bitPattern: UInt(id.packed))
    var provider = unsafe nghttp2_data_provider()
    unsafe provider.read_callback = Callbacks.dataWanted
    unsafe provider.source.ptr = unsafe word
    let number = unsafe fields.withPairs { pairs in
      unsafe nghttp2_submit_request(
        session, nil, pairs.baseAddress, pairs.count, &provider, word)
    }
    guard number > 0 else {
      _ = streams.remove(id)
      return nil
    }
    streams[id].number = number
    return id
  }

  /// Queues bytes of DATA; they go out with `send` as far as the windows allow.
  public func write(_ id: SlotID, _ bytes: Span<UInt8>) {
    guard streams.contains(id) else { return }
    streams[id].unsent.append(bytes)
    resume(id)
  }

  public func unsent(_ id: SlotID) -> Int { streams.contains(id) ? streams[id].unsent.count : 0 }

  /// END_STREAM behind what was written.
  public func finish(_ id: SlotID) {
    guard streams.contains(id) else { return }
    streams[id].finishes = true
    resume(id)
  }

  /// RST_STREAM(CANCEL), unless the stream has been finished.
  public func cancel(_ id: SlotID) {
    guard streams.contains(id), !streams[id].finishes else { return }
    unsafe nghttp2_submit_rst_stream(session, 0, streams[id].number, NGHTTP2_CANCEL.rawValue)
  }

  /// Lets the server send `count` more octets on the stream. Those of the connection are given back
  /// as they come.
  public func returnCredit(_ id: SlotID, _ count: Int) {
    guard streams.contains(id) else { return }
    unsafe nghttp2_session_consume_stream(session, streams[id].number, count)
  }

  private func resume(_ id: SlotID) {
    guard streams[id].isDeferred else { return }
    streams[id].isDeferred = false
    unsafe nghttp2_session_resume_data(session, streams[id].number)
  }
}
