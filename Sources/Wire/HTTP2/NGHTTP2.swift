// nghttp2 behind safe calls: the only place that speaks to the library, with NGHTTP2Callbacks.swift,
// which it speaks to. Decides nothing: what a peer may do is HTTP2Session's matter. Bytes go in and
// out through memory; the library does no I/O.

internal import Bytes
internal import CNghttp2

/// One session of the library. Owned by one HTTP2Session.
@safe
struct NGHTTP2: ~Copyable {
  private let session: OpaquePointer
  private let context: UnsafeMutablePointer<HTTP2Context>

  /// Nil only when memory is out.
  init?(server limits: HTTP2Limits) {
    // Safety: the context outlives the session, which `deinit` deletes first.
    let context = UnsafeMutablePointer<HTTP2Context>.allocate(capacity: 1)
    unsafe context.initialize(to: HTTP2Context(limits))
    guard let session = unsafe Self.makeServer(context) else {
      unsafe context.deinitialize(count: 1)
      unsafe context.deallocate()
      return nil
    }
    unsafe self.session = session
    unsafe self.context = context
    submitSettings(limits)
  }

  deinit {
    unsafe nghttp2_session_del(session)
    while let stream = unsafe context.pointee.first { unsafe context.pointee.close(stream) }
    unsafe context.deinitialize(count: 1)
    unsafe context.deallocate()
  }

  private static func makeServer(_ context: UnsafeMutablePointer<HTTP2Context>) -> OpaquePointer? {
    var option: OpaquePointer?
    guard unsafe nghttp2_option_new(&option) == 0 else { return nil }
    defer { unsafe nghttp2_option_del(option) }
    // Safety, here and below: pointers of the library's own making, used as its manual says.
    unsafe nghttp2_option_set_no_auto_window_update(option, 1)
    // A backend's head may have 64 KiB; the library estimates the encoded size at more.
    unsafe nghttp2_option_set_max_send_header_block_length(option, 256 * 1024)
    // The library counts each piece in which the header of such a frame arrives; FrameWatch counts
    // the frames.
    unsafe bascule_nghttp2_set_max_continuations(option, Int(Int32.max))
    var session: OpaquePointer?
    guard let table = unsafe libraryCallbacks,
      unsafe nghttp2_session_server_new2(&session, table, context, option) == 0
    else { return nil }
    return unsafe session
  }

  /// The library is told of twice the streams, so that one too many can be refused alone instead of
  /// ending the connection; HTTP2Session corrects the frame. Without the priorities of RFC 7540 the
  /// library keeps no stream that is closed, and PRIORITY makes none.
  private func submitSettings(_ limits: HTTP2Limits) {
    var entries = Self.entries(limits, streams: min(limits.streams, Int(Int32.max)) * 2)
    unsafe nghttp2_submit_settings(session, 0, &entries, entries.count)
    let window = Int32(clamping: limits.connectionWindow)
    unsafe nghttp2_session_set_local_window_size(session, 0, 0, window)
  }

  private static func entries(_ limits: HTTP2Limits, streams: Int) -> [nghttp2_settings_entry] {
    [
      entry(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, streams),
      entry(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits.streamWindow),
      entry(NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, limits.headerListBytes),
      entry(NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1),
      entry(NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1),
    ]
  }

  private static func entry(_ id: nghttp2_settings_id, _ value: Int) -> nghttp2_settings_entry {
    nghttp2_settings_entry(settings_id: Int32(id.rawValue), value: UInt32(clamping: value))
  }

  // MARK: Bytes in and out

  enum Outcome { case taken, badPreface, broken }

  /// Feeds received bytes. Ranges in the events are offsets into them.
  func feed(_ bytes: Span<UInt8>, events: inout [HTTP2Event]) -> Outcome {
    // Safety: the callbacks run inside the call only, while `bytes` and `events` are lent.
    let result = unsafe bytes.withUnsafeBufferPointer { buffer in
      unsafe withUnsafeMutablePointer(to: &events) { events in
        unsafe context.pointee.events = events
        unsafe context.pointee.input = buffer.baseAddress
        let result = unsafe nghttp2_session_mem_recv(session, buffer.baseAddress, buffer.count)
        unsafe context.pointee.events = nil
        unsafe context.pointee.input = nil
        return result
      }
    }
    if result >= 0 { return .taken }
    return result == Int(NGHTTP2_ERR_BAD_CLIENT_MAGIC.rawValue) ? .badPreface : .broken
  }

  /// Appends frames to `output`; DATA only until it holds `limit` bytes. `spare`: takes the memory of what
  /// has gone.
  func drain(
    into output: SharedBuffer, limit: Int, events: inout [HTTP2Event], spare: inout SpareBytes
  ) -> Bool {
    // Safety: as in `feed`; `output` is kept alive by the caller.
    unsafe withUnsafeMutablePointer(to: &spare) { spare in
      unsafe context.pointee.spare = spare
      defer { unsafe context.pointee.spare = nil }
      return drain(into: output, limit: limit, &events)
    }
  }

