// One TLS connection, as a transformation of bytes: ciphertext in, plaintext out, and the reverse.
// Owned by its connection's slot. Knows no socket and no clock; between calls it holds no buffer.

public import Bytes
internal import COpenSSL

/// What a session is at after a call.
public enum TLSProgress: Sendable, Equatable {
  case handshaking
  case established
  /// The peer has sent close_notify: no more plaintext will come.
  case closed
  case failed(TLSFailure)
}

/// A session of either side. Every call consumes all it is given and leaves what must be sent in
/// `output`, also when it fails (the alert). A TCP end of stream without `closed` before it is a
/// truncation; telling the two apart is the caller's matter.
@safe
public struct TLSSession: ~Copyable {
  // Safety: `ssl` is owned, and owns `bio`. Callbacks point at `context`, which therefore must
  // live as long as the session.
  let ssl: OpaquePointer
  private let bio: OpaquePointer
  private let context: TLSContext
  private(set) var watch = PeerWatch()
  private var hasSentClose = false
  /// The handshake is over. Stays true when the session has closed or failed since.
  public private(set) var isEstablished = false
  /// What the last call came to. `closed` and `failed` are final for receiving.
  public private(set) var progress = TLSProgress.handshaking

  /// Nil only when memory is out.
  public init?(server context: TLSContext) {
    guard let (ssl, bio) = unsafe Self.make(context) else { return nil }
    unsafe SSL_set_accept_state(ssl)
    unsafe self.ssl = unsafe ssl
    unsafe self.bio = unsafe bio
    self.context = context
  }

  /// `serverName`: the DNS name or IP address (brackets allowed) that the certificate must be for,
  /// unless the context does not verify. A DNS name is also sent as SNI. Nil when OpenSSL refuses
  /// the name, or memory is out.
  public init?(client context: TLSContext, serverName: String) {
    guard let (ssl, bio) = unsafe Self.make(context) else { return nil }
    defer { LibraryErrors.clear() }
    guard unsafe Self.expect(serverName, of: ssl) else {
      unsafe SSL_free(ssl)
      return nil
    }
    unsafe SSL_set_connect_state(ssl)
    unsafe self.ssl = unsafe ssl
    unsafe self.bio = unsafe bio
    self.context = context
  }

  deinit { unsafe SSL_free(ssl) }

  // Safety: the session takes over the BIO's one reference, for both directions.
  private static func make(_ context: TLSContext) -> (OpaquePointer, OpaquePointer)? {
    LibraryErrors.clear()
    guard let ssl = unsafe SSL_new(context.primary) else { return nil }
    guard let bio = unsafe TLSMemoryIO.makeBIO() else {
      unsafe SSL_free(ssl)
      return nil
    }
    unsafe SSL_set_bio(ssl, bio, bio)
    return unsafe (ssl, bio)
  }

  /// Sets the name that the peer's certificate must be for, and the SNI.
  private static func expect(_ serverName: String, of ssl: OpaquePointer) -> Bool {
    var name = serverName[...]
    if name.hasPrefix("["), name.hasSuffix("]") { name = name.dropFirst().dropLast() }
    guard !name.isEmpty, !name.utf8.contains(0) else { return false }
    let text = String(name)
    // Safety: OpenSSL copies the strings; the parameters belong to the session.
    let parameters = unsafe SSL_get0_param(ssl)
    if unsafe X509_VERIFY_PARAM_set1_ip_asc(parameters, text) == 1 { return true }
    unsafe SSL_set_hostflags(ssl, UInt32(X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS))
    return unsafe SSL_set1_host(ssl, text) == 1 && bascule_ssl_set_host_name(ssl, text) == 1
  }

  /// Begins the handshake: a client's ClientHello goes to `output`. Nothing to do for a server.
  public mutating func start(output: SharedBuffer) -> TLSProgress {
    guard progress == .handshaking else { return progress }
    return unsafe lend(Span(), output: output) { session, io in unsafe session.handshake(io) }
  }

