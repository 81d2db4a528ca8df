// Every way in which an HTTP/2 connection can fail: errors of the protocol, and the budgets that bound
// what a peer may cost us. One case each, so that each has a counter. A violation ends the connection
// with GOAWAY; faults of a single request never appear here.

/// The error codes of RFC 9113, section 7.
public enum HTTP2ErrorCode: UInt32, Sendable, CaseIterable {
  case noError = 0
  case protocolError, internalError, flowControlError, settingsTimeout, streamClosed
  case frameSizeError, refusedStream, cancel, compressionError, connectError, enhanceYourCalm
  case inadequateSecurity, http11Required
}

/// Why a connection was ended by us. Section numbers are of RFC 9113.
public enum HTTP2Violation: Error, Sendable, Equatable, CaseIterable {
  // The protocol
  /// The first bytes are no client preface (3.4).
  case badPreface
  /// Anything that section 7 calls PROTOCOL_ERROR.
  case protocolError
  /// More DATA than the window allows, or a window beyond 2^31-1 (5.2, 6.9).
  case flowControl
  /// A frame longer than allowed, or of a length its type cannot have (4.2).
  case frameSize
  /// HPACK that cannot be decoded (RFC 7541).
  case compression
  /// A frame on a stream that the peer itself has ended or reset (5.1).
  case streamClosed
  /// A stream identifier below one that was used before (5.1.1).
  case streamIdentifier

  // Budgets
  /// Streams reset by the peer: Rapid Reset.
  case resetFlood
  /// Streams that we were made to reset or refuse.
  case madeResetFlood
  /// CONTINUATION frames of one field block.
  case continuationFlood
  /// Encoded bytes of one field block.
  case fieldBlockTooLarge
  case settingsFlood
  /// Entries in one SETTINGS frame.
  case settingsTooLarge
  case pingFlood
  case priorityFlood
  case windowUpdateFlood
  /// DATA frames that carry nothing and end nothing.
  case emptyFrameFlood
  /// Frames of types that we do not know.
  case unknownFrameFlood
  /// Frame headers, padding and the like out of all proportion to what they carry.
  case overheadFlood
  /// Control frames that wait because the peer does not read.
  case queuedControlFlood

  // Ours
  /// The library gave up without saying why it did.
  case libraryGaveUp
  /// We ended the connection ourselves.
  case ended

  /// What GOAWAY says.
  public var code: HTTP2ErrorCode {
    switch self {
    case .badPreface, .protocolError, .streamIdentifier: .protocolError
    case .flowControl: .flowControlError
    case .frameSize: .frameSizeError
    case .compression: .compressionError
    case .streamClosed: .streamClosed
    case .resetFlood, .madeResetFlood, .continuationFlood, .fieldBlockTooLarge, .settingsFlood,
      .settingsTooLarge, .pingFlood, .priorityFlood, .windowUpdateFlood, .emptyFrameFlood,
      .unknownFrameFlood, .overheadFlood, .queuedControlFlood, .libraryGaveUp:
      .enhanceYourCalm
    case .ended: .noError
    }
  }

  /// For log lines.
  public var word: StaticString {
    switch self {
    case .badPreface: "h2-preface"
    case .protocolError: "h2-protocol-error"
    case .flowControl: "h2-flow-control"
    case .frameSize: "h2-frame-size"
    case .compression: "h2-compression"
    case .streamClosed: "h2-stream-closed"
    case .streamIdentifier: "h2-stream-identifier"
    case .resetFlood: "h2-reset-flood"
    case .madeResetFlood: "h2-made-reset-flood"
    case .continuationFlood: "h2-continuation-flood"
    case .fieldBlockTooLarge: "h2-field-block"
    case .settingsFlood: "h2-settings-flood"
    case .settingsTooLarge: "h2-settings-entries"
    case .pingFlood: "h2-ping-flood"
    case .priorityFlood: "h2-priority-flood"
    case .windowUpdateFlood: "h2-window-update-flood"
    case .emptyFrameFlood: "h2-empty-frame-flood"
    case .unknownFrameFlood: "h2-unknown-frame-flood"
    case .overheadFlood: "h2-overhead-flood"
    case .queuedControlFlood: "h2-queued-control"
    case .libraryGaveUp: "h2-library"
    case .ended: "h2-ended"
    }
  }

  /// The violation behind a connection error that the library has found.
  init(libraryCode: UInt32) {
    switch HTTP2ErrorCode(rawValue: libraryCode) {
    case .protocolError: self = .protocolError
    case .flowControlError: self = .flowControl
    case .frameSizeError: self = .frameSize
    case .compressionError: self = .compression
    case .streamClosed: self = .streamClosed
    default: self = .libraryGaveUp
    }
  }
}