  private func drain(
    into output: SharedBuffer, limit: Int, _ events: inout [HTTP2Event]
  ) -> Bool {
    // Safety: as above.
    unsafe withUnsafeMutablePointer(to: &events) { events in
      unsafe context.pointee.events = events
      unsafe context.pointee.output = Unmanaged.passUnretained(output)
      unsafe context.pointee.outputLimit = limit
      defer {
        unsafe context.pointee.events = nil
        unsafe context.pointee.output = nil
      }
      while true {
        var start: UnsafePointer<UInt8>?
        let count = unsafe nghttp2_session_mem_send(session, &start)
        guard count > 0, let start = unsafe start else { return count == 0 }
        unsafe output.append(UnsafeBufferPointer(start: start, count: count).span)
      }
    }
  }

  /// Frames that wait, without DATA that flow control holds back.
  var queuedFrames: Int { unsafe nghttp2_session_get_outbound_queue_size(session) }
  var wantsToWrite: Bool { unsafe nghttp2_session_want_write(session) != 0 }
  var lastStream: Int32 { unsafe nghttp2_session_get_last_proc_stream_id(session) }
  var openStreams: Int { unsafe context.pointee.count }
  var terminated: UInt32? { unsafe context.pointee.terminated }

  /// All frames so far.
  var framesSent: Int { unsafe context.pointee.framesSent }

  /// Frames sent since the last call.
  func takeFramesSent() -> Int {
    let count = unsafe context.pointee.framesSent - context.pointee.framesTaken
    unsafe context.pointee.framesTaken += count
    return count
  }

  /// Resets that the peer has made us send since the last call.
  func takeMadeResets() -> Int {
    let count = unsafe context.pointee.madeResets
    unsafe context.pointee.madeResets = 0
    return count
  }

  /// For the payload received since the last call. A stalled stream must not stall the connection.
  func returnConnectionCredit() {
    let count = unsafe context.pointee.received
    guard count > 0 else { return }
    unsafe context.pointee.received = 0
    unsafe nghttp2_session_consume_connection(session, count)
  }

  // MARK: Streams

  private func stream(_ id: Int32) -> UnsafeMutablePointer<HTTP2Stream>? {
    // Safety: only streams that `open` has made are user data.
    unsafe nghttp2_session_get_stream_user_data(session, id)?
      .assumingMemoryBound(to: HTTP2Stream.self)
  }

  func isOpen(_ id: Int32) -> Bool { unsafe stream(id) != nil }

  func setOwner(_ id: Int32, _ owner: UInt64) {
    guard let stream = unsafe stream(id) else { return }
    unsafe stream.pointee.owner = owner
    unsafe stream.pointee.flags.insert(.owned)
  }

  func owner(_ id: Int32) -> UInt64? {
    unsafe stream(id)?.pointee.knownOwner
  }

  func respond(_ id: Int32, status: UInt16, fields: FieldBlock, ends: Bool) -> Bool {
    guard let stream = unsafe stream(id), unsafe !stream.pointee.flags.contains(.answered),
      status >= 200, status <= 999
    else { return false }
    var provider = unsafe nghttp2_data_provider()
    unsafe provider.source.ptr = UnsafeMutableRawPointer(stream)
    unsafe provider.read_callback = readUnsent
    let result = unsafe Self.withFields(status, fields) { entries, count in
      ends
        ? unsafe nghttp2_submit_response(session, id, entries, count, nil)
        : unsafe nghttp2_submit_response(session, id, entries, count, &provider)
    }
    guard result == 0 else { return false }
    unsafe stream.pointee.flags.insert(.answered)
    return true
  }

  /// HEADERS of an interim response, before the one that counts.
  func inform(_ id: Int32, status: UInt16, fields: FieldBlock) {
    guard let stream = unsafe stream(id), unsafe !stream.pointee.flags.contains(.answered),
      status >= 100, status < 200, status != 101
    else { return }
    _ = unsafe Self.withFields(status, fields) { entries, count in
      unsafe nghttp2_submit_headers(session, 0, id, nil, entries, count, nil)
    }
  }

  /// Lends the fields in the library's form, `:status` first; trailers have none. The library copies
  /// them.
  static func withFields(
    _ status: UInt16?, _ fields: FieldBlock, _ body: (UnsafePointer<nghttp2_nv>?, Int) -> Int32
  ) -> Int32 {
    let count = fields.entries.count + 1
    // Safety: entries lie within the fields' bytes and their head, as FieldBlock sees to; both stay where
    // they are during the call, as do the status and its name. The library does not write through these pointers.
    return unsafe withUnsafeTemporaryAllocation(of: nghttp2_nv.self, capacity: count) { room in
      unsafe fields.head.withUnsafeBufferPointer { head in
        unsafe fields.bytes.withUnsafeBufferPointer { own in
          unsafe withStatus(status) { status in
            guard let entries = room.baseAddress else { return -1 }
            var used = 0
            if let status = unsafe status {
              unsafe entries.initialize(to: status)
              used = 1
            }
            for entry in fields.entries {
              let text = unsafe entry.isOfHead ? head : own
              unsafe (entries + used).initialize(to: field(text, entry))
              used += 1
            }
            return unsafe body(entries, used)
          }
        }
      }
    }
  }

