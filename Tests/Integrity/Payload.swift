// What messages carry, so that a receiver can tell a changed, lost or misplaced one by itself: a
// stamp of hash, sender and number, then bytes out of a sea of random ones.

import Bytes
import Support

enum Side: Int {
  case client = 0
  case backend = 1

  var other: Side { self == .client ? .backend : .client }
}

/// Which message it is: the `number`th, from 0, that one side of a pair sends.
struct Identity {
  var pair: Int
  var side: Side
  var number: Int

  var sender: UInt64 { UInt64(pair) << 1 | UInt64(side.rawValue) }
}

/// Random bytes to cut payloads from. In the one for text they are ASCII.
struct Sea {
  static let payloadBytesMax = 1 << 20
  private let binary: [UInt8]
  private let text: [UInt8]

  init(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    var bytes: [UInt8] = []
    bytes.reserveCapacity(2 * Sea.payloadBytesMax)
    while bytes.count < 2 * Sea.payloadBytesMax {
      Payload.append(random.next(), to: &bytes)
    }
    binary = bytes
    text = bytes.map { $0 & 0x7f }
  }

  func slice(_ count: Int, isText: Bool, _ random: inout SeededRandom) -> ArraySlice<UInt8> {
    let start = random.below(Sea.payloadBytesMax)
    return (isText ? text : binary)[start..<start + count]
  }
}

enum Payload {
  /// Eight bytes each of hash, sender and number. A shorter message carries the beginning of it.
  static let stampCount = 24

  /// Replaces `message` by one of `count` bytes; returns its hash.
  static func make(
    _ message: inout [UInt8], count: Int, isText: Bool, _ identity: Identity, _ sea: Sea,
    _ random: inout SeededRandom
  ) -> UInt64 {
    // A large one gives its memory back.
    message.removeAll(keepingCapacity: message.capacity <= 64 << 10)
    let body = sea.slice(max(0, count - stampCount), isText: isText, &random)
    message.append(contentsOf: repeatElement(0, count: min(count, stampCount)))
    message.append(contentsOf: body)
    let hash = hash(message.span, from: min(count, stampCount), identity)
    for (index, byte) in stamp(hash, identity, isText: isText).prefix(count).enumerated() {
      message[index] = byte
    }
    return hash
  }

  /// The hash of a message that arrived whole and is the one meant; nil for any other.
  static func check(_ message: Span<UInt8>, isText: Bool, _ identity: Identity) -> UInt64? {
    let stamped = min(message.count, stampCount)
    let hash = hash(message, from: stamped, identity)
    let stamp = stamp(hash, identity, isText: isText)
    for index in 0..<stamped where message[index] != stamp[index] { return nil }
    return hash
  }

  /// What a message says of itself, for reports; in text a bit of every byte is missing.
  static func describe(_ message: [UInt8], isText: Bool) -> String {
    guard !isText, message.count >= stampCount else { return "\(message.count) bytes" }
    let sender = word(message.span, at: 8)
    let number = word(message.span, at: 16)
    let side = sender & 1 == 0 ? "client" : "backend"
    return "\(message.count) bytes stamped \(side) \(sender >> 1) message \(number)"
  }

  /// A 64-bit hash of `bytes[start...]`, of how many there are and of whose they are.
  static func hash(_ bytes: Span<UInt8>, from start: Int, _ identity: Identity) -> UInt64 {
    var state = mix(identity.sender &+ 1) ^ mix(UInt64(identity.number) &+ 0x1000_0000)
    var index = start
    while index + 8 <= bytes.count {
      state = mix(state ^ word(bytes, at: index))
      index += 8
    }
    while index < bytes.count {
      state = mix(state ^ UInt64(bytes[index]))
      index += 1
    }
    return mix(state ^ UInt64(bytes.count))
  }

  static func append(_ word: UInt64, to bytes: inout [UInt8]) {
    for index in 0..<8 { bytes.append(UInt8(truncatingIfNeeded: word >> (8 * UInt64(index)))) }
  }

  private static func stamp(_ hash: UInt64, _ identity: Identity, isText: Bool) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(stampCount)
    for word in [hash, identity.sender, UInt64(identity.number)] {
      // Seven bits of each byte are ASCII, which is text.
      append(isText ? word & 0x7f7f_7f7f_7f7f_7f7f : word, to: &bytes)
    }
    return bytes
  }

  @inline(__always)
  private static func mix(_ word: UInt64) -> UInt64 {
    let product = word &* 0x9e37_79b9_7f4a_7c15
    return product ^ product >> 29
  }

  @inline(__always)
  private static func word(_ bytes: Span<UInt8>, at index: Int) -> UInt64 {
    var word: UInt64 = 0
    for offset in 0..<8 { word |= UInt64(bytes[index + offset]) << (8 * UInt64(offset)) }
    return word
  }
}
