// Runs of text, eight bytes at a time or in one copy: what heads consist of. The rules of single bytes,
// and comparisons, are in `ASCII.swift`; nothing here knows what a head is.

extension ASCII {
  private static var ones: UInt64 { 0x0101_0101_0101_0101 }
  private static var highs: UInt64 { 0x8080_8080_8080_8080 }

  /// Where the run of bytes from 0x20 up, DEL left out, ends that begins at the range's lower bound. HTAB
  /// ends it too; whoever allows it goes on behind it.
  /// `onlyASCII`: bytes from 0x80 up end it as well.
  public static func endOfText(
    _ bytes: Span<UInt8>, _ range: Range<Int>, onlyASCII: Bool = false
  ) -> Int {
    invariant(range.lowerBound >= 0 && range.upperBound <= bytes.count, "beyond the bytes")
    let others = onlyASCII ? highs : 0
    // Safety: the range lies within the bytes, and what is loaded of it ends before it does.
    return unsafe bytes.withUnsafeBytes { bytes in
      var index = range.lowerBound
      while index <= range.upperBound &- 8 {
        let word = unsafe word(bytes, index)
        let ends = textEnds(word) | word & others
        if ends != 0 { return index &+ ends.trailingZeroBitCount / 8 }
        index &+= 8
      }
      if range.count >= 8 {
        // The last eight overlap what has been looked at, in which there is no end.
        let word = unsafe word(bytes, range.upperBound &- 8)
        let ends = textEnds(word) | word & others
        return range.upperBound &- 8 &+ ends.trailingZeroBitCount / 8
      }
      while index < range.upperBound {
        let byte = unsafe bytes[index]
        if byte < 0x20 || byte == 0x7f || (onlyASCII && byte > 0x7f) { break }
        index &+= 1
      }
      return index
    }
  }