  private static func withStatus(
    _ status: UInt16?, _ body: (nghttp2_nv?) -> Int32
  ) -> Int32 {
    guard let status else { return body(nil) }
    let name: StaticString = ":status"
    var digits: [3 of UInt8] = [
      0x30 + UInt8(status / 100 % 10), 0x30 + UInt8(status / 10 % 10), 0x30 + UInt8(status % 10),
    ]
    var span = digits.mutableSpan
    return unsafe span.withUnsafeMutableBufferPointer { value in
      unsafe body(
        nghttp2_nv(
          name: UnsafeMutablePointer(mutating: name.utf8Start), value: value.baseAddress,
          namelen: name.utf8CodeUnitCount, valuelen: 3, flags: 0))
    }
  }

  private static func field(
    _ text: UnsafeBufferPointer<UInt8>, _ entry: FieldBlock.Entry
  ) -> nghttp2_nv {
    let start = unsafe UnsafeMutablePointer(mutating: text.baseAddress)
    return unsafe nghttp2_nv(
      name: start.map { unsafe $0 + Int(entry.name) },
      value: start.map { unsafe $0 + Int(entry.value) },
      namelen: Int(entry.nameCount), valuelen: Int(entry.valueCount), flags: 0)
  }

  func write(_ id: Int32, _ bytes: Span<UInt8>, _ spare: inout SpareBytes) {
    guard let stream = unsafe stream(id),
      unsafe stream.pointee.flags.isDisjoint(with: [.finishing, .resetByOwner])
    else { return }
    unsafe stream.pointee.unsent.append(bytes, &spare)
    unsafe wake(stream)
  }

  private func wake(_ stream: UnsafeMutablePointer<HTTP2Stream>) {
    guard unsafe stream.pointee.flags.contains(.idle) else { return }
    unsafe stream.pointee.flags.remove(.idle)
    unsafe nghttp2_session_resume_data(session, stream.pointee.id)
  }

  /// What the peer's windows of the stream and of the connection let go out, in bytes; 0 when the
  /// stream is gone.
  func window(_ id: Int32) -> Int {
    let ofStream = unsafe nghttp2_session_get_stream_remote_window_size(session, id)
    let ofConnection = unsafe nghttp2_session_get_remote_window_size(session)
    return Int(max(min(ofStream, ofConnection), 0))
  }

  func unsent(_ id: Int32) -> Int {
    guard let stream = unsafe stream(id) else { return 0 }
    return unsafe stream.pointee.unsent.count
  }

  func owesEnd(_ id: Int32) -> Bool {
    guard let flags = unsafe stream(id)?.pointee.flags else { return false }
    return flags.contains(.finishing) && flags.isDisjoint(with: [.endSent, .resetByOwner])
  }

  func finish(_ id: Int32, thenReset: Bool, trailers: FieldBlock = FieldBlock()) {
    guard let stream = unsafe stream(id) else { return }
    if unsafe !trailers.isEmpty && !stream.pointee.flags.contains(.finishing) {
      unsafe stream.pointee.trailers = trailers
    }
    if thenReset {
      unsafe stream.pointee.flags.insert(.resetsAfterEnd)
      if unsafe stream.pointee.flags.contains(.endSent) {
        unsafe resetAfterEnd(session, context, stream)
      }
    }
    unsafe stream.pointee.flags.insert(.finishing)
    unsafe wake(stream)
  }

  func reset(_ id: Int32, _ code: HTTP2ErrorCode) {
    guard let stream = unsafe stream(id) else { return }
    unsafe resetByOwner(session, context, stream, code)
  }

  func returnCredit(_ id: Int32, _ count: Int) {
    guard count > 0, let stream = unsafe stream(id),
      unsafe !stream.pointee.flags.contains(.peerEnded)
    else { return }
    unsafe nghttp2_session_consume_stream(session, id, count)
  }

  // MARK: Connection

  func ping(_ payload: UInt64) {
    var bytes: [UInt8] = (0..<8).map { UInt8(truncatingIfNeeded: payload >> UInt64(56 - 8 * $0)) }
    unsafe nghttp2_submit_ping(session, 0, &bytes)
  }

  func goAway(isFinal: Bool) {
    if isFinal {
      unsafe nghttp2_submit_goaway(session, 0, lastStream, 0, nil, 0)
    } else {
      unsafe nghttp2_submit_shutdown_notice(session)
    }
  }

  /// Defences that the loaded library lacks.
  static var missingOptions: [StaticString] {
    var missing: [StaticString] = []
    if bascule_nghttp2_has_stream_reset_rate_limit() == 0 {
      missing.append("stream_reset_rate_limit")
    }
    if bascule_nghttp2_has_max_continuations() == 0 { missing.append("max_continuations") }
    return missing
  }

  static var version: String {
    guard let info = unsafe nghttp2_version(0), let text = unsafe info.pointee.version_str else {
      return ""
    }
    return unsafe String(cString: text)
  }
}
