// What nghttp2 calls while it is fed or drained. Each function turns one of the library's moments into
// an event or a count; none allocates per frame, and none calls back into the session's owner.

internal import Bytes
internal import CNghttp2

/// One table for all sessions. Nil only when memory is out.
// Safety: written once, by its initialiser; the library copies it into each session.
nonisolated(unsafe) let libraryCallbacks: OpaquePointer? = {
  var table: OpaquePointer?
  guard unsafe nghttp2_session_callbacks_new(&table) == 0 else { return nil }
  unsafe nghttp2_session_callbacks_set_on_begin_headers_callback(table, beginHeaders)
  unsafe nghttp2_session_callbacks_set_on_header_callback(table, header)
  unsafe nghttp2_session_callbacks_set_on_frame_recv_callback(table, frameReceived)
  unsafe nghttp2_session_callbacks_set_on_data_chunk_recv_callback(table, dataReceived)
  unsafe nghttp2_session_callbacks_set_on_stream_close_callback(table, streamClosed)
  unsafe nghttp2_session_callbacks_set_send_data_callback(table, sendData)
  unsafe nghttp2_session_callbacks_set_on_frame_send_callback(table, frameSent)
  unsafe nghttp2_session_callbacks_set_on_frame_not_send_callback(table, frameNotSent)
  return unsafe table
}()

// Safety, for all of this file: `data` is the session's HTTP2Context, which outlives the session;
// user data of a stream is its HTTP2Stream, freed only in `streamClosed`; frames and bytes are lent
// by the library for the duration of the call.
@inline(always)
private func contextOf(_ data: UnsafeMutableRawPointer?) -> UnsafeMutablePointer<HTTP2Context>? {
  unsafe data?.assumingMemoryBound(to: HTTP2Context.self)
}

@inline(always)
private func streamOf(
  _ session: OpaquePointer?, _ id: Int32
) -> UnsafeMutablePointer<HTTP2Stream>? {
  unsafe nghttp2_session_get_stream_user_data(session, id)?
    .assumingMemoryBound(to: HTTP2Stream.self)
}

@inline(always)
private func isType(_ frame: UnsafePointer<nghttp2_frame>, _ type: nghttp2_frame_type) -> Bool {
  unsafe UInt32(frame.pointee.hd.type) == type.rawValue
}

@inline(always)
private func has(_ frame: UnsafePointer<nghttp2_frame>, _ flag: nghttp2_flag) -> Bool {
  unsafe UInt32(frame.pointee.hd.flags) & flag.rawValue != 0
}

@c(bascule_h2_begin_headers)
func beginHeaders(
  _ session: OpaquePointer?, _ frame: UnsafePointer<nghttp2_frame>?,
  _ data: UnsafeMutableRawPointer?
) -> CInt {
  guard let context = unsafe contextOf(data), let frame = unsafe frame else { return 0 }
  let id = unsafe frame.pointee.hd.stream_id
  unsafe context.pointee.fieldsStream = id
  guard unsafe frame.pointee.headers.cat == NGHTTP2_HCAT_REQUEST else {
    unsafe context.pointee.fields.startTrailers()
    return 0
  }
  unsafe context.pointee.fields.startOver()
  guard unsafe context.pointee.count < context.pointee.streamsMax else {
    unsafe nghttp2_submit_rst_stream(session, 0, id, HTTP2ErrorCode.refusedStream.rawValue)
    return 0
  }
  let stream = unsafe context.pointee.open(id)
  unsafe nghttp2_session_set_stream_user_data(session, id, stream)
  // Streams take turns, frame by frame: none waits for another to be done (RFC 9218, section 10).
  var priority = nghttp2_extpri(urgency: UInt32(NGHTTP2_EXTPRI_DEFAULT_URGENCY), inc: 1)
  unsafe nghttp2_session_change_extpri_stream_priority(session, id, &priority, 1)
  return 0
}

@c(bascule_h2_header)
func header(
  _ session: OpaquePointer?, _ frame: UnsafePointer<nghttp2_frame>?,
  _ name: UnsafePointer<UInt8>?, _ nameCount: Int, _ value: UnsafePointer<UInt8>?,
  _ valueCount: Int, _ flags: UInt8, _ data: UnsafeMutableRawPointer?
) -> CInt {
  guard let context = unsafe contextOf(data) else { return 0 }
  let nameBytes = unsafe UnsafeBufferPointer(start: name, count: name == nil ? 0 : nameCount)
  let valueBytes = unsafe UnsafeBufferPointer(start: value, count: value == nil ? 0 : valueCount)
  unsafe context.pointee.fields.add(nameBytes.span, valueBytes.span)
  return 0
}

