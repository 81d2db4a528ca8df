// Two sessions joined in memory, and the certificates that the tests use.

import Bytes
import COpenSSL
import Testing

@testable import TLS

struct Identity {
  let source: CertificateSource

  init(
    _ names: [String], commonName: String = "bascule test", validFrom: Int = -86_400,
    until: Int = 86_400
  ) throws {
    let made = try #require(
      SelfSigned.make(names: names, commonName: commonName, validFrom: validFrom, until: until))
    source = CertificateSource(
      certificatePEM: made.certificatePEM, keyPEM: made.keyPEM, name: names.first ?? commonName)
  }

  /// The same with an RSA key of 2,048 bits.
  init(rsa names: [String]) throws {
    let made = try Identity(names).source
    let generator = EVP_PKEY_CTX_new_from_name(nil, "RSA", nil)
    defer { EVP_PKEY_CTX_free(generator) }
    var key: OpaquePointer?
    EVP_PKEY_keygen_init(generator)
    EVP_PKEY_CTX_set_rsa_keygen_bits(generator, 2_048)
    try #require(EVP_PKEY_generate(generator, &key) == 1)
    defer { EVP_PKEY_free(key) }
    let certificate = try #require(try Certificate.readAll(made.certificatePEM).get().first)
    X509_set_pubkey(certificate.handle, key)
    try #require(X509_sign(certificate.handle, key, EVP_sha256()) > 0)
    let files = (certificate: MemoryFile(), key: MemoryFile())
    PEM_write_bio_X509(files.certificate.bio, certificate.handle)
    PEM_write_bio_PrivateKey(files.key.bio, key, nil, nil, 0, nil, nil)
    source = CertificateSource(
      certificatePEM: files.certificate.contents(), keyPEM: files.key.contents(),
      name: made.name)
  }
}

/// How the bytes on the way are cut.
enum Cut {
  case whole
  case pieces(Int)
  /// Once, after so many bytes of each flight.
  case at(Int)

  func pieces(of bytes: [UInt8]) -> [[UInt8]] {
    switch self {
    case .whole: return [bytes]
    case .pieces(let size):
      return stride(from: 0, to: bytes.count, by: size).map {
        Array(bytes[$0..<min($0 + size, bytes.count)])
      }
    case .at(let offset):
      return [Array(bytes.prefix(offset)), Array(bytes.dropFirst(offset))]
    }
  }
}

/// One end: a session with buffers of its own.
final class End {
  private var session: TLSSession
  private let output = SharedBuffer(capacity: 64)
  private let plaintext = SharedBuffer(capacity: 64)
  var now = MonotonicTime(nanoseconds: 1)

  init(server: TLSContext) throws {
    guard let made = TLSSession(server: server) else { throw Unmade() }
    session = made
  }
  init(client: TLSContext, name: String) throws {
    guard let made = TLSSession(client: client, serverName: name) else { throw Unmade() }
    session = made
    _ = session.start(output: output)
  }
  struct Unmade: Error {}

  /// A client that offers what it kept of an earlier session.
  init(resuming ticket: Ticket, _ client: TLSContext, name: String) throws {
    guard let made = TLSSession(client: client, serverName: name) else { throw Unmade() }
    session = made
    SSL_set_session(session.ssl, ticket.session)
    _ = session.start(output: output)
  }

  var ssl: OpaquePointer { session.ssl }
  var progress: TLSProgress { session.progress }
  var isEstablished: Bool { session.isEstablished }
  var isResumed: Bool { session.isResumed }
  var protocolName: String? { session.protocolName }
  var version: TLSVersion { session.version }
  var serverName: String? { session.serverName }
  var controls: UInt16 { session.watch.controls }
  var hasOutput: Bool { !output.isEmpty }

  @discardableResult
  func receive(_ bytes: [UInt8]) -> TLSProgress {
    session.receive(bytes.span, now: now, plaintext: plaintext, output: output)
  }
  @discardableResult
  func send(_ bytes: [UInt8]) -> TLSProgress { session.send(bytes.span, output: output) }
  func close() { session.closeNotify(output: output) }

  func takeOutput() -> [UInt8] { Self.take(output) }
  func takePlaintext() -> [UInt8] { Self.take(plaintext) }

  /// The certificate that the peer showed, as PEM.
  func peerCertificate() -> [UInt8] {
    guard let certificate = SSL_get1_peer_certificate(ssl) else { return [] }
    defer { X509_free(certificate) }
    let file = MemoryFile()
    PEM_write_bio_X509(file.bio, certificate)
    return file.contents()
  }

  static func take(_ buffer: SharedBuffer) -> [UInt8] {
    var bytes: [UInt8] = []
    buffer.withSpan { span in
      bytes.reserveCapacity(span.count)
      for index in 0..<span.count { bytes.append(span[index]) }
    }
    buffer.reset()
    return bytes
  }
}

final class Pair {
  let server: End
  let client: End

  init(server: TLSContext, client: TLSContext, name: String) throws {
    self.server = try End(server: server)
    self.client = try End(client: client, name: name)
  }

  init(server: TLSContext, resuming ticket: Ticket, client: TLSContext, name: String) throws {
    self.server = try End(server: server)
    self.client = try End(resuming: ticket, client, name: name)
  }

  /// Carries bytes to and fro until both ends are silent.
  func exchange(_ cut: Cut = .whole) {
    for _ in 0..<32 {
      let toServer = client.takeOutput()
      for piece in cut.pieces(of: toServer) { server.receive(piece) }
      let toClient = server.takeOutput()
      for piece in cut.pieces(of: toClient) { client.receive(piece) }
      if toServer.isEmpty && toClient.isEmpty { return }
    }
    Issue.record("the two ends never fell silent")
  }
}

/// A server for `names` and a client that trusts it.
struct Setting {
  let server: TLSContext
  let client: TLSContext

  init(
    names: [String] = ["a.example"], minimum: TLSVersion = .tls12, protocols: [String] = [],
    offered: [String] = [], tls12Only: Bool = false
  ) throws {
    let identity = try Identity(names)
    server = try TLSContext.server(
      ServerTLS(
        certificates: [identity.source], minimumVersion: minimum, protocols: protocols))
    client = try TLSContext.client(
      ClientTLS(caPEM: identity.source.certificatePEM, protocols: offered))
    if tls12Only { limitToTLS12(client) }
  }

  func pair(_ name: String = "a.example") throws -> Pair {
    try Pair(server: server, client: client, name: name)
  }

  /// A pair whose handshake is over.
  func joined(_ name: String = "a.example") throws -> Pair {
    let pair = try pair(name)
    pair.exchange()
    try #require(pair.server.isEstablished && pair.client.isEstablished)
    return pair
  }
}

func limitToTLS12(_ context: TLSContext) {
  SSL_CTX_ctrl(
    context.primary, SSL_CTRL_SET_MAX_PROTO_VERSION, Int(TLS1_2_VERSION), nil)
}

/// Bytes that look like nothing in particular and are the same in every run.
func pattern(_ count: Int) -> [UInt8] {
  (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
}

/// A client's memory of a session.
final class Ticket {
  let session: OpaquePointer
  init?(of client: End) {
    guard let session = SSL_get1_session(client.ssl) else { return nil }
    self.session = session
  }
  deinit { SSL_SESSION_free(session) }
}
