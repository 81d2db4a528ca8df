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
      while index + 8 <= range.upperBound {
        let loaded = unsafe raw.loadUnaligned(fromByteOffset: index, as: UInt64.self)
        let word = UInt64(littleEndian: loaded)
        // The highest bit of each byte below 0x20, and of each that is 0x7f. A borrow can mark bytes
        // behind a true one, never one before it.
        let controls = (word &- 0x20 &* ones) & ~word
        let deletes = ((word ^ 0x7f &* ones) &- ones) & ~(word ^ 0x7f &* ones)
        let ends = (controls | deletes) & highs
        if ends != 0 {
          index += ends.trailingZeroBitCount / 8
          return
        }
        index += 8
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
    // Safety: the index stays below the range's upper bound, which lies within the bytes.
    unsafe bytes.withUnsafeBufferPointer { bytes in
      while index < range.upperBound, unsafe isTokenByte(bytes[index]) { index += 1 }
    }
    return index
  }

  /// Whether it is one or more bytes of a token.
  public static func isToken(_ bytes: Span<UInt8>) -> Bool {
    !bytes.isEmpty && endOfToken(bytes, 0..<bytes.count) == bytes.count
  }

  /// Appends `bytes` with capital letters made small.
  public static func appendLowercased(_ bytes: Span<UInt8>, to text: inout [UInt8]) {
    text.append(addingCapacity: bytes.count) { out in
      for index in bytes.indices { out.append(lowercased(bytes[index])) }
    }
  }

  public static func append(_ bytes: Span<UInt8>, to text: inout [UInt8]) {
    text.append(addingCapacity: bytes.count) { $0.put(bytes) }
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
  fileprivate mutating func put(_ bytes: Span<UInt8>) {
    let count = bytes.count
    invariant(count <= freeCapacity, "no room for the bytes")
    // Safety: `count` bytes are free behind the initialised ones, and are initialised here.
    unsafe withUnsafeMutableBufferPointer { target, initialized in
      unsafe bytes.withUnsafeBufferPointer { source in
        guard let from = source.baseAddress, let start = target.baseAddress else { return }
        unsafe (start + initialized).update(from: from, count: count)
        initialized += count
      }
    }
  }
}
