// Runs of text, eight bytes at a time or in one copy: what heads consist of. The rules of single bytes
// are in `ASCII.swift`; nothing here knows what a head is.

extension ASCII {
  private static var ones: UInt64 { 0x0101_0101_0101_0101 }
  private static var highs: UInt64 { 0x8080_8080_8080_8080 }

  /// Where the run of bytes from 0x20 up, DEL left out, ends that begins at the range's lower bound. HTAB
  /// ends it too; whoever allows it goes on behind it.
  public static func endOfText(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Int {
    invariant(range.lowerBound >= 0 && range.upperBound <= bytes.count, "beyond the bytes")
    var index = range.lowerBound
    // Safety: eight bytes are loaded while at least eight are left of the range.
    unsafe bytes.withUnsafeBytes { raw in
      guard let start = raw.baseAddress else { return }
      while index <= range.upperBound &- 8 {
        let loaded = unsafe start.loadUnaligned(fromByteOffset: index, as: UInt64.self)
        let word = UInt64(littleEndian: loaded)
        // The highest bit of each byte below 0x20, and of each that is 0x7f. A borrow can mark bytes
        // behind a true one, never one before it.
        let controls = (word &- 0x20 &* ones) & ~word
        let deletes = ((word ^ 0x7f &* ones) &- ones) & ~(word ^ 0x7f &* ones)
        let ends = (controls | deletes) & highs
        if ends != 0 {
          index &+= ends.trailingZeroBitCount / 8
          return
        }
        index &+= 8
      }
    }
    while index < range.upperBound, bytes[index] >= 0x20, bytes[index] != 0x7f { index += 1 }
    return index
  }

  /// Whether every byte may stand in a field value.
  public static func isFieldValue(_ bytes: Span<UInt8>) -> Bool {
    var index = 0
    while true {
      index = endOfText(bytes, index..<bytes.count)
      if index == bytes.count { return true }
      guard isFieldValueByte(bytes[index]) else { return false }
      index += 1
    }
  }

  /// Where the run of token bytes ends that begins at the range's lower bound.
  public static func endOfToken(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Int {
    invariant(range.lowerBound >= 0 && range.upperBound <= bytes.count, "beyond the bytes")
    var index = range.lowerBound
    // Safety, for both: the index stays below the range's upper bound, which lies within the bytes, and
    // eight bytes are loaded while at least eight are left of the range.
    unsafe bytes.withUnsafeBytes { raw in
      guard let start = raw.baseAddress else { return }
      while index <= range.upperBound &- 8 {
        let loaded = unsafe start.loadUnaligned(fromByteOffset: index, as: UInt64.self)
        let others = nameless(UInt64(littleEndian: loaded))
        index &+= others.trailingZeroBitCount / 8
        if others != 0 { break }
      }
      while index < range.upperBound,
        unsafe isTokenByte(start.load(fromByteOffset: index, as: UInt8.self))
      { index &+= 1 }
    }
    return index
  }

  /// The highest bit of each byte that is neither a letter nor a hyphen: what names of fields consist of.
  private static func nameless(_ word: UInt64) -> UInt64 {
    let small = (word | 0x20 &* ones) & ~highs
    let fromA = small &+ (0x80 - 0x61) &* ones
    let behindZ = small &+ (0x80 - 0x7b) &* ones
    let notHyphen = ((word & ~highs) ^ 0x2d &* ones) &+ 0x7f &* ones
    return (word | notHyphen & ~(fromA & ~behindZ)) & highs
  }

  /// Whether it is one or more bytes of a token.
  public static func isToken(_ bytes: Span<UInt8>) -> Bool {
    !bytes.isEmpty && endOfToken(bytes, 0..<bytes.count) == bytes.count
  }

  /// Appends `bytes` with capital letters made small.
  public static func appendLowercased(_ bytes: Span<UInt8>, to text: inout [UInt8]) {
    text.append(addingCapacity: bytes.count) { $0.put(bytes, lowercased: true) }
  }

  /// The same with the capital letters made small in eight bytes at once.
  fileprivate static func lowercased(_ word: UInt64) -> UInt64 {
    let small = word & ~highs
    let fromA = small &+ (0x80 - 0x41) &* ones
    let behindZ = small &+ (0x80 - 0x5b) &* ones
    return word | (fromA & ~behindZ & ~word & highs) >> 2
  }

  public static func append(_ bytes: Span<UInt8>, to text: inout [UInt8]) {
    text.append(addingCapacity: bytes.count) { $0.put(bytes) }
  }

  /// A copy of the bytes, with room for `spare` more.
  public static func copy(_ bytes: Span<UInt8>, spare: Int = 0) -> [UInt8] {
    [UInt8](capacity: bytes.count + spare) { $0.put(bytes) }
  }

  /// `name: value` and the end of the line.
  public static func appendLine(
    _ name: Span<UInt8>, _ value: Span<UInt8>, to text: inout [UInt8]
  ) {
    text.append(addingCapacity: name.count + value.count + 4) { line in
      line.put(name)
      line.append(UInt8(ascii: ":"))
      line.append(UInt8(ascii: " "))
      line.put(value)
      line.append(UInt8(ascii: "\r"))
      line.append(UInt8(ascii: "\n"))
    }
  }

  /// Lends the literal's bytes.
  public static func withSpan<Result>(
    _ literal: StaticString, _ body: (Span<UInt8>) -> Result
  ) -> Result {
    // Safety: the buffer is the literal's own storage, which lives as long as the process.
    body(
      unsafe UnsafeBufferPointer(start: literal.utf8Start, count: literal.utf8CodeUnitCount).span)
  }
}

extension OutputSpan<UInt8> {
  fileprivate mutating func put(_ bytes: Span<UInt8>, lowercased: Bool = false) {
    let count = bytes.count
    invariant(count <= freeCapacity, "no room for the bytes")
    // Safety: `count` bytes are free behind the initialised ones, and are initialised here.
    unsafe withUnsafeMutableBufferPointer { target, initialized in
      unsafe bytes.withUnsafeBufferPointer { source in
        guard let from = source.baseAddress, let start = target.baseAddress else { return }
        if lowercased {
          unsafe Self.copyLowercased(from, start + initialized, count)
        } else {
          unsafe (start + initialized).update(from: from, count: count)
        }
        initialized += count
      }
    }
  }

  /// Safety: there are `count` bytes at both places.
  @unsafe
  private static func copyLowercased(
    _ source: UnsafePointer<UInt8>, _ target: UnsafeMutablePointer<UInt8>, _ count: Int
  ) {
    let (from, to) = unsafe (UnsafeRawPointer(source), UnsafeMutableRawPointer(target))
    var index = 0
    while index <= count &- 8 {
      let word = unsafe from.loadUnaligned(fromByteOffset: index, as: UInt64.self)
      unsafe to.storeBytes(of: ASCII.lowercased(word), toByteOffset: index, as: UInt64.self)
      index &+= 8
    }
    while index < count {
      unsafe target[index] = ASCII.lowercased(source[index])
      index &+= 1
    }
  }
}
