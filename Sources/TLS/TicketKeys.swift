// The keys of session tickets (RFC 5077, RFC 8446 section 4.6.1): one set for the whole process, so that
// a reload, which makes new contexts, does not cost every client a full handshake. Made here, kept in
// memory only, and replaced every half day: whoever learns one can read what was sent under it, where
// TLS 1.2 is spoken.

internal import COpenSSL
internal import Synchronization

public final class TicketKeys: Sendable {
  public static let process = TicketKeys()

  /// How many there are: a ticket is good while its key is among them.
  static var keysMax: Int { 3 }

  struct Key: Sendable {
    static var nameBytes: Int { 16 }
    static var keyBytes: Int { 32 }

    var name: [UInt8]
    var cipher: [UInt8]
    var mac: [UInt8]

    /// Nil when OpenSSL has no random bytes.
    static func make() -> Key? {
      guard let name = random(nameBytes), let cipher = random(keyBytes),
        let mac = random(keyBytes)
      else { return nil }
      return Key(name: name, cipher: cipher, mac: mac)
    }

    private static func random(_ count: Int) -> [UInt8]? {
      var bytes = [UInt8](repeating: 0, count: count)
      // Safety: RAND_priv_bytes fills exactly `count` bytes.
      let isDone = unsafe bytes.withUnsafeMutableBufferPointer { target in
        unsafe RAND_priv_bytes(target.baseAddress, CInt(count))
      }
      return isDone == 1 ? bytes : nil
    }
  }

  /// The newest first.
  private let keys = Mutex<[Key]>([])

  init() { rotate() }

  /// Makes a new key; the oldest is forgotten. To be called every 12 hours.
  public func rotate() {
    guard let key = Key.make() else { return }
    keys.withLock { $0 = [key] + $0.prefix(Self.keysMax - 1) }
  }

  var newest: Key? { keys.withLock { $0.first } }

  /// The key of that name, and whether it is the newest.
  func key(named name: [UInt8]) -> (key: Key, isNewest: Bool)? {
    keys.withLock { keys in
      keys.firstIndex { $0.name == name }.map { (keys[$0], $0 == 0) }
    }
  }
}

/// What OpenSSL is told about a ticket: an error, no such key (a full handshake follows), fine, and fine
/// but to be replaced by one under a newer key.
private enum TicketVerdict {
  static let failed: CInt = -1
  static let unknown: CInt = 0
  static let fine: CInt = 1
  static let renew: CInt = 2
}

/// Asked for the key of a ticket that is made or has come.
@c(bascule_tls_ticket_key)
func ticketKeyAsked(
  _ session: OpaquePointer?, _ name: UnsafeMutablePointer<UInt8>?,
  _ vector: UnsafeMutablePointer<UInt8>?, _ cipher: OpaquePointer?, _ mac: OpaquePointer?,
  _ isNew: CInt
) -> CInt {
  // Safety: OpenSSL lends 16 bytes for the name and EVP_MAX_IV_LENGTH for the vector.
  guard let name = unsafe name, let vector = unsafe vector else { return TicketVerdict.failed }
  if isNew == 1 {
    guard let key = TicketKeys.process.newest,
      unsafe RAND_bytes(vector, EVP_MAX_IV_LENGTH) == 1
    else { return TicketVerdict.failed }
    for (index, byte) in key.name.enumerated() { unsafe name[index] = byte }
    let isSet = unsafe use(key, vector, cipher, mac, encrypting: true)
    return isSet ? TicketVerdict.fine : TicketVerdict.failed
  }
  let asked = unsafe Array(UnsafeBufferPointer(start: name, count: TicketKeys.Key.nameBytes))
  guard let (key, isNewest) = TicketKeys.process.key(named: asked) else {
    return TicketVerdict.unknown
  }
  guard unsafe use(key, vector, cipher, mac, encrypting: false) else {
    return TicketVerdict.failed
  }
  return isNewest ? TicketVerdict.fine : TicketVerdict.renew
}

// Safety: AES-256 reads 32 bytes of key and the 16 of the vector that OpenSSL has lent; the contexts are
// OpenSSL's, for the time of the callback.
private func use(
  _ key: TicketKeys.Key, _ vector: UnsafeMutablePointer<UInt8>, _ cipher: OpaquePointer?,
  _ mac: OpaquePointer?, encrypting: Bool
) -> Bool {
  unsafe key.cipher.withUnsafeBufferPointer { secret in
    unsafe EVP_CipherInit_ex(
      cipher, EVP_aes_256_cbc(), nil, secret.baseAddress, vector, encrypting ? 1 : 0) == 1
  }
    && key.mac.withUnsafeBufferPointer { secret in
      unsafe bascule_ticket_mac_init(mac, secret.baseAddress, secret.count) == 1
    }
}