  /// Eight bytes, the first one lowest. Safety: they are there.
  @unsafe @inline(__always)
  private static func word(_ bytes: UnsafeRawBufferPointer, _ index: Int) -> UInt64 {
    UInt64(littleEndian: unsafe bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self))
  }

  /// The highest bit of each byte below 0x20, and of each that is 0x7f.
  private static func textEnds(_ word: UInt64) -> UInt64 {
    let low = word & ~highs
    let fromSpace = low &+ 0x60 &* ones
    let deletes = low &+ ones
    return (~fromSpace | deletes) & ~word & highs
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
    // Safety: the range lies within the bytes, and what is loaded of it ends before it does.
    return unsafe bytes.withUnsafeBytes { bytes in
      var index = range.lowerBound
      while index <= range.upperBound &- 8 {
        let others = unsafe nameless(word(bytes, index))
        index &+= others.trailingZeroBitCount / 8
        if others != 0 { break }
      }
      while index < range.upperBound, unsafe isTokenByte(bytes[index]) { index &+= 1 }
      return index
    }
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

  /// Whether it is one, and none of its letters is a capital.
  public static func isTokenInLowerCase(_ bytes: Span<UInt8>) -> Bool {
    if !bytes.isEmpty, isLettersAndHyphens(bytes, inLowerCase: true) { return true }
    guard isToken(bytes) else { return false }
    for index in 0..<bytes.count where isUpperCase(bytes[index]) { return false }
    return true
  }

  /// Eight bytes with capital letters made small.
  static func lowercased(_ word: UInt64) -> UInt64 {
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
    var copy: [UInt8] = []
    // `init(capacity:initializingWith:)` goes the slow way, through the unspecialised library.
    copy.reserveCapacity(bytes.count + spare)
    append(bytes, to: &copy)
    return copy
  }

  /// `name: value` and the end of the line.
  public static func appendLine(
    _ name: Span<UInt8>, _ value: Span<UInt8>, to text: inout [UInt8]
  ) {
    text.append(addingCapacity: name.count + value.count + 4) { $0.putLine(name, value) }
  }

  /// The same with `end` behind the value.
  public static func appendLine(
    _ name: Span<UInt8>, _ value: Span<UInt8>, _ end: Span<UInt8>, to text: inout [UInt8]
  ) {
    text.append(addingCapacity: name.count + value.count + end.count + 4) { line in
      line.put(name)
      line.append(UInt8(ascii: ":"))
      line.append(UInt8(ascii: " "))
      line.put(value)
      line.put(end)
      line.append(UInt8(ascii: "\r"))
      line.append(UInt8(ascii: "\n"))
    }
  }

  /// The same with the name in lower case and nothing around the two.
  public static func appendPair(
    _ name: Span<UInt8>, _ value: Span<UInt8>, to text: inout [UInt8]
  ) {
    text.append(addingCapacity: name.count + value.count) { pair in
      pair.putLowercased(name)
      pair.put(value)
    }
  }

  /// Whether it consists of letters and hyphens, as names of fields mostly do.
  public static func isLettersAndHyphens(
    _ bytes: Span<UInt8>, inLowerCase: Bool = false
  ) -> Bool {
    // Of the bytes in question the capitals alone do not have this bit.
    let small: UInt64 = inLowerCase ? 0x20 &* ones : 0
    let count = bytes.count
    // Safety: what is loaded lies within the bytes.
    return unsafe bytes.withUnsafeBytes { bytes in
      guard count >= 8 else {
        let word = unsafe shortWord(bytes)
        return nameless(word) | ~word & small == 0
      }
      var index = 0
      while index < count {
        // The last eight overlap what has been looked at.
        let word = unsafe word(bytes, min(index, count &- 8))
        if nameless(word) | ~word & small != 0 { return false }
        index &+= 8
      }
      return true
    }
  }

  /// Eight bytes, of which each is one of these, which are fewer, and each of these is among them; small
  /// letters where there are none. Safety: `bytes` are there.
  @unsafe
  private static func shortWord(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
    let count = bytes.count
    if count >= 4 {
      let first = unsafe bytes.loadUnaligned(as: UInt32.self)
      let last = unsafe bytes.loadUnaligned(fromByteOffset: count &- 4, as: UInt32.self)
      return UInt64(first) | UInt64(last) << 32
    }
    var word = 0x61 &* ones
    for index in 0..<count { word = word << 8 | UInt64(unsafe bytes[index]) }
    return word
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
  @inline(__always)
  fileprivate mutating func put(_ bytes: Span<UInt8>) {
    unsafe extend(by: bytes) { unsafe Self.copy($0, $1, $2) }
  }

  @inline(__always)
  fileprivate mutating func putLowercased(_ bytes: Span<UInt8>) {
    unsafe extend(by: bytes) { unsafe Self.copyLowercased($0, $1, $2) }
  }

  /// In one piece: a check of the room for each part took longer than the parts.
  @inline(__always)
  fileprivate mutating func putLine(_ name: Span<UInt8>, _ value: Span<UInt8>) {
    let (nameCount, valueCount) = (name.count, value.count)
    invariant(nameCount + valueCount + 4 <= freeCapacity, "no room for the line")
    // Safety: so many bytes are free behind the initialised ones, and all of them are initialised here.
    unsafe withUnsafeMutableBufferPointer { target, initialized in
      guard let base = target.baseAddress else { return }
      let colon = unsafe base + initialized + nameCount
      let end = unsafe colon + 2 + valueCount
      unsafe name.withUnsafeBufferPointer {
        if let from = $0.baseAddress { unsafe Self.copy(from, base + initialized, nameCount) }
      }
      unsafe value.withUnsafeBufferPointer {
        if let from = $0.baseAddress { unsafe Self.copy(from, colon + 2, valueCount) }
      }
      unsafe colon[0] = UInt8(ascii: ":")
      unsafe colon[1] = UInt8(ascii: " ")
      unsafe end[0] = UInt8(ascii: "\r")
      unsafe end[1] = UInt8(ascii: "\n")
      initialized += nameCount + valueCount + 4
    }
  }

  /// Safety: `copy` initialises as many bytes as it is told, at its second argument.
  @unsafe @inline(__always)
  private mutating func extend(
    by bytes: Span<UInt8>,
    _ copy: (UnsafePointer<UInt8>, UnsafeMutablePointer<UInt8>, Int) -> Void
  ) {
    let count = bytes.count
    invariant(count <= freeCapacity, "no room for the bytes")
    // Safety: `count` bytes are free behind the initialised ones.
    unsafe withUnsafeMutableBufferPointer { target, initialized in
      unsafe bytes.withUnsafeBufferPointer { source in
        guard let from = source.baseAddress, let start = target.baseAddress else { return }
        unsafe copy(from, start + initialized, count)
        initialized += count
      }
    }
  }

  /// Names and values are mostly shorter than the way to `memcpy`.
  /// Safety: there are `count` bytes at both places.
  @unsafe
  private static func copy(
    _ source: UnsafePointer<UInt8>, _ target: UnsafeMutablePointer<UInt8>, _ count: Int
  ) {
    guard count >= 8, count <= 16 else { return unsafe target.update(from: source, count: count) }
    let (from, to) = unsafe (UnsafeRawPointer(source), UnsafeMutableRawPointer(target))
    let first = unsafe from.loadUnaligned(as: UInt64.self)
    let last = unsafe from.loadUnaligned(fromByteOffset: count &- 8, as: UInt64.self)
    unsafe to.storeBytes(of: first, as: UInt64.self)
    unsafe to.storeBytes(of: last, toByteOffset: count &- 8, as: UInt64.self)
  }

  /// Safety: there are `count` bytes at both places.
  @unsafe
  private static func copyLowercased(
    _ source: UnsafePointer<UInt8>, _ target: UnsafeMutablePointer<UInt8>, _ count: Int
  ) {
    let (from, to) = unsafe (UnsafeRawPointer(source), UnsafeMutableRawPointer(target))
    var index = 0
    while count >= 8, index < count {
      // The last eight overlap what has been copied already.
      let at = min(index, count &- 8)
      let word = unsafe from.loadUnaligned(fromByteOffset: at, as: UInt64.self)
      unsafe to.storeBytes(of: ASCII.lowercased(word), toByteOffset: at, as: UInt64.self)
      index = at &+ 8
    }
    while index < count {
      unsafe target[index] = ASCII.lowercased(source[index])
      index &+= 1
    }
  }
}