  /// Takes all of `ciphertext` and appends all plaintext in it to `plaintext`, which must not be
  /// `output`. `now` is the time of this turn; it bounds post-handshake messages per second.
  public mutating func receive(
    _ ciphertext: Span<UInt8>, now: MonotonicTime, plaintext: SharedBuffer, output: SharedBuffer
  ) -> TLSProgress {
    invariant(plaintext !== output, "plaintext and ciphertext in one buffer")
    watch.now = now
    return unsafe lend(ciphertext, output: output) { session, io in
      if session.progress == .handshaking { unsafe session.handshake(io) }
      if session.progress == .established { unsafe session.read(io, into: plaintext) }
    }
  }

  /// Encrypts all of `plaintext` into `output`. Still possible after the peer's close_notify, and
  /// not before the handshake is over.
  public mutating func send(_ plaintext: Span<UInt8>, output: SharedBuffer) -> TLSProgress {
    guard isEstablished else { return .failed(.notEstablished) }
    if case .failed = progress { return progress }
    if plaintext.count == 0 { return progress }
    return unsafe lend(Span(), output: output) { session, io in
      unsafe session.write(plaintext, io)
    }
  }

  /// Sends our close_notify, once, unless the session has failed or not been established.
  public mutating func closeNotify(output: SharedBuffer) {
    if case .failed = progress { return }
    guard isEstablished, !hasSentClose else { return }
    hasSentClose = true
    _ = unsafe lend(Span(), output: output) { session, io in
      // 0 and 1 tell whether the peer's has come yet; a failure leaves nothing more to do.
      _ = unsafe SSL_shutdown(session.ssl)
    }
  }
}

// What a session came to, for logs and for choosing what to speak on it.
extension TLSSession {
  /// The application protocol that ALPN agreed on; nil when the client offered none.
  public var protocolName: String? {
    var bytes: UnsafePointer<UInt8>?
    var count: UInt32 = 0
    // Safety: OpenSSL lends `count` bytes, copied here.
    unsafe SSL_get0_alpn_selected(ssl, &bytes, &count)
    guard count > 0 else { return nil }
    let name = unsafe UnsafeBufferPointer(start: bytes, count: Int(count))
    return unsafe String(decoding: name, as: UTF8.self)
  }

  /// Of no meaning before the handshake is over. Nothing older than 1.2 is ever agreed on.
  public var version: TLSVersion {
    // Safety: reads a number.
    unsafe SSL_version(ssl) == TLS1_3_VERSION ? .tls13 : .tls12
  }

  /// The name in the client's SNI, unvalidated.
  public var serverName: String? {
    // Safety: belongs to the session, copied here.
    guard let name = unsafe SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name) else { return nil }
    return unsafe String(cString: name)
  }

  /// Whether a request for `host` (a lower-cased name, or an address with its brackets) belongs on
  /// this server's session: its certificate is for it, the client has named it when it connected, or
  /// it is an address, which no client names.
  public func isFor(host: String) -> Bool {
    let asked = unsafe SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name)
    if let asked = unsafe asked {
      if unsafe String(cString: asked).lowercased() == host { return true }
    } else if IPAddress(parsing: Self.withoutBrackets(host).utf8.span) != nil {
      return true
    }
    guard let certificate = unsafe SSL_get_certificate(ssl) else { return false }
    let name = Self.withoutBrackets(host)
    defer { LibraryErrors.clear() }
    // Safety: both read the text up to its zero; a length of 0 says that there is one.
    return unsafe X509_check_host(certificate, name, 0, 0, nil) == 1
      || X509_check_ip_asc(certificate, name, 0) == 1
  }

  private static func withoutBrackets(_ host: String) -> String {
    host.hasPrefix("[") ? String(host.dropFirst().dropLast()) : host
  }

  /// The handshake was an abbreviated one, from a ticket.
  public var isResumed: Bool { unsafe SSL_session_reused(ssl) == 1 }
}

