import Bytes
import COpenSSL
import Testing

@testable import TLS

@Suite("Names, trust and protocols")
struct TrustTests {
  @Test(
    "the certificate follows the SNI: exact name, wildcard of one label, else the first",
    arguments: [
      ("a.example", 0), ("b.example", 1), ("B.Example", 1), ("x.c.example", 2),
      ("d.c.example", 1), ("c.example", 0), ("y.x.c.example", 0), ("unknown.example", 0),
    ])
  func certificateBySNI(name: String, expected: Int) throws {
    let identities = [
      try Identity(["a.example"]), try Identity(["b.example", "d.c.example"]),
      try Identity(["*.c.example", "b.example"]),
    ]
    let server = try TLSContext.server(ServerTLS(certificates: identities.map(\.source)))
    let client = try TLSContext.client(ClientTLS(verify: false))
    let pair = try Pair(server: server, client: client, name: name)
    pair.exchange()
    #expect(pair.client.isEstablished)
    #expect(pair.client.peerCertificate() == identities[expected].source.certificatePEM)
    #expect(pair.server.serverName == name)
  }

  @Test("an RSA certificate serves both versions", arguments: [false, true])
  func rsa(tls12Only: Bool) throws {
    let identity = try Identity(rsa: ["a.example"])
    let server = try TLSContext.server(ServerTLS(certificates: [identity.source]))
    let client = try TLSContext.client(ClientTLS(caPEM: identity.source.certificatePEM))
    if tls12Only { limitToTLS12(client) }
    let pair = try Pair(server: server, client: client, name: "a.example")
    pair.exchange()
    #expect(pair.client.progress == .established)
  }