@c(bascule_h2_frame_received)
func frameReceived(
  _ session: OpaquePointer?, _ frame: UnsafePointer<nghttp2_frame>?,
  _ data: UnsafeMutableRawPointer?
) -> CInt {
  guard let context = unsafe contextOf(data), let frame = unsafe frame else { return 0 }
  let id = unsafe frame.pointee.hd.stream_id
  if unsafe isType(frame, NGHTTP2_DATA) {
    if unsafe has(frame, NGHTTP2_FLAG_END_STREAM) { unsafe peerEnded(session, context, id) }
  } else if unsafe isType(frame, NGHTTP2_HEADERS) {
    unsafe headersReceived(session, context, frame)
  } else if unsafe isType(frame, NGHTTP2_RST_STREAM) {
    unsafe streamOf(session, id)?.pointee.flags.insert(.resetByPeer)
  } else if unsafe isType(frame, NGHTTP2_PING), unsafe has(frame, NGHTTP2_FLAG_ACK) {
    let bytes = unsafe frame.pointee.ping.opaque_data
    let packed = UInt64(bigEndian: unsafe unsafeBitCast(bytes, to: UInt64.self))
    unsafe context.pointee.report(.pong(packed))
  } else if unsafe isType(frame, NGHTTP2_GOAWAY) {
    unsafe context.pointee.report(.goAwayReceived(code: frame.pointee.goaway.error_code))
  }
  return 0
}

private func peerEnded(
  _ session: OpaquePointer?, _ context: UnsafeMutablePointer<HTTP2Context>, _ id: Int32,
  trailers: [UInt8] = []
) {
  guard let stream = unsafe streamOf(session, id) else { return }
  unsafe stream.pointee.flags.insert(.peerEnded)
  let owner = unsafe stream.pointee.knownOwner
  unsafe context.pointee.report(.ended(stream: id, owner: owner, trailers: trailers))
}

/// A complete field block of a well-formed message: a request or its trailers.
private func headersReceived(
  _ session: OpaquePointer?, _ context: UnsafeMutablePointer<HTTP2Context>,
  _ frame: UnsafePointer<nghttp2_frame>
) {
  let id = unsafe frame.pointee.hd.stream_id
  guard let stream = unsafe streamOf(session, id) else { return }
  let ends = unsafe has(frame, NGHTTP2_FLAG_END_STREAM)
  if unsafe frame.pointee.headers.cat == NGHTTP2_HCAT_REQUEST {
    unsafe stream.pointee.flags.insert(ends ? [.announced, .peerEnded] : .announced)
    do throws(HTTPViolation) {
      let head = try unsafe context.pointee.fields.finish(ends: ends)
      if head.equals(head.method, "CONNECT") { unsafe stream.pointee.flags.insert(.connected) }
      unsafe context.pointee.report(.request(stream: id, head, ends: ends))
    } catch {
      unsafe context.pointee.report(.refused(stream: id, error))
    }
  } else if unsafe stream.pointee.flags.contains(.connected) {
    // Nothing but DATA belongs on it (RFC 9113, section 8.5).
    unsafe nghttp2_submit_rst_stream(session, 0, id, HTTP2ErrorCode.protocolError.rawValue)
  } else if ends {
    unsafe trailersReceived(session, context, id)
  }
  unsafe context.pointee.fields.startOver()
}

/// They are counted like a head.
private func trailersReceived(
  _ session: OpaquePointer?, _ context: UnsafeMutablePointer<HTTP2Context>, _ id: Int32
) {
  do throws(HTTPViolation) {
    let trailers = try unsafe context.pointee.fields.finishTrailers()
    unsafe peerEnded(session, context, id, trailers: trailers)
  } catch {
    // The peer made us do this.
    unsafe nghttp2_submit_rst_stream(session, 0, id, HTTP2ErrorCode.enhanceYourCalm.rawValue)
  }
}

