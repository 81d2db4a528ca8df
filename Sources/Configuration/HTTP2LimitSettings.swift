// The `http2_` keys of the `limits` section; all of them count per connection. Several ranges end where
// nghttp2 1.52 ends the connection by itself: more could be written, but would not be had.

/// Limits of HTTP/2 connections (behaviour.md 9).
public struct HTTP2LimitSettings: Sendable, Equatable {
  /// Concurrent streams of one connection.
  public var streams = 100
  /// Bytes a client may send ahead on one stream.
  public var streamWindow = 64 * 1024
  /// Bytes a client may send ahead on all streams of a connection.
  public var connectionWindow = 1024 * 1024
  /// Bytes of a field list as RFC 9113 section 10.5.1 counts them: 32 more for each field.
  public var headerList = 32 * 1024
  /// CONTINUATION frames of one field block.
  public var continuations = 8
  /// Streams a client may reset at once, and then per second.
  public var resetsBurst = 200
  public var resetsRate = 20
  /// Streams the gateway resets for a client's mistakes at once, and then per second.
  public var ownResetsBurst = 100
  public var ownResetsRate = 10
  /// Answers to a client's control frames that may wait to be sent.
  public var controlFrames = 1000
  /// Entries of one SETTINGS frame.
  public var settingsEntries = 32

  public init() {}

  /// A window of a stream that is larger than the connection's could never be used up.
  func validate(_ written: WrittenSection, _ reader: inout Reader) {
    let stream = "http2_stream_window"
    let connection = "http2_connection_window"
    guard written.areRight(stream, connection), streamWindow > connectionWindow else { return }
    let node = written[stream] ?? written[connection] ?? written.node
    reader.report(
      node.location,
      "\(stream) (\(streamWindow) bytes) does not fit into \(connection)"
        + " (\(connectionWindow) bytes)")
  }
}

extension Limits {
  /// The rows of these limits, in the order of the reference.
  static let http2Keys: [ConfigKey<Self>] = [
    ConfigKey(
      "http2_streams", \.http2.streams, .integer(1...10_000),
      "Streams a client may have open on one HTTP/2 connection."),
    ConfigKey(
      "http2_stream_window", \.http2.streamWindow, .size(16_384...16_777_216),
      "Bytes a client may send ahead on one stream."),
    ConfigKey(
      "http2_connection_window", \.http2.connectionWindow, .size(65_536...1_073_741_824),
      "Bytes a client may send ahead on all streams of a connection."),
    ConfigKey(
      "http2_header_list", \.http2.headerList, .size(1024...1_048_576),
      "The fields of a request, decoded, with 32 bytes more for each; longer ones get 431."),
    ConfigKey(
      "http2_continuations", \.http2.continuations, .integer(1...8),
      "CONTINUATION frames of one head; more end the connection."),
    ConfigKey(
      "http2_resets_burst", \.http2.resetsBurst, .integer(1...1000),
      "Streams a client may reset at once before its connection is ended."),
    ConfigKey(
      "http2_resets_rate", \.http2.resetsRate, .integer(1...33),
      "Streams per second a client may reset for long."),
    ConfigKey(
      "http2_own_resets_burst", \.http2.ownResetsBurst, .integer(1...10_000),
      "Streams the gateway resets at once for what a client does before the connection is ended."),
    ConfigKey(
      "http2_own_resets_rate", \.http2.ownResetsRate, .integer(1...10_000),
      "The same per second, for long."),
    ConfigKey(
      "http2_control_frames", \.http2.controlFrames, .integer(10...1000),
      "Answers to a client's control frames that may wait to be sent; more end the connection."),
    ConfigKey(
      "http2_settings_entries", \.http2.settingsEntries, .integer(8...32),
      "Entries of one SETTINGS frame; more end the connection."),
  ]
}