  @Test("only AEAD ciphers with forward secrecy are on, AES-128 first")
  func ciphers() throws {
    let setting = try Setting()
    let names = withExtendedLifetime(setting) {
      let list = SSL_CTX_get_ciphers(setting.server.primary)
      return (0..<OPENSSL_sk_num(list)).map {
        String(cString: SSL_CIPHER_get_name(OpaquePointer(OPENSSL_sk_value(list, $0))))
      }
    }
    #expect(
      names == [
        "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256",
        "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305",
      ])
  }

  @Test("a client whose first key share is not of our groups is asked for another")
  func helloRetry() throws {
    let identities = [try Identity(["a.example"]), try Identity(["b.example"])]
    let server = try TLSContext.server(ServerTLS(certificates: identities.map(\.source)))
    let client = try TLSContext.client(ClientTLS(verify: false))
    #expect(bascule_ssl_ctx_set_groups(client.primary, "P-384:P-256") == 1)
    let pair = try Pair(server: server, client: client, name: "b.example")
    pair.exchange(.pieces(100))
    #expect(pair.client.isEstablished)
    #expect(pair.client.peerCertificate() == identities[1].source.certificatePEM)

    #expect(bascule_ssl_ctx_set_groups(client.primary, "P-384") == 1)
    let refused = try Pair(server: server, client: client, name: "b.example")
    refused.exchange()
    // handshake_failure
    #expect(refused.client.progress == .failed(.peerAlert(40)))
  }

  @Test("the common name counts only where the certificate has no alternative names")
  func commonName() throws {
    let identities = [
      try Identity(["a.example"], commonName: "cn.example"),
      try Identity([], commonName: "cn.example"),
    ]
    let server = try TLSContext.server(ServerTLS(certificates: identities.map(\.source)))
    let client = try TLSContext.client(ClientTLS(verify: false))
    let pair = try Pair(server: server, client: client, name: "cn.example")
    pair.exchange()
    #expect(pair.client.peerCertificate() == identities[1].source.certificatePEM)
  }

  @Test(
    "a ticket is good for the certificate it was issued under only",
    arguments: [("a.example", true), ("b.example", false)])
  func ticketAcrossCertificates(name: String, isResumed: Bool) throws {
    let identities = [try Identity(["a.example"]), try Identity(["b.example"])]
    let server = try TLSContext.server(ServerTLS(certificates: identities.map(\.source)))
    let client = try TLSContext.client(ClientTLS(verify: false))
    let first = try Pair(server: server, client: client, name: "a.example")
    first.exchange()
    let ticket = try #require(Ticket(of: first.client))
    let pair = try Pair(server: server, resuming: ticket, client: client, name: name)
    pair.exchange()
    #expect(pair.server.isEstablished && pair.client.isEstablished)
    #expect(pair.server.isResumed == isResumed)
  }

  @Test(
    "a name that the certificate is not for is refused by the client, with an alert",
    arguments: ["b.example", "x.a.example", "127.0.0.1", "a.example.evil"])
  func wrongHost(name: String) throws {
    let pair = try Setting().pair(name)
    pair.exchange()
    let isIP = name == "127.0.0.1"
    let expected = isIP ? X509_V_ERR_IP_ADDRESS_MISMATCH : X509_V_ERR_HOSTNAME_MISMATCH
    #expect(pair.client.progress == .failed(.certificateRejected(reason: expected)))
    #expect(!pair.client.isEstablished && !pair.server.isEstablished)
    // bad_certificate
    #expect(pair.server.progress == .failed(.peerAlert(42)))
  }

  @Test(
    "IP addresses are verified against the certificate's, and not sent as SNI",
    arguments: ["127.0.0.1", "::1", "[::1]"])
  func addresses(name: String) throws {
    let pair = try Setting(names: ["a.example", "127.0.0.1", "::1"]).joined(name)
    #expect(pair.server.serverName == nil)
  }

  @Test("an authority that the client does not know is refused")
  func unknownAuthority() throws {
    let other = try Identity(["a.example"])
    let setting = try Setting()
    let client = try TLSContext.client(ClientTLS(caPEM: other.source.certificatePEM))
    let pair = try Pair(server: setting.server, client: client, name: "a.example")
    pair.exchange()
    guard case .failed(.certificateRejected) = pair.client.progress else {
      Issue.record("\(pair.client.progress)")
      return
    }
    let system = try TLSContext.client(ClientTLS())
    let second = try Pair(server: setting.server, client: system, name: "a.example")
    second.exchange()
    let expected = X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT
    let failure = TLSFailure.certificateRejected(reason: expected)
    #expect(second.client.progress == .failed(failure))
    #expect(failure.reason == "self-signed certificate")
  }

  @Test("an expired certificate is a warning at set-up and refused by a client")
  func expired() throws {
    let identity = try Identity(["a.example"], validFrom: -7_200, until: -3_600)
    let server = try TLSContext.server(ServerTLS(certificates: [identity.source]))
    #expect(server.warnings == ["a.example: the certificate has expired"])
    let client = try TLSContext.client(ClientTLS(caPEM: identity.source.certificatePEM))
    let pair = try Pair(server: server, client: client, name: "a.example")
    pair.exchange()
    let expected = TLSFailure.certificateRejected(reason: X509_V_ERR_CERT_HAS_EXPIRED)
    #expect(pair.client.progress == .failed(expected))

    let early = try Identity(["a.example"], validFrom: 3_600, until: 7_200)
    let second = try TLSContext.server(ServerTLS(certificates: [early.source]))
    #expect(second.warnings == ["a.example: the certificate is not valid yet"])
    #expect(try Setting().server.warnings.isEmpty)
  }

  @Test(
    "ALPN takes our most preferred protocol that the client offers",
    arguments: [
      (["h2", "http/1.1"], ["http/1.1", "h2"], "h2"),
      (["http/1.1"], ["h2", "http/1.1"], "http/1.1"),
      (["http/1.1"], [], nil), ([], ["h2"], nil),
    ])
  func alpn(ours: [String], offered: [String], expected: String?) throws {
    let pair = try Setting(protocols: ours, offered: offered).joined()
    #expect(pair.server.protocolName == expected)
    #expect(pair.client.protocolName == expected)
  }

  @Test("no protocol in common ends the handshake with no_application_protocol")
  func alpnMismatch() throws {
    let pair = try Setting(protocols: ["http/1.1"], offered: ["h2", "http/1"]).pair()
    pair.exchange()
    #expect(pair.server.progress.isFailed)
    #expect(pair.client.progress == .failed(.peerAlert(120)))
  }

  @Test("a server name that cannot be one makes no session", arguments: ["", "[]", "a\0b"])
  func badServerName(name: String) throws {
    let setting = try Setting()
    #expect(throws: End.Unmade.self) { _ = try End(client: setting.client, name: name) }
  }
}