@c(bascule_h2_data_received)
func dataReceived(
  _ session: OpaquePointer?, _ flags: UInt8, _ id: Int32, _ bytes: UnsafePointer<UInt8>?,
  _ count: Int, _ data: UnsafeMutableRawPointer?
) -> CInt {
  guard let context = unsafe contextOf(data), let bytes = unsafe bytes,
    let input = unsafe context.pointee.input
  else { return 0 }
  unsafe context.pointee.received += count
  let start = unsafe bytes - input
  let owner = unsafe streamOf(session, id)?.pointee.knownOwner
  unsafe context.pointee.report(.data(stream: id, owner: owner, start..<(start + count)))
  return 0
}

@c(bascule_h2_stream_closed)
func streamClosed(
  _ session: OpaquePointer?, _ id: Int32, _ code: UInt32, _ data: UnsafeMutableRawPointer?
) -> CInt {
  guard let context = unsafe contextOf(data) else { return 0 }
  // What was decoded of a refused or malformed request, which nobody has asked for.
  if unsafe context.pointee.fieldsStream == id { unsafe context.pointee.fields.startOver() }
  guard let stream = unsafe streamOf(session, id) else { return 0 }
  unsafe nghttp2_session_set_stream_user_data(session, id, nil)
  let flags = unsafe stream.pointee.flags
  if flags.contains(.announced) {
    let owner = unsafe stream.pointee.knownOwner
    unsafe context.pointee.report(
      .closed(stream: id, owner: owner, code: code, byPeer: flags.contains(.resetByPeer)))
  } else {
    unsafe context.pointee.report(.malformed(stream: id))
  }
  unsafe context.pointee.close(stream)
  return 0
}

/// How many bytes of the stream the next DATA frame may carry. They stay where they are.
@c(bascule_h2_read_unsent)
func readUnsent(
  _ session: OpaquePointer?, _ id: Int32, _ buffer: UnsafeMutablePointer<UInt8>?, _ length: Int,
  _ flags: UnsafeMutablePointer<UInt32>?, _ source: UnsafeMutablePointer<nghttp2_data_source>?,
  _ data: UnsafeMutableRawPointer?
) -> Int {
  guard let context = unsafe contextOf(data), let flags = unsafe flags,
    let stream = unsafe source?.pointee.ptr?.assumingMemoryBound(to: HTTP2Stream.self)
  else { return Int(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue) }
  guard let output = unsafe context.pointee.output,
    unsafe output._withUnsafeGuaranteedRef({ $0.count }) < context.pointee.outputLimit
  else { return Int(NGHTTP2_ERR_PAUSE.rawValue) }
  let waiting = unsafe stream.pointee.unsent.count
  let isFinishing = unsafe stream.pointee.flags.contains(.finishing)
  if waiting == 0, !isFinishing {
    unsafe stream.pointee.flags.insert(.idle)
    return Int(NGHTTP2_ERR_DEFERRED.rawValue)
  }
  unsafe flags.pointee |= NGHTTP2_DATA_FLAG_NO_COPY.rawValue
  if isFinishing, waiting <= length {
    unsafe flags.pointee |= NGHTTP2_DATA_FLAG_EOF.rawValue
    if let trailers = unsafe stream.pointee.trailers.take() {
      unsafe flags.pointee |= NGHTTP2_DATA_FLAG_NO_END_STREAM.rawValue
      guard unsafe submitTrailers(session, id, trailers) else {
        return Int(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue)
      }
    }
  }
  return min(waiting, length)
}

/// HEADERS that end the stream, behind the DATA frame that is being made: the library's manual wants
/// them queued from here. False when memory is out.
private func submitTrailers(
  _ session: OpaquePointer?, _ id: Int32, _ fields: FieldBlock
) -> Bool {
  unsafe NGHTTP2.withFields(nil, fields) { entries, count in
    unsafe nghttp2_submit_trailer(session, id, entries, count)
  } == 0
}