// The steps. Each runs inside `lend` and sets `progress`.
extension TLSSession {
  /// Lends `ciphertext` and `output` to OpenSSL for the time of `body`.
  @inline(always)
  private mutating func lend(
    _ ciphertext: Span<UInt8>, output: SharedBuffer,
    _ body: (inout TLSSession, UnsafeMutablePointer<TLSMemoryIO>) -> Void
  ) -> TLSProgress {
    LibraryErrors.clear()
    // Safety: the BIO's data points at `io` between the two BIO_set_data, and nowhere afterwards;
    // the span and `output` outlive `body`.
    unsafe ciphertext.withUnsafeBufferPointer { bytes in
      var io = unsafe TLSMemoryIO(
        next: bytes.baseAddress, left: bytes.count, output: .passUnretained(output), watch: watch,
        isEstablished: isEstablished)
      unsafe withUnsafeMutablePointer(to: &io) { lent in
        unsafe BIO_set_data(bio, lent)
        unsafe body(&self, lent)
        unsafe BIO_set_data(bio, nil)
      }
      unsafe watch = io.watch
    }
    withExtendedLifetime(output) {}
    return progress
  }

  private mutating func handshake(_ io: UnsafeMutablePointer<TLSMemoryIO>) {
    let result = unsafe SSL_do_handshake(ssl)
    guard unsafe settle(result, io) else { return }
    unsafe io.pointee.isEstablished = true
    isEstablished = true
    progress = .established
  }

  /// Reads until OpenSSL has neither ciphertext to take nor anything decrypted to give. It must be
  /// asked at least once: only then does it free the buffer that the handshake was read into.
  private mutating func read(
    _ io: UnsafeMutablePointer<TLSMemoryIO>, into plaintext: SharedBuffer
  ) {
    let ssl = unsafe ssl
    repeat {
      plaintext.reserve(Int(SSL3_RT_MAX_PLAIN_LENGTH))
      var result: CInt = 0
      // Safety: OpenSSL writes at most the room it is told of, and says how much it wrote.
      _ = unsafe plaintext.appendUnsafe(limit: plaintext.room) { room in
        var count = 0
        unsafe result = SSL_read_ex(ssl, room.baseAddress, room.count, &count)
        return result == 1 ? count : 0
      }
      guard unsafe settle(result, io) else { return }
    } while unsafe io.pointee.left > 0 || SSL_has_pending(ssl) == 1
  }

  private mutating func write(_ plaintext: Span<UInt8>, _ io: UnsafeMutablePointer<TLSMemoryIO>) {
    var count = 0
    // Safety: without partial writes OpenSSL takes the whole span or fails; the BIO never blocks.
    let result = unsafe plaintext.withUnsafeBufferPointer { bytes in
      unsafe SSL_write_ex(ssl, bytes.baseAddress, bytes.count, &count)
    }
    _ = unsafe settle(result, io)
  }

  /// True when a call went well. Otherwise `progress` says what it came to; waiting for more
  /// ciphertext leaves it as it was.
  private mutating func settle(
    _ result: CInt, _ io: UnsafeMutablePointer<TLSMemoryIO>
  ) -> Bool {
    if let verdict = unsafe io.pointee.watch.verdict {
      unsafe condemn(verdict, io)
      return false
    }
    if result == 1 { return true }
    switch unsafe SSL_get_error(ssl, result) {
    case SSL_ERROR_WANT_READ: break
    case SSL_ERROR_ZERO_RETURN: progress = .closed
    default: progress = .failed(takeFailure())
    }
    LibraryErrors.clear()
    return false
  }

  /// Ends a session that OpenSSL itself has nothing against.
  private mutating func condemn(
    _ verdict: TLSFailure, _ io: UnsafeMutablePointer<TLSMemoryIO>
  ) {
    progress = .failed(verdict)
    LibraryErrors.clear()
    // A fatal illegal_parameter alert, in the clear: no keys have been agreed on yet.
    if verdict == .helloTooLong {
      unsafe io.pointee.output.takeUnretainedValue().append([21, 3, 3, 0, 2, 2, 47])
    }
  }

  private func takeFailure() -> TLSFailure {
    let code = LibraryErrors.takeFirst()
    guard ERR_GET_LIB(code) == ERR_LIB_SSL else { return .library(code: code) }
    let reason = ERR_GET_REASON(code)
    let verification = unsafe Int32(truncatingIfNeeded: SSL_get_verify_result(ssl))
    if reason == SSL_R_CERTIFICATE_VERIFY_FAILED, verification != X509_V_OK {
      return .certificateRejected(reason: verification)
    }
    if let alert = UInt8(exactly: reason - SSL_AD_REASON_OFFSET) { return .peerAlert(alert) }
    return .library(code: code)
  }
}
