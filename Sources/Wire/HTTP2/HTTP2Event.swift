// What an HTTP/2 session reports to its owner, in the order of the wire. Plain values: ranges point
// into the bytes that were just received, ids are stream identifiers (RFC 9113, section 5.1.1).

/// One thing that happened on a connection. `closed` or `malformed` is the last event of a stream. An
/// event tells what was true when its bytes were read: later bytes of the same call may have closed the
/// stream already, which `HTTP2Session.isOpen` knows.
public enum HTTP2Event: Sendable {
  /// A request whose head passed every check; `ends`: END_STREAM came with it.
  case request(stream: Int32, RequestHead, ends: Bool)
  /// A request to be answered with the violation's status. Its fields have been dropped already;
  /// DATA of it may follow.
  case refused(stream: Int32, HTTPViolation)
  /// A request that is malformed in the sense of RFC 9113, section 8.1.1. The stream is gone, with
  /// RST_STREAM(PROTOCOL_ERROR); there is nothing to answer.
  case malformed(stream: Int32)
  /// Payload of DATA: a range of the bytes given to `receive`. Never empty, never padding. `owner`, here
  /// and below, is the one from before the call: the stream may be gone by its end.
  case data(stream: Int32, owner: UInt64?, Range<Int>)
  /// END_STREAM from the peer, on DATA or on trailers (RFC 9113, section 8.1). `trailers`: those that may
  /// be passed on, as lines of `name: value` CRLF, like `BodyFraming.trailers`.
  case ended(stream: Int32, owner: UInt64?, trailers: [UInt8])
  /// The stream is gone: both sides ended, or RST_STREAM was received (`byPeer`) or has been sent.
  /// `owner` is nil as well when it went in the same call in which it came.
  case closed(stream: Int32, owner: UInt64?, code: UInt32, byPeer: Bool)
  /// `count` payload bytes of the stream have been put into the output; 0 is END_STREAM by itself.
  case sent(stream: Int32, owner: UInt64?, count: Int)
  /// The answer to a PING of ours.
  case pong(UInt64)
  /// The peer is leaving. Once no stream is open, nothing more is read: the connection can close.
  case goAwayReceived(code: UInt32)
}

/// What became of the bytes received.
public enum HTTP2Progress: Sendable, Equatable {
  case open
  /// The connection is over. GOAWAY is queued: send what is there and close.
  case failed(HTTP2Violation)
}
