// What nghttp2 calls, and the session made with it. Every function finds its `HTTP2Client` behind the
// user data and its stream behind the stream's word. Nothing here decides.

import Bytes
import CNghttp2

enum Callbacks {
  /// A client's session that leaves credit to us; nil when memory is out.
  static func makeSession() -> OpaquePointer? {
    var callbacks: OpaquePointer?
    var options: OpaquePointer?
    var session: OpaquePointer?
    // Safety: both helpers are freed here; the session has copied them.
    guard unsafe nghttp2_session_callbacks_new(&callbacks) == 0 else { return nil }
    defer { unsafe nghttp2_session_callbacks_del(callbacks) }
    guard unsafe nghttp2_option_new(&options) == 0 else { return nil }
    defer { unsafe nghttp2_option_del(options) }
    unsafe nghttp2_option_set_no_auto_window_update(options, 1)
    unsafe nghttp2_session_callbacks_set_on_header_callback(callbacks, fieldReceived)
    unsafe nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, frameReceived)
    unsafe nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, dataReceived)
    unsafe nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, streamClosed)
    unsafe nghttp2_session_callbacks_set_send_data_callback(callbacks, dataPacked)
    guard unsafe nghttp2_session_client_new2(&session, callbacks, nil, options) == 0 else {
      return nil
    }
    return unsafe session
  }

  // Safety: the user data is the client that is inside `receive` or `send` at this moment.
  private static func client(_ pointer: UnsafeMutableRawPointer?) -> HTTP2Client? {
    guard let pointer = unsafe pointer else { return nil }
    return unsafe Unmanaged<HTTP2Client>.fromOpaque(pointer).takeUnretainedValue()
  }

  private static func stream(_ session: OpaquePointer?, _ number: Int32) -> SlotID {
    let word = unsafe nghttp2_session_get_stream_user_data(session, number)
    return SlotID(packed: UInt64(UInt(bitPattern: word)))
  }

  // MARK: Receiving

  private static let fieldReceived: nghttp2_on_header_callback = {
    session, frame, name, nameCount, value, valueCount, _, me in
    // Safety: nghttp2 lends the frame and both texts for the call.
    guard let client = unsafe client(me), let number = unsafe frame?.pointee.hd.stream_id else {
      return 0
    }
    let id = unsafe stream(session, number)
    let name = unsafe UnsafeBufferPointer(start: name, count: nameCount)
    guard client.streams.contains(id), unsafe name.elementsEqual(":status".utf8) else { return 0 }
    let value = unsafe UnsafeBufferPointer(start: value, count: valueCount)
    client.streams[id].status = unsafe Int(String(decoding: value, as: UTF8.self)) ?? 0
    return 0
  }

  private static let frameReceived: nghttp2_on_frame_recv_callback = { session, frame, me in
    // Safety: nghttp2 lends the frame for the call; the member read is that of its type.
    guard let client = unsafe client(me), let frame = unsafe frame?.pointee else { return 0 }
    let header = unsafe frame.hd
    switch UInt32(header.type) {
    case NGHTTP2_SETTINGS.rawValue where header.flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) == 0:
      let connect = unsafe nghttp2_session_get_remote_settings(
        session, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL)
      client.events.append(.settings(takesConnect: connect == 1))
    case NGHTTP2_GOAWAY.rawValue:
      client.events.append(.goAway(code: unsafe frame.goaway.error_code))
    case NGHTTP2_HEADERS.rawValue, NGHTTP2_DATA.rawValue:
      let id = unsafe stream(session, header.stream_id)
      guard client.streams.contains(id) else { return 0 }
      if header.type == NGHTTP2_HEADERS.rawValue { client.answered(id) }
      if header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0 {
        client.events.append(.ended(owner: client.streams[id].owner))
      }
    default: break
    }
    return 0
  }

  private static let dataReceived: nghttp2_on_data_chunk_recv_callback = {
    session, _, number, data, count, me in
    guard let client = unsafe client(me) else { return 0 }
    unsafe nghttp2_session_consume_connection(session, count)
    let id = unsafe stream(session, number)
    guard client.streams.contains(id), let start = unsafe client.received, let data = unsafe data
    else { return 0 }
    // Safety: nghttp2 points into the bytes it was given.
    let offset = unsafe data - start
    client.events.append(.data(owner: client.streams[id].owner, offset..<offset + count))
    return 0
  }

  private static let streamClosed: nghttp2_on_stream_close_callback = { session, number, code, me in
    let id = unsafe stream(session, number)
    guard let client = unsafe client(me), let gone = client.streams.remove(id) else { return 0 }
    client.events.append(.closed(owner: gone.owner, code: code))
    return 0
  }

  // MARK: Sending

  /// How much DATA a stream has for its next frame. It stays where it is (NO_COPY).
  static let dataWanted: nghttp2_data_source_read_callback = {
    _, _, _, length, flags, source, me in
    let word = unsafe source?.pointee.ptr
    let id = SlotID(packed: UInt64(UInt(bitPattern: word)))
    guard let client = unsafe client(me), client.streams.contains(id) else {
      return Int(NGHTTP2_ERR_DEFERRED.rawValue)
    }
    let waiting = client.streams[id].unsent.count
    let finishes = client.streams[id].finishes
    if waiting == 0, !finishes {
      client.streams[id].isDeferred = true
      return Int(NGHTTP2_ERR_DEFERRED.rawValue)
    }
    if waiting > 0 { unsafe flags?.pointee |= NGHTTP2_DATA_FLAG_NO_COPY.rawValue }
    if waiting <= length, finishes { unsafe flags?.pointee |= NGHTTP2_DATA_FLAG_EOF.rawValue }
    return min(waiting, length)
  }

  /// Puts a DATA frame out: its header, then the payload from the stream's queue.
  private static let dataPacked: nghttp2_send_data_callback = {
    _, frame, header, count, source, me in
    let word = unsafe source?.pointee.ptr
    let id = SlotID(packed: UInt64(UInt(bitPattern: word)))
    guard let client = unsafe client(me), client.streams.contains(id), let output = client.output
    else { return NGHTTP2_ERR_CALLBACK_FAILURE.rawValue }
    // Safety: a frame header is nine octets. There is no padding, since no callback asks for any.
    unsafe output.append(UnsafeBufferPointer(start: header, count: 9).span)
    client.streams[id].unsent.withSpan { output.append($0.extracting(0..<count)) }
    client.streams[id].unsent.consume(count)
    return output.count < client.outputLimit ? 0 : NGHTTP2_ERR_PAUSE.rawValue
  }
}

extension HTTP2Client {
  /// A response head is complete; an interim one says nothing.
  fileprivate func answered(_ id: SlotID) {
    let status = streams[id].status
    if status < 200 { return }
    events.append(.answered(owner: streams[id].owner, status: status))
  }
}