/// Writes one DATA frame straight from the stream's queue to the output.
@c(bascule_h2_send_data)
func sendData(
  _ session: OpaquePointer?, _ frame: UnsafeMutablePointer<nghttp2_frame>?,
  _ head: UnsafePointer<UInt8>?, _ length: Int,
  _ source: UnsafeMutablePointer<nghttp2_data_source>?, _ data: UnsafeMutableRawPointer?
) -> CInt {
  guard let context = unsafe contextOf(data), let output = unsafe context.pointee.output,
    let spare = unsafe context.pointee.spare,
    let stream = unsafe source?.pointee.ptr?.assumingMemoryBound(to: HTTP2Stream.self)
  else { return NGHTTP2_ERR_CALLBACK_FAILURE.rawValue }
  // Safety: the library gives 9 bytes, and `length` is at most what `readUnsent` returned.
  unsafe output._withUnsafeGuaranteedRef { output in
    unsafe output.append(UnsafeBufferPointer(start: head, count: 9).span)
    unsafe stream.pointee.unsent.withSpan { output.append($0.extracting(0..<length)) }
  }
  unsafe stream.pointee.unsent.consume(length, &spare.pointee)
  if length > 0 {
    let owner = unsafe stream.pointee.knownOwner
    unsafe context.pointee.report(.sent(stream: stream.pointee.id, owner: owner, count: length))
  }
  return 0
}

@c(bascule_h2_frame_sent)
func frameSent(
  _ session: OpaquePointer?, _ frame: UnsafePointer<nghttp2_frame>?,
  _ data: UnsafeMutableRawPointer?
) -> CInt {
  guard let context = unsafe contextOf(data), let frame = unsafe frame else { return 0 }
  unsafe context.pointee.framesSent += 1
  let id = unsafe frame.pointee.hd.stream_id
  if unsafe isType(frame, NGHTTP2_RST_STREAM) {
    if unsafe context.pointee.ownResets > 0 {
      unsafe context.pointee.ownResets -= 1
    } else {
      unsafe context.pointee.madeResets += 1
    }
  } else if unsafe isType(frame, NGHTTP2_GOAWAY) {
    let code = unsafe frame.pointee.goaway.error_code
    if code != 0 { unsafe context.pointee.terminated = code }
  } else if unsafe has(frame, NGHTTP2_FLAG_END_STREAM),
    unsafe isType(frame, NGHTTP2_DATA) || isType(frame, NGHTTP2_HEADERS),
    let stream = unsafe streamOf(session, id)
  {
    unsafe stream.pointee.flags.insert(.endSent)
    if unsafe isType(frame, NGHTTP2_HEADERS) || frame.pointee.hd.length == 0 {
      unsafe context.pointee.report(.sent(stream: id, owner: stream.pointee.knownOwner, count: 0))
    }
    if unsafe stream.pointee.flags.contains(.resetsAfterEnd) {
      unsafe resetAfterEnd(session, context, stream)
    }
  }
  return 0
}

/// A response that cannot be sent must not leave its stream waiting for ever.
@c(bascule_h2_frame_not_sent)
func frameNotSent(
  _ session: OpaquePointer?, _ frame: UnsafePointer<nghttp2_frame>?, _ error: CInt,
  _ data: UnsafeMutableRawPointer?
) -> CInt {
  guard let context = unsafe contextOf(data), let frame = unsafe frame,
    unsafe isType(frame, NGHTTP2_HEADERS),
    let stream = unsafe streamOf(session, frame.pointee.hd.stream_id)
  else { return 0 }
  unsafe resetByOwner(session, context, stream, .internalError)
  return 0
}

/// RST_STREAM(NO_ERROR) behind a complete response (RFC 9113, section 8.1), if the peer still sends.
func resetAfterEnd(
  _ session: OpaquePointer?, _ context: UnsafeMutablePointer<HTTP2Context>,
  _ stream: UnsafeMutablePointer<HTTP2Stream>
) {
  guard unsafe !stream.pointee.flags.contains(.peerEnded) else { return }
  unsafe resetByOwner(session, context, stream, .noError)
}

/// RST_STREAM for which the peer is not to blame; once per stream.
func resetByOwner(
  _ session: OpaquePointer?, _ context: UnsafeMutablePointer<HTTP2Context>,
  _ stream: UnsafeMutablePointer<HTTP2Stream>, _ code: HTTP2ErrorCode
) {
  guard unsafe !stream.pointee.flags.contains(.resetByOwner) else { return }
  unsafe stream.pointee.flags.insert(.resetByOwner)
  unsafe stream.pointee.unsent.removeAll()
  let queued = unsafe nghttp2_session_get_outbound_queue_size(session)
  unsafe nghttp2_submit_rst_stream(session, 0, stream.pointee.id, code.rawValue)
  // Not when the library is about to reset the stream itself.
  if unsafe nghttp2_session_get_outbound_queue_size(session) > queued {
    unsafe context.pointee.ownResets += 1
  }
}
