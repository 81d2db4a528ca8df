// Makes one SSL_CTX: our policy first (versions, ciphers, what is off), then certificates or trust.
// Lives during set-up only; frees what it made unless `release` has handed it over.

internal import Bytes
internal import COpenSSL

/// One OpenSSL context under construction.
@safe
final class ContextBuilder {
  private var handle: OpaquePointer?

  /// AEAD with forward secrecy only (RFC 9325 section 4.2).
  private static let ciphers12 = """
    ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:\
    ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:\
    ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305
    """
  private static let ciphers13 =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
  private static let groups = "X25519:P-256"

  /// Tickets (RFC 5077, RFC 8446 section 4.6.1) are on, with the keys of `TicketKeys`. One ticket per handshake, not OpenSSL's two: each costs an
  /// encryption and 250 bytes, and a client gets a fresh one whenever it resumes.
  convenience init(server minimum: TLSVersion) throws(TLSSetupFailure) {
    // Safety: a constant method table; the result is checked.
    unsafe try self.init(SSL_CTX_new(TLS_server_method()), minimum: minimum)
    unsafe SSL_CTX_set_num_tickets(handle, 1)
    unsafe bascule_ssl_ctx_set_ticket_callback(handle, ticketKeyAsked)
    // No 0-RTT: a replayed upgrade would open a second WebSocket.
    unsafe SSL_CTX_set_max_early_data(handle, 0)
    unsafe SSL_CTX_set_recv_max_early_data(handle, 0)
  }

  convenience init(client verify: Bool) throws(TLSSetupFailure) {
    // Safety: as above.
    unsafe try self.init(SSL_CTX_new(TLS_client_method()), minimum: .tls12)
    unsafe SSL_CTX_set_verify(handle, verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nil)
  }

  // Safety: `handle` is ours from here on and is freed by `deinit`; OpenSSL copies the strings.
  private init(_ handle: OpaquePointer?, minimum: TLSVersion) throws(TLSSetupFailure) {
    unsafe self.handle = unsafe handle
    guard unsafe handle != nil else { throw .library("cannot make a TLS context") }
    unsafe SSL_CTX_set_options(handle, bascule_ssl_options())
    unsafe bascule_ssl_ctx_set_modes(handle)
    unsafe bascule_ssl_ctx_set_read_ahead(handle)
    unsafe bascule_ssl_ctx_disable_session_cache(handle)
    unsafe SSL_CTX_set_msg_callback(handle, messageSeen)
    let version = minimum == .tls13 ? TLS1_3_VERSION : TLS1_2_VERSION
    guard unsafe bascule_ssl_ctx_set_min_version(handle, version) == 1,
      unsafe SSL_CTX_set_cipher_list(handle, Self.ciphers12) == 1,
      unsafe SSL_CTX_set_ciphersuites(handle, Self.ciphers13) == 1,
      unsafe bascule_ssl_ctx_set_groups(handle, Self.groups) == 1
    else { throw .library("OpenSSL refuses our protocol settings") }
  }

  deinit { unsafe SSL_CTX_free(handle) }

  /// Hands the context over, with its one reference.
  @unsafe
  func release() -> OpaquePointer {
    guard let released = unsafe handle else { unreachable("a context is released once") }
    unsafe handle = nil
    return unsafe released
  }

  struct Leaf {
    var names: [String]
    var warning: String?
  }

  /// Installs a certificate, its chain and its key.
  func use(
    _ source: CertificateSource, _ clients: ClientAuthentication?
  ) throws(TLSSetupFailure) -> Leaf {
    let chain: [Certificate]
    switch Certificate.readAll(source.certificatePEM) {
    case .success(let certificates): chain = certificates
    case .failure(let problem): throw problem.named(source.name)
    }
    guard let leaf = chain.first else {
      throw TLSSetupFailure(certificateName: source.name, reason: "no certificate in the file")
    }
    // Safety: OpenSSL counts its own reference to the leaf and takes those that `share` adds.
    guard unsafe SSL_CTX_use_certificate(handle, leaf.handle) == 1 else {
      throw .library("certificate refused", certificate: source.name)
    }
    for certificate in chain.dropFirst() {
      guard unsafe bascule_ssl_ctx_add_chain(handle, certificate.share()) == 1 else {
        certificate.unshare()
        throw .library("intermediate certificate refused", certificate: source.name)
      }
    }
    try useKey(source)
    if let clients { try askClients(clients.caPEM, required: clients.isRequired) }
    try bindTickets(to: leaf, clients, name: source.name)
    return Leaf(names: leaf.serverNames(), warning: leaf.validityWarning())
  }

