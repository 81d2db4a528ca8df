// Why TLS did not work: on a connection (a trivial enum, made per event) and at set-up (a sentence
// for the operator, made once per load). The only place that renders OpenSSL's error codes.

internal import COpenSSL

/// Why a session ended. The session is of no further use, except that the alert which OpenSSL
/// may have put in `output` should still be sent.
public enum TLSFailure: Error, Sendable, Equatable {
  /// OpenSSL's packed error code; `reason` renders it.
  case library(code: UInt)
  /// The peer sent a fatal alert (RFC 8446 section 6.2).
  case peerAlert(UInt8)
  /// We do not trust the peer's certificate: an `X509_V_ERR_…` code.
  case certificateRejected(reason: Int32)
  /// A handshake message of the client exceeded 16 KiB.
  case helloTooLong
  /// More KeyUpdates, alerts or other post-handshake messages than a peer has reason to send.
  case controlFlood
  /// Data was given to a session whose handshake is not over. A mistake of ours.
  case notEstablished

  /// For logs and counters.
  public var word: StaticString {
    switch self {
    case .library: "tls_error"
    case .peerAlert: "tls_alert_received"
    case .certificateRejected: "tls_certificate_rejected"
    case .helloTooLong: "tls_hello_too_long"
    case .controlFlood: "tls_control_flood"
    case .notEstablished: "tls_not_established"
    }
  }

  /// In the library's words. For logs; allocates.
  public var reason: String {
    switch self {
    case .library(let code): LibraryErrors.text(of: code)
    case .peerAlert(let alert): "alert received: \(LibraryErrors.text(ofAlert: alert))"
    case .certificateRejected(let reason): LibraryErrors.text(ofVerification: reason)
    case .helloTooLong: "handshake message longer than 16 KiB"
    case .controlFlood: "too many post-handshake messages or alerts"
    case .notEstablished: "the handshake is not over"
    }
  }
}

/// Why a context could not be made from the operator's certificate, key or CA file.
public struct TLSSetupFailure: Error, Sendable, Equatable, CustomStringConvertible {
  /// The `name` of the `CertificateSource`, or nil when it is about the context as a whole.
  public let certificateName: String?
  public let reason: String

  public var description: String {
    certificateName.map { "\($0): \(reason)" } ?? reason
  }

  /// `what` failed just now; the reason comes from OpenSSL's error queue, which is emptied.
  static func library(_ what: String, certificate: String? = nil) -> TLSSetupFailure {
    let code = LibraryErrors.takeFirst()
    let reason = code == 0 ? what : "\(what): \(LibraryErrors.text(of: code))"
    return TLSSetupFailure(certificateName: certificate, reason: reason)
  }
}

/// OpenSSL's error queue, one per thread. Whoever makes a call that fails empties it, because
/// `SSL_get_error` takes whatever is left there for the fault of the session at hand.
enum LibraryErrors {
  /// The oldest error, which is the cause; what followed from it is dropped. 0 when there is none.
  static func takeFirst() -> UInt {
    let code = ERR_get_error()
    if code != 0 { ERR_clear_error() }
    return code
  }

  @inline(always)
  static func clear() {
    if ERR_peek_error() != 0 { ERR_clear_error() }
  }

  static func text(of code: UInt) -> String {
    // Safety: OpenSSL returns a static, zero-terminated string or nil.
    guard let reason = unsafe ERR_reason_error_string(code) else { return "error \(code)" }
    return unsafe String(cString: reason)
  }

  static func text(ofAlert alert: UInt8) -> String {
    // Safety: a static string for every value ("unknown" for the unassigned).
    unsafe String(cString: SSL_alert_desc_string_long(CInt(alert)))
  }

  static func text(ofVerification code: Int32) -> String {
    // Safety: static strings for the codes known; all others get a thread's buffer, copied here.
    unsafe String(cString: X509_verify_cert_error_string(Int(code)))
  }
}
