// X.509 certificates as far as set-up needs them: reading PEM, the names they are for, their dates.
// Owns its OpenSSL object; never used on a worker.

internal import COpenSSL

/// Bytes as OpenSSL's readers want them. They are borrowed for as long as the object lives.
@safe
final class MemoryFile {
  let bio: OpaquePointer?

  /// For reading `bytes`, which are copied.
  init(_ bytes: [UInt8]) {
    // Safety: a growing memory BIO copies what is written to it.
    unsafe bio = BIO_new(BIO_s_mem())
    unsafe bytes.withUnsafeBufferPointer { source in
      let count = CInt(clamping: source.count)
      if count > 0 { unsafe BIO_write(bio, source.baseAddress, count) }
    }
  }

  /// For writing.
  convenience init() { self.init([]) }

  deinit { unsafe BIO_free(bio) }

  /// What has been written and not been read.
  func contents() -> [UInt8] {
    var bytes: UnsafeMutablePointer<CChar>?
    // Safety: OpenSSL lends `count` bytes that stay until the BIO is written or freed.
    let count = unsafe bascule_bio_contents(bio, &bytes)
    guard let bytes = unsafe bytes, count > 0 else { return [] }
    let raw = unsafe UnsafeRawBufferPointer(start: bytes, count: count)
    return unsafe [UInt8](raw)
  }
}

/// One certificate.
@safe
final class Certificate {
  let handle: OpaquePointer

  // Safety: takes over the caller's reference.
  init(_ handle: OpaquePointer) { unsafe self.handle = unsafe handle }
  deinit { unsafe X509_free(handle) }

  /// Every certificate of a PEM text, in order; empty when there is none.
  static func readAll(_ pem: [UInt8]) -> Result<[Certificate], TLSSetupFailure> {
    LibraryErrors.clear()
    let memory = MemoryFile(pem)
    var certificates: [Certificate] = []
    // Safety: each certificate read is a new object with one reference.
    while let handle = unsafe PEM_read_bio_X509(memory.bio, nil, noPassphrase, nil) {
      unsafe certificates.append(Certificate(handle))
    }
    // "No start line" is how OpenSSL says that the text is over.
    let code = LibraryErrors.takeFirst()
    let isEnd =
      ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE
    if isEnd || code == 0 { return .success(certificates) }
    let reason = "cannot read the certificate: \(LibraryErrors.text(of: code))"
    return .failure(TLSSetupFailure(certificateName: nil, reason: reason))
  }

  /// The certificate with one more reference, for an owner other than this object.
  @unsafe
  func share() -> OpaquePointer {
    unsafe X509_up_ref(handle)
    return unsafe handle
  }

  /// Takes back a reference that nobody wanted.
  func unshare() { unsafe X509_free(handle) }

  /// SHA-256 of the whole certificate; empty when OpenSSL cannot compute it.
  func fingerprint() -> [UInt8] {
    var digest = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
    var count: UInt32 = 0
    // Safety: the buffer has room for the longest digest there is.
    let isDone = unsafe digest.withUnsafeMutableBufferPointer { bytes in
      unsafe X509_digest(handle, EVP_sha256(), bytes.baseAddress, &count)
    }
    return isDone == 1 ? Array(digest.prefix(Int(count))) : []
  }

  /// The DNS names it is for: its subject alternative names, and only where it has none at all
  /// the common name (RFC 6125 section 6.4.4).
  func serverNames() -> [String] {
    // Safety: a fresh list, freed below; its entries are read before that.
    guard
      let found = unsafe X509_get_ext_d2i(handle, NID_subject_alt_name, nil, nil)
    else { return commonName().map { [$0] } ?? [] }
    let list = OpaquePointer(found)
    defer { unsafe GENERAL_NAMES_free(list) }
    var names: [String] = []
    let count = unsafe bascule_general_names_count(list)
    for index in 0..<max(count, 0) {
      let entry = unsafe bascule_general_names_at(list, index)
      guard unsafe bascule_general_name_is_dns(entry) == 1 else { continue }
      if let name = unsafe Self.text(bascule_general_name_dns(entry)) { names.append(name) }
    }
    return names
  }

  private func commonName() -> String? {
    // Safety: the name and its entries belong to the certificate.
    let subject = unsafe X509_get_subject_name(handle)
    let index = unsafe X509_NAME_get_index_by_NID(subject, NID_commonName, -1)
    guard index >= 0, let entry = unsafe X509_NAME_get_entry(subject, index) else { return nil }
    return unsafe Self.text(X509_NAME_ENTRY_get_data(entry))
  }

  /// Nil for what cannot be a host name: control characters, a zero byte, anything not ASCII.
  private static func text(_ string: UnsafePointer<ASN1_STRING>?) -> String? {
    // Safety: OpenSSL gives the length with the bytes; they are copied.
    guard let string = unsafe string, let bytes = unsafe ASN1_STRING_get0_data(string) else {
      return nil
    }
    let count = unsafe Int(ASN1_STRING_length(string))
    let raw = unsafe [UInt8](UnsafeBufferPointer(start: bytes, count: max(count, 0)))
    guard !raw.isEmpty, raw.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else { return nil }
    return String(decoding: raw, as: UTF8.self)
  }

  /// A sentence when clients will refuse it because of its dates.
  func validityWarning() -> String? {
    // Safety: both times belong to the certificate; nil means "now".
    if unsafe X509_cmp_time(X509_get0_notAfter(handle), nil) < 0 {
      return "the certificate has expired"
    }
    if unsafe X509_cmp_time(X509_get0_notBefore(handle), nil) > 0 {
      return "the certificate is not valid yet"
    }
    return nil
  }
}

extension TLSSetupFailure {
  func named(_ name: String) -> TLSSetupFailure {
    TLSSetupFailure(certificateName: name, reason: reason)
  }
}