  private func useKey(_ source: CertificateSource) throws(TLSSetupFailure) {
    let memory = MemoryFile(source.keyPEM)
    // Safety: the callback keeps OpenSSL from asking for a passphrase on the terminal.
    guard let key = unsafe PEM_read_bio_PrivateKey(memory.bio, nil, noPassphrase, nil) else {
      throw .library("no readable key, or one with a passphrase", certificate: source.name)
    }
    defer { unsafe EVP_PKEY_free(key) }
    guard unsafe SSL_CTX_use_PrivateKey(handle, key) == 1,
      unsafe SSL_CTX_check_private_key(handle) == 1
    else { throw .library("the key does not fit the certificate", certificate: source.name) }
  }

  /// Asks clients for a certificate of one of `authorities`. `required`: those without one are refused.
  func askClients(_ authorities: [UInt8], required: Bool) throws(TLSSetupFailure) {
    try trust(authorities)
    let mode = SSL_VERIFY_PEER | (required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0)
    unsafe SSL_CTX_set_verify(handle, mode, nil)
    guard case .success(let certificates) = Certificate.readAll(authorities) else { return }
    for certificate in certificates {
      // Safety: OpenSSL copies the name. Clients choose by these names which certificate they send.
      guard unsafe SSL_CTX_add_client_CA(handle, certificate.handle) == 1 else {
        throw .library("certificate authority refused")
      }
    }
  }

  /// A ticket is good for the certificate it was issued under and no other, and where the same is
  /// asked of clients: else a ticket of a listener that asks for nothing would open one that does.
  private func bindTickets(
    to leaf: Certificate, _ clients: ClientAuthentication?, name: String
  ) throws(TLSSetupFailure) {
    var digest = leaf.fingerprint()
    if let clients, !digest.isEmpty {
      let policy = clients.caPEM + [clients.isRequired ? 1 : 0]
      digest = Digest.hmacSHA256(key: digest.span, policy.span)
    }
    // Safety: OpenSSL copies the bytes, at most SSL_MAX_SID_CTX_LENGTH (32) of them.
    let isSet = unsafe digest.withUnsafeBufferPointer { bytes in
      unsafe SSL_CTX_set_session_id_context(handle, bytes.baseAddress, UInt32(bytes.count))
    }
    if digest.isEmpty || isSet != 1 {
      throw .library("cannot take the certificate's fingerprint", certificate: name)
    }
  }

  /// Trusts the certificates of `caPEM`, or the system's when it is nil.
  func trust(_ caPEM: [UInt8]?) throws(TLSSetupFailure) {
    guard let caPEM else {
      if unsafe SSL_CTX_set_default_verify_paths(handle) == 1 { return }
      throw .library("cannot use the system's certificate authorities")
    }
    let certificates: [Certificate]
    switch Certificate.readAll(caPEM) {
    case .success(let read): certificates = read
    case .failure(let problem): throw problem
    }
    if certificates.isEmpty {
      throw TLSSetupFailure(certificateName: nil, reason: "no certificate in the CA file")
    }
    // Safety: the store belongs to the context and counts its own references.
    let store = unsafe SSL_CTX_get_cert_store(handle)
    for certificate in certificates {
      guard unsafe X509_STORE_add_cert(store, certificate.handle) == 1 else {
        throw .library("certificate authority refused")
      }
    }
  }

  /// Offers `protocols` in every ClientHello.
  func offer(_ protocols: ProtocolList) throws(TLSSetupFailure) {
    if protocols.isEmpty { return }
    // Safety: OpenSSL copies the list. Unlike its kin this function returns 0 when it worked.
    let failed = unsafe protocols.wire.withUnsafeBufferPointer { bytes in
      unsafe SSL_CTX_set_alpn_protos(handle, bytes.baseAddress, UInt32(bytes.count))
    }
    if failed != 0 { throw .library("cannot offer the protocols") }
  }
}

/// Asked for the passphrase of a protected key: there is none.
@c(bascule_tls_no_passphrase)
func noPassphrase(
  _ buffer: UnsafeMutablePointer<CChar>?, _ size: CInt, _ isForWriting: CInt,
  _ argument: UnsafeMutableRawPointer?
) -> CInt {
  -1
}
