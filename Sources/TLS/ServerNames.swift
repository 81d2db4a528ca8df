// Which certificate answers for which name (RFC 6066 section 3, RFC 6125 section 6.4). Built once
// per load, read by every handshake. Plain Swift: knows no OpenSSL.

/// The names of several certificates, and which certificate each one leads to.
struct ServerNames: Sendable {
  private var exact: [String: Int] = [:]
  /// "*.example.org" is kept as "example.org".
  private var wildcards: [String: Int] = [:]

  /// Of two certificates with the same name the first one added answers.
  mutating func add(_ name: String, certificate: Int) {
    let name = name.lowercased()
    if name.hasPrefix("*.") {
      let suffix = String(name.dropFirst(2))
      if wildcards[suffix] == nil { wildcards[suffix] = certificate }
    } else if exact[name] == nil {
      exact[name] = certificate
    }
  }

  /// An exact name wins over a wildcard; a wildcard stands for exactly one leftmost label.
  func certificate(for name: String) -> Int? {
    let name = name.lowercased()
    if let found = exact[name] { return found }
    guard let dot = name.firstIndex(of: "."), dot != name.startIndex else { return nil }
    return wildcards[String(name[name.index(after: dot)...])]
  }

  /// The host name in a `server_name` extension's body; nil when there is none or it is malformed
  /// (OpenSSL refuses the malformed ones itself).
  static func hostName(inExtension bytes: Span<UInt8>) -> String? {
    guard bytes.count > 5 else { return nil }
    let listCount = Int(bytes[0]) << 8 | Int(bytes[1])
    let nameCount = Int(bytes[3]) << 8 | Int(bytes[4])
    guard listCount == bytes.count - 2, bytes[2] == 0, nameCount == bytes.count - 5 else {
      return nil
    }
    var name: [UInt8] = []
    name.reserveCapacity(nameCount)
    for index in 5..<bytes.count {
      guard bytes[index] > 0x20, bytes[index] < 0x7f else { return nil }
      name.append(bytes[index])
    }
    return String(decoding: name, as: UTF8.self)
  }
}

/// Application protocols (RFC 7301), in the order we prefer them.
struct ProtocolList: Sendable {
  let names: [[UInt8]]
  /// As the extension carries them: each with its length in front.
  let wire: [UInt8]

  /// Names of 1 to 255 bytes; others cannot be said on the wire and are left out.
  init(_ names: [String]) {
    self.names = names.map { Array($0.utf8) }.filter { (1...255).contains($0.count) }
    wire = self.names.flatMap { [UInt8(truncatingIfNeeded: $0.count)] + $0 }
  }

  var isEmpty: Bool { names.isEmpty }

  /// Where in the peer's `offered` list our most preferred common name stands; nil when the two
  /// have nothing in common.
  func choose(from offered: Span<UInt8>) -> Range<Int>? {
    for name in names {
      var at = 0
      while at < offered.count {
        let start = at + 1
        let end = start + Int(offered[at])
        guard end <= offered.count else { return nil }
        if Self.equal(offered, start..<end, name) { return start..<end }
        at = end
      }
    }
    return nil
  }

  private static func equal(_ bytes: Span<UInt8>, _ range: Range<Int>, _ name: [UInt8]) -> Bool {
    guard range.count == name.count else { return false }
    for index in 0..<name.count where bytes[range.lowerBound + index] != name[index] {
      return false
    }
    return true
  }
}
