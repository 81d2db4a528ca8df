// Everything that sessions of one listener or one upstream share: certificates, keys, trusted
// authorities, ticket keys. Made off the workers' threads, used by all of them, replaced as a
// whole at a reload; sessions keep the context they began with.

internal import Bytes
internal import COpenSSL

/// A set-up TLS endpoint. Release the last reference and its keys are freed with it.
// Safety of @unchecked: nothing is changed after `server` or `client` returns, and OpenSSL counts
// references to its contexts atomically and locks what it changes in them (the ticket counters).
@safe
public final class TLSContext: @unchecked Sendable {
  /// One per certificate, in the order given; exactly one for a client.
  let handles: [OpaquePointer]
  let names: ServerNames
  let protocols: ProtocolList
  let verifiesPeer: Bool
  /// For the log: certificates that clients will not accept (expired or not yet valid).
  public let warnings: [String]

  private init(
    handles: [OpaquePointer], names: ServerNames, protocols: ProtocolList, verifiesPeer: Bool,
    warnings: [String]
  ) {
    unsafe self.handles = unsafe handles
    self.names = names
    self.protocols = protocols
    self.verifiesPeer = verifiesPeer
    self.warnings = warnings
  }

  // Safety: each handle came from SSL_CTX_new with one reference, which is ours.
  deinit { unsafe handles.forEach { unsafe SSL_CTX_free($0) } }

  /// The context that a new session starts with.
  var primary: OpaquePointer? { unsafe handles.first }

  /// Throws when a certificate or key cannot be read, or the two do not belong together. An
  /// expired certificate is a warning: it may be replaced before the next client comes.
  public static func server(_ settings: ServerTLS) throws(TLSSetupFailure) -> TLSContext {
    LibraryErrors.clear()
    defer { LibraryErrors.clear() }
    if settings.certificates.isEmpty {
      throw TLSSetupFailure(certificateName: nil, reason: "no certificate")
    }
    var builders: [ContextBuilder] = []
    var names = ServerNames()
    var warnings: [String] = []
    for (index, source) in settings.certificates.enumerated() {
      let builder = try ContextBuilder(server: settings.minimumVersion)
      let leaf = try builder.use(source, settings.clients)
      for name in leaf.names { names.add(name, certificate: index) }
      if let warning = leaf.warning { warnings.append("\(source.name): \(warning)") }
      builders.append(builder)
    }
    let context = unsafe TLSContext(
      handles: builders.map { unsafe $0.release() }, names: names,
      protocols: ProtocolList(settings.protocols), verifiesPeer: false, warnings: warnings)
    context.installServerCallbacks()
    return context
  }

  public static func client(_ settings: ClientTLS) throws(TLSSetupFailure) -> TLSContext {
    LibraryErrors.clear()
    defer { LibraryErrors.clear() }
    let builder = try ContextBuilder(client: settings.verify)
    if settings.verify { try builder.trust(settings.caPEM) }
    let protocols = ProtocolList(settings.protocols)
    try builder.offer(protocols)
    return unsafe TLSContext(
      handles: [builder.release()], names: ServerNames(), protocols: protocols,
      verifiesPeer: settings.verify, warnings: [])
  }

  // Safety: the callbacks get an unretained pointer to this object. They run inside sessions only,
  // and every session holds a reference to its context.
  private func installServerCallbacks() {
    let me = unsafe Unmanaged.passUnretained(self).toOpaque()
    for index in unsafe handles.indices {
      let handle = unsafe handles[index]
      unsafe bascule_ssl_ctx_set_servername_callback(handle, serverNameAcknowledged)
      if unsafe handles.count > 1 {
        unsafe SSL_CTX_set_client_hello_cb(handle, clientHelloSeen, me)
      }
      if !protocols.isEmpty { unsafe SSL_CTX_set_alpn_select_cb(handle, protocolsOffered, me) }
    }
  }

  // Safety: `pointer` is what `installServerCallbacks` passed.
  fileprivate static func from(_ pointer: UnsafeMutableRawPointer?) -> TLSContext? {
    guard let pointer = unsafe pointer else { return nil }
    return unsafe Unmanaged<TLSContext>.fromOpaque(pointer).takeUnretainedValue()
  }

  /// Switches `session` to the certificate for the name its ClientHello asks for. Before OpenSSL
  /// looks at tickets, so that one issued under another certificate is not accepted.
  fileprivate func chooseCertificate(for session: OpaquePointer?) {
    var bytes: UnsafePointer<UInt8>?
    var count = 0
    let kind = UInt32(TLSEXT_TYPE_server_name)
    // Safety: OpenSSL lends `count` bytes of the ClientHello for the time of the callback.
    guard unsafe SSL_client_hello_get0_ext(session, kind, &bytes, &count) == 1 else { return }
    let body = unsafe UnsafeBufferPointer(start: bytes, count: count).span
    guard let name = ServerNames.hostName(inExtension: body),
      let index = names.certificate(for: name), index > 0, unsafe index < handles.count
    else { return }
    unsafe SSL_set_SSL_CTX(session, handles[index])
  }
}

/// Runs for every ClientHello of a context with several certificates.
@c(bascule_tls_client_hello)
func clientHelloSeen(
  _ session: OpaquePointer?, _ alert: UnsafeMutablePointer<CInt>?,
  _ context: UnsafeMutableRawPointer?
) -> CInt {
  unsafe TLSContext.from(context)?.chooseCertificate(for: session)
  return SSL_CLIENT_HELLO_SUCCESS
}

/// The certificate is chosen already; this only makes OpenSSL acknowledge the name (RFC 6066).
@c(bascule_tls_server_name)
func serverNameAcknowledged(
  _ session: OpaquePointer?, _ alert: UnsafeMutablePointer<CInt>?,
  _ context: UnsafeMutableRawPointer?
) -> CInt {
  SSL_TLSEXT_ERR_OK
}

/// Answers ALPN; nothing in common ends the handshake with `no_application_protocol` (RFC 7301).
@c(bascule_tls_alpn)
func protocolsOffered(
  _ session: OpaquePointer?, _ chosen: UnsafeMutablePointer<UnsafePointer<UInt8>?>?,
  _ chosenCount: UnsafeMutablePointer<UInt8>?, _ offered: UnsafePointer<UInt8>?,
  _ offeredCount: UInt32, _ context: UnsafeMutableRawPointer?
) -> CInt {
  guard let context = unsafe TLSContext.from(context), let offered = unsafe offered else {
    return SSL_TLSEXT_ERR_ALERT_FATAL
  }
  // Safety: OpenSSL lends `offeredCount` bytes, and takes a choice that points into them.
  let list = unsafe UnsafeBufferPointer(start: offered, count: Int(offeredCount)).span
  guard let range = context.protocols.choose(from: list) else { return SSL_TLSEXT_ERR_ALERT_FATAL }
  unsafe chosen?.pointee = offered + range.lowerBound
  unsafe chosenCount?.pointee = UInt8(truncatingIfNeeded: range.count)
  return SSL_TLSEXT_ERR_OK
}
