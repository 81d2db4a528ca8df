// The XOR that RFC 6455 (section 5.3) puts on what clients send. Used where payload is read or made:
// control frames, injected frames, endpoints. Bridged payload passes still masked and never comes here.

/// Masking of WebSocket payload. It is its own inverse.
///
/// A key is the four octets as they stand on the wire, the first one most significant. `phase` is
/// how many payload octets of the frame came before, so that a frame may be masked in pieces.
public enum Mask {
  /// The key octet for payload octet `index` of a frame.
  @inlinable
  public static func octet(_ key: UInt32, at index: Int) -> UInt8 {
    UInt8(truncatingIfNeeded: key >> (24 &- 8 &* UInt32(truncatingIfNeeded: index & 3)))
  }

  /// Masks or unmasks `bytes` in place.
  public static func apply(_ key: UInt32, phase: Int = 0, to bytes: inout MutableSpan<UInt8>) {
    // Safety: the buffer is the span's own, lent for the call.
    unsafe bytes.withUnsafeMutableBytes { unsafe apply(key, phase: phase, to: $0) }
  }

  /// Appends a masked (or unmasked) copy of `bytes` to `buffer`.
  public static func append(
    _ bytes: Span<UInt8>, key: UInt32, phase: Int = 0, to buffer: inout [UInt8]
  ) {
    let start = buffer.count
    // Safety: both pointers are used within their closures; `start` is at most the new count.
    unsafe bytes.withUnsafeBufferPointer { unsafe buffer.append(contentsOf: $0) }
    unsafe buffer.withUnsafeMutableBytes { all in
      unsafe apply(key, phase: phase, to: UnsafeMutableRawBufferPointer(rebasing: all[start...]))
    }
  }

  /// Appends a masked (or unmasked) copy of `bytes` to `buffer`.
  public static func append(
    _ bytes: Span<UInt8>, key: UInt32, phase: Int = 0, to buffer: SharedBuffer
  ) {
    let count = bytes.count
    buffer.reserve(count)
    // Safety: `reserve` has made room for all of `bytes`, and `target` is of exactly that length.
    _ = unsafe buffer.appendUnsafe(limit: count) { target in
      unsafe bytes.withUnsafeBytes { unsafe target.copyMemory(from: $0) }
      unsafe apply(key, phase: phase, to: target)
      return count
    }
  }

  // Safety: every access is within `raw`, whose memory is initialised.
  @_noLocks @unsafe
  private static func apply(_ key: UInt32, phase: Int, to raw: UnsafeMutableRawBufferPointer) {
    let count = raw.count
    let word = eightOctets(of: key, phase: phase)
    var index = 0
    while count &- index >= 8 {
      let masked = unsafe raw.loadUnaligned(fromByteOffset: index, as: UInt64.self) ^ word
      unsafe raw.storeBytes(of: masked, toByteOffset: index, as: UInt64.self)
      index &+= 8
    }
    while index < count {
      unsafe raw[index] ^= octet(key, at: phase &+ index)
      index &+= 1
    }
  }

  /// The key repeated over eight octets, turned so that its first octet is the one for `phase`, as
  /// a load from memory would give it.
  @inline(always)
  private static func eightOctets(of key: UInt32, phase: Int) -> UInt64 {
    let turn = UInt32(truncatingIfNeeded: phase & 3) &* 8
    let turned = turn == 0 ? key : key << turn | key >> (32 &- turn)
    return (UInt64(turned) << 32 | UInt64(turned)).bigEndian
  }
}
