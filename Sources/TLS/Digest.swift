// SHA-1 and base64, which the WebSocket handshake asks for (RFC 6455 section 4.2.2), the keyed hash of
// cookies, and the hash by which a page names its script, from OpenSSL. SHA-1 is no secret-keeping here: the standard uses it as a
// fingerprint of the key.

internal import Bytes
internal import COpenSSL

public enum Digest {
  // Safety: written once, by its initialiser; OpenSSL only reads it afterwards. Fetched once,
  // because looking an algorithm up costs more than hashing sixty bytes.
  nonisolated(unsafe) private static let sha1Method: OpaquePointer? = unsafe EVP_MD_fetch(
    nil, "SHA1", nil)

  /// The 20 bytes of SHA-1 (FIPS 180-4). Ends the process when OpenSSL has been configured
  /// without SHA-1; the first call is therefore made at start.
  public static func sha1(_ bytes: Span<UInt8>) -> [UInt8] {
    var digest = [UInt8](repeating: 0, count: 20)
    // Safety: SHA-1 writes exactly 20 bytes, and reads the span's own.
    let isDone = unsafe bytes.withUnsafeBufferPointer { source in
      unsafe digest.withUnsafeMutableBufferPointer { target in
        unsafe EVP_Digest(
          source.baseAddress, source.count, target.baseAddress, nil, sha1Method, nil)
      }
    }
    invariant(isDone == 1, "OpenSSL offers no SHA-1")
    return digest
  }

  /// The 32 bytes of SHA-256 (FIPS 180-4). Ends the process when OpenSSL has been configured without.
  public static func sha256(_ bytes: Span<UInt8>) -> [UInt8] {
    var digest = [UInt8](repeating: 0, count: 32)
    // Safety: SHA-256 writes exactly 32 bytes, and reads the span's own.
    let isDone = unsafe bytes.withUnsafeBufferPointer { source in
      unsafe digest.withUnsafeMutableBufferPointer { target in
        unsafe EVP_Digest(
          source.baseAddress, source.count, target.baseAddress, nil, EVP_sha256(), nil)
      }
    }
    invariant(isDone == 1, "OpenSSL offers no SHA-256")
    return digest
  }

  /// The 32 bytes of HMAC-SHA-256 (RFC 2104). `key`: below 2 GiB. Ends the process when OpenSSL has
  /// been configured without SHA-256; the first call is therefore made at start.
  public static func hmacSHA256(key: Span<UInt8>, _ bytes: Span<UInt8>) -> [UInt8] {
    let keyCount = CInt(clamping: key.count)
    var code = [UInt8](repeating: 0, count: 32)
    // Safety: SHA-256 makes exactly 32 bytes; the key and the bytes are read from their own spans.
    let isDone = unsafe key.withUnsafeBufferPointer { key in
      unsafe bytes.withUnsafeBufferPointer { source in
        unsafe code.withUnsafeMutableBufferPointer { target in
          unsafe HMAC(
            EVP_sha256(), key.baseAddress, keyCount, source.baseAddress, source.count,
            target.baseAddress, nil) != nil
        }
      }
    }
    invariant(isDone, "OpenSSL offers no SHA-256")
    return code
  }

  /// Whether both are the same, in a time that depends on their lengths only.
  public static func equals(_ a: Span<UInt8>, _ b: Span<UInt8>) -> Bool {
    guard a.count == b.count else { return false }
    var difference: UInt8 = 0
    for index in 0..<a.count { difference |= a[index] ^ b[index] }
    return difference == 0
  }

  /// Base64 for names and cookies, without padding (RFC 4648 section 5).
  public static func base64URL(_ bytes: Span<UInt8>) -> [UInt8] {
    base64(bytes).compactMap { digit in
      switch digit {
      case UInt8(ascii: "+"): UInt8(ascii: "-")
      case UInt8(ascii: "/"): UInt8(ascii: "_")
      case UInt8(ascii: "="): nil
      default: digit
      }
    }
  }

  /// Base64 with padding and without line breaks (RFC 4648 section 4). For short values: at most
  /// 1 GiB.
  public static func base64(_ bytes: Span<UInt8>) -> [UInt8] {
    guard bytes.count > 0, bytes.count < 1 << 30 else { return [] }
    // EVP_EncodeBlock adds a zero byte of its own.
    var text = [UInt8](repeating: 0, count: (bytes.count + 2) / 3 * 4 + 1)
    // Safety: the buffer has room for the text and its zero.
    let count = unsafe bytes.withUnsafeBufferPointer { source in
      unsafe text.withUnsafeMutableBufferPointer { target in
        unsafe EVP_EncodeBlock(
          target.baseAddress, source.baseAddress, CInt(truncatingIfNeeded: source.count))
      }
    }
    text.removeLast(text.count - Int(count))
    return text
  }

  /// The exact inverse of `base64`: nil for a missing or misplaced padding, white space, any other
  /// foreign byte, and bits in the last digit that the value does not use.
  public static func base64Decode(_ text: Span<UInt8>) -> [UInt8]? {
    guard text.count > 0 else { return [] }
    guard text.count % 4 == 0, text.count < 1 << 30 else { return nil }
    var bytes = [UInt8](repeating: 0, count: text.count / 4 * 3)
    // Safety: four digits make at most three bytes.
    let count = unsafe text.withUnsafeBufferPointer { source in
      unsafe bytes.withUnsafeMutableBufferPointer { target in
        unsafe EVP_DecodeBlock(
          target.baseAddress, source.baseAddress, CInt(truncatingIfNeeded: source.count))
      }
    }
    guard count == bytes.count else { return nil }
    // OpenSSL counts padding as zero bytes.
    let padding = UInt8(ascii: "=")
    if text[text.count - 1] == padding { bytes.removeLast() }
    if text[text.count - 2] == padding { bytes.removeLast() }
    // OpenSSL is lenient in several ways; comparing with the one right spelling covers them all.
    let canonical = base64(bytes.span)
    guard canonical.count == text.count else { return nil }
    for index in 0..<text.count where canonical[index] != text[index] { return nil }
    return bytes
  }
}

public enum OpenSSLVersion {
  /// The library that is loaded, which may be newer than the one built against:
  /// "OpenSSL 3.0.16 11 Feb 2025".
  public static var runtime: String {
    // Safety: a static string.
    unsafe String(cString: OpenSSL_version(OPENSSL_VERSION))
  }
}
