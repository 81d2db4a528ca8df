// A certificate for trying things out, made in memory and never written anywhere. For the demo and
// for tests; nobody should trust it beyond that, which is why it lasts 30 days.

internal import COpenSSL

public enum SelfSigned {
  /// A P-256 certificate and its key, both PEM, for DNS names and IP addresses. Valid from
  /// yesterday, for clocks that are slow. Nil for a name that cannot stand in a certificate.
  public static func make(
    names: [String]
  ) -> (certificatePEM: [UInt8], keyPEM: [UInt8])? {
    make(names: names, validFrom: -86_400, until: 30 * 86_400)
  }

  /// `validFrom` and `until` are seconds from now.
  static func make(
    names: [String], commonName: String = "bascule demo", validFrom: Int, until: Int
  ) -> (certificatePEM: [UInt8], keyPEM: [UInt8])? {
    LibraryErrors.clear()
    defer { LibraryErrors.clear() }
    // Safety: both objects are ours until the end of this function.
    guard let key = unsafe makeKey() else { return nil }
    defer { unsafe EVP_PKEY_free(key) }
    guard let certificate = unsafe X509_new() else { return nil }
    defer { unsafe X509_free(certificate) }
    guard unsafe fill(certificate, commonName: commonName, validFrom: validFrom, until: until),
      unsafe extend(certificate, names: names),
      unsafe X509_set_pubkey(certificate, key) == 1,
      unsafe X509_sign(certificate, key, EVP_sha256()) > 0
    else { return nil }
    let certificateFile = MemoryFile()
    let keyFile = MemoryFile()
    guard unsafe PEM_write_bio_X509(certificateFile.bio, certificate) == 1,
      unsafe PEM_write_bio_PrivateKey(keyFile.bio, key, nil, nil, 0, nil, nil) == 1
    else { return nil }
    return (certificateFile.contents(), keyFile.contents())
  }

  // Safety: the key is the caller's to free.
  private static func makeKey() -> OpaquePointer? {
    guard let context = unsafe EVP_PKEY_CTX_new_from_name(nil, "EC", nil) else { return nil }
    defer { unsafe EVP_PKEY_CTX_free(context) }
    var key: OpaquePointer?
    guard unsafe EVP_PKEY_keygen_init(context) == 1,
      unsafe EVP_PKEY_CTX_set_group_name(context, "P-256") == 1,
      unsafe EVP_PKEY_generate(context, &key) == 1
    else { return nil }
    return unsafe key
  }

  // Safety: what is set here belongs to the certificate; strings are copied.
  private static func fill(
    _ certificate: OpaquePointer, commonName: String, validFrom: Int, until: Int
  ) -> Bool {
    let serial = UInt64.random(in: 1...UInt64(Int64.max))
    let subject = unsafe X509_get_subject_name(certificate)
    return unsafe X509_set_version(certificate, Int(X509_VERSION_3)) == 1
      && ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial) == 1
      && X509_gmtime_adj(X509_getm_notBefore(certificate), validFrom) != nil
      && X509_gmtime_adj(X509_getm_notAfter(certificate), until) != nil
      && X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, commonName, -1, -1, 0) == 1
      && X509_set_issuer_name(certificate, subject) == 1
  }

  private static func extend(_ certificate: OpaquePointer, names: [String]) -> Bool {
    var fields: [(Int32, String)] = [
      (NID_basic_constraints, "critical,CA:FALSE"),
      (NID_key_usage, "critical,digitalSignature"),
      (NID_ext_key_usage, "serverAuth"),
    ]
    if !names.isEmpty {
      guard names.allSatisfy(isPlain) else { return false }
      let entries = names.map { isAddress($0) ? "IP:\($0)" : "DNS:\($0)" }
      fields.append((NID_subject_alt_name, entries.joined(separator: ",")))
    }
    return fields.allSatisfy { unsafe add($0.0, $0.1, to: certificate) }
  }

  // Safety: the certificate takes a copy of the extension.
  private static func add(_ nid: Int32, _ value: String, to certificate: OpaquePointer) -> Bool {
    guard let field = unsafe X509V3_EXT_conf_nid(nil, nil, nid, value) else { return false }
    defer { unsafe X509_EXTENSION_free(field) }
    return unsafe X509_add_ext(certificate, field, -1) == 1
  }

  /// OpenSSL reads the names from a list with a syntax of its own; nothing of it may come in.
  private static func isPlain(_ name: String) -> Bool {
    !name.isEmpty
      && name.utf8.allSatisfy { byte in
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
          UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."),
          UInt8(ascii: ":"), UInt8(ascii: "*"):
          true
        default: false
        }
      }
  }

  private static func isAddress(_ name: String) -> Bool {
    // Safety: a fresh object or nil.
    guard let address = unsafe a2i_IPADDRESS(name) else { return false }
    unsafe ASN1_OCTET_STRING_free(address)
    return true
  }
}