@Suite("Set-up")
struct SetupTests {
  private func failure(_ sources: [CertificateSource]) -> TLSSetupFailure? {
    do throws(TLSSetupFailure) {
      _ = try TLSContext.server(ServerTLS(certificates: sources))
      return nil
    } catch { return error }
  }

  @Test("failures name the certificate and say what is wrong")
  func messages() throws {
    let good = try Identity(["a.example"]).source
    let other = try Identity(["b.example"]).source
    #expect(failure([])?.description == "no certificate")

    var mixed = good
    mixed.keyPEM = other.keyPEM
    #expect(
      failure([mixed])?.description
        == "a.example: the key does not fit the certificate: key values mismatch")

    var empty = good
    empty.certificatePEM = []
    #expect(failure([other, empty])?.description == "a.example: no certificate in the file")

    var garbled = good
    garbled.certificatePEM.replaceSubrange(100..<110, with: [UInt8](repeating: 0x21, count: 10))
    let problem = try #require(failure([garbled]))
    #expect(problem.certificateName == "a.example")
    #expect(problem.reason.hasPrefix("cannot read the certificate: "))

    var keyless = good
    keyless.keyPEM = Array("nothing".utf8)
    #expect(failure([keyless])?.reason == "no readable key, or one with a passphrase: unsupported")
    #expect(ERR_peek_error() == 0)
  }

  @Test("intermediate certificates are sent with the leaf, in the order of the file")
  func chain() throws {
    var source = try Identity(["a.example"]).source
    let others = [try Identity(["first"]).source, try Identity(["second"]).source]
    for other in others { source.certificatePEM += other.certificatePEM }
    let server = try TLSContext.server(ServerTLS(certificates: [source]))
    let client = try TLSContext.client(ClientTLS(verify: false))
    let pair = try Pair(server: server, client: client, name: "a.example")
    pair.exchange()
    #expect(pair.client.isEstablished)
    let shown = MemoryFile()
    let stack = SSL_get_peer_cert_chain(pair.client.ssl)
    for index in 0..<OPENSSL_sk_num(stack) {
      PEM_write_bio_X509(shown.bio, OPENSSL_sk_value(stack, index).map { OpaquePointer($0) })
    }
    #expect(shown.contents() == source.certificatePEM)
  }

  @Test("a key with a passphrase is refused without asking anybody")
  func protectedKey() throws {
    var source = try Identity(["a.example"]).source
    source.keyPEM = Array(
      """
      -----BEGIN EC PRIVATE KEY-----
      Proc-Type: 4,ENCRYPTED
      DEK-Info: AES-128-CBC,0102030405060708090A0B0C0D0E0F10

      AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
      -----END EC PRIVATE KEY-----

      """.utf8)
    let problem = try #require(failure([source]))
    #expect(problem.reason.hasPrefix("no readable key, or one with a passphrase: "))
  }

  @Test("no damage to a certificate or key file does more than fail")
  func damagedFiles() throws {
    let good = try Identity(["a.example"]).source
    for offset in stride(from: 0, to: good.certificatePEM.count, by: 3) {
      var flipped = good
      flipped.certificatePEM[offset] ^= 0x11
      _ = failure([flipped])
      var cut = good
      cut.certificatePEM.removeLast(cut.certificatePEM.count - offset)
      #expect(failure([cut]) != nil, "cut at \(offset)")
    }
    for offset in 0..<good.keyPEM.count {
      var flipped = good
      flipped.keyPEM[offset] ^= 0x11
      _ = failure([flipped])
    }
    #expect(failure([good]) == nil)
  }

  @Test("a CA text without a certificate is refused")
  func emptyAuthorities() {
    #expect(throws: TLSSetupFailure(certificateName: nil, reason: "no certificate in the CA file"))
    {
      _ = try TLSContext.client(ClientTLS(caPEM: Array("\n".utf8)))
    }
  }

  @Test(
    "names that could say more than a name make no certificate",
    arguments: ["a.example,DNS:b.example", "", "a b", "a\nb", "é"])
  func plainNamesOnly(name: String) {
    #expect(SelfSigned.make(names: [name]) == nil)
  }
}
