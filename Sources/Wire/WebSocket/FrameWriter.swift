// Makes frames: the bridge's own Pings and Closes, and everything endpoints send. Writes behind the
// content of a buffer the caller owns; knows nothing of connections.

public import Bytes

/// Frames with minimal length fields (RFC 6455, section 5.2).
///
/// `mask` is nil from a server and a fresh random key from a client; its first octet on the wire is
/// the most significant one.
public enum FrameWriter {
  /// The longest header: two octets, a 64-bit length and a mask.
  public static var headerBytesMax: Int { 14 }

  public static func appendFrame(
    _ opcode: Opcode, fin: Bool = true, mask: UInt32?, payload: Span<UInt8>, to buffer: SharedBuffer
  ) {
    let header = header(opcode, fin: fin, mask: mask, payloadCount: payload.count)
    header.withSpan { buffer.append($0) }
    if let mask {
      Mask.append(payload, key: mask, to: buffer)
    } else {
      buffer.append(payload)
    }
  }

  public static func appendFrame(
    _ opcode: Opcode, fin: Bool = true, mask: UInt32?, payload: Span<UInt8>,
    to buffer: inout [UInt8]
  ) {
    appendHeader(opcode, fin: fin, mask: mask, payloadCount: payload.count, to: &buffer)
    // A key of zero copies.
    Mask.append(payload, key: mask ?? 0, to: &buffer)
  }

  /// The header alone, for payload that is sent from elsewhere.
  public static func appendHeader(
    _ opcode: Opcode, fin: Bool = true, mask: UInt32?, payloadCount: Int, to buffer: inout [UInt8]
  ) {
    let header = header(opcode, fin: fin, mask: mask, payloadCount: payloadCount)
    header.withSpan { span in
      for index in 0..<span.count { buffer.append(span[index]) }
    }
  }

  /// The payload of a Close: `code`, then as much of `reason` as fits 123 octets in whole characters.
  public static func closePayload(code: UInt16, reason: String = "") -> [UInt8] {
    invariant(CloseCode.maySend(code), "a Close with a code that may not be sent")
    var payload = [UInt8(truncatingIfNeeded: code >> 8), UInt8(truncatingIfNeeded: code)]
    for scalar in reason.unicodeScalars {
      guard payload.count + UTF8.width(scalar) <= 125 else { break }
      payload.append(contentsOf: String(scalar).utf8)
    }
    return payload
  }

  static func header(
    _ opcode: Opcode, fin: Bool, mask: UInt32?, payloadCount: Int
  ) -> HeaderBytes {
    invariant(payloadCount >= 0, "a frame of negative length")
    invariant(!opcode.isControl || payloadCount <= 125 && fin, "no such control frame")
    var header = HeaderBytes()
    header.append(opcode.rawValue | (fin ? 0x80 : 0))
    let maskBit: UInt8 = mask == nil ? 0 : 0x80
    let length = UInt64(payloadCount)
    switch length {
    case 0...125:
      header.append(maskBit | UInt8(truncatingIfNeeded: length))
    case 126...0xFFFF:
      header.append(maskBit | 126)
      header.append(length, octets: 2)
    default:
      header.append(maskBit | 127)
      header.append(length, octets: 8)
    }
    if let mask { header.append(UInt64(mask), octets: 4) }
    return header
  }
}

/// The octets of one frame header, in place.
struct HeaderBytes {
  private var octets = InlineArray<14, UInt8>(repeating: 0)
  private(set) var count = 0

  mutating func append(_ octet: UInt8) {
    octets[count] = octet
    count += 1
  }

  /// The low `octets` octets of `number`, the most significant first.
  mutating func append(_ number: UInt64, octets: Int) {
    for index in (0..<octets).reversed() {
      append(UInt8(truncatingIfNeeded: number >> (8 * UInt64(index))))
    }
  }

  func withSpan(_ body: (Span<UInt8>) -> Void) { body(octets.span.extracting(0..<count)) }
}
