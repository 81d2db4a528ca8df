// Streams of frames with what must come of them. Most are generated from tables; what is expected
// comes from rules written down here a second time, in the order in which RFC 6455 lays the bits.

import Testing
import Wire

struct FrameCase: CustomTestStringConvertible {
  enum Side { case client, backend }
  enum Expectation {
    /// Everything is relayed; so many data messages and control frames are complete.
    case passes(messages: UInt64, controls: Int)
    case violates(WebSocketViolation, at: Int)
  }
  var name: String
  var side = Side.client
  var allowsRSV1 = false
  var limit: UInt64 = 16 << 20
  var bytes: [UInt8]
  var expectation: Expectation

  var testDescription: String { name }
  var scanner: FrameScanner {
    FrameScanner(expectsMask: side == .client, allowsRSV1: allowsRSV1, messageBytesMax: limit)
  }
}

enum FrameCases {
  static let all = firstOctets + lengths + controlLengths + closes + sequences + limits

  static let key: [UInt8] = [1, 2, 3, 4]

  /// Every first octet, masked and unmasked, in and out of a message, with and without an extension.
  static var firstOctets: [FrameCase] {
    var cases: [FrameCase] = []
    for first in UInt8.min...UInt8.max {
      for inMessage in [false, true] {
        for allowsRSV1 in [false, true] {
          for side in [FrameCase.Side.client, .backend] {
            cases.append(firstOctet(first, inMessage: inMessage, allowsRSV1: allowsRSV1, side))
          }
        }
      }
    }
    return cases
  }

  static func firstOctet(
    _ first: UInt8, inMessage: Bool, allowsRSV1: Bool, _ side: FrameCase.Side
  ) -> FrameCase {
    let mask: [UInt8]? = side == .client ? key : nil
    let opening = RawFrame(fin: false, opcode: 2, mask: mask, payload: [7]).bytes
    let fin = first & 0x80 != 0
    let rsv = first >> 4 & 7
    let opcode = first & 15
    let frame = RawFrame(fin: fin, rsv: rsv, opcode: opcode, mask: mask, payload: [3, 232])
    let before = inMessage ? opening : []
    let violation: WebSocketViolation? =
      if rsv != 0 && !(rsv == 4 && allowsRSV1 && (opcode == 1 || opcode == 2)) {
        .reservedBits
      } else if (3...7).contains(opcode) || opcode > 10 {
        .reservedOpcode
      } else if opcode >= 8 && !fin {
        .controlFragmented
      } else if opcode == 0 && !inMessage {
        .unexpectedContinuation
      } else if (opcode == 1 || opcode == 2) && inMessage {
        .expectedContinuation
      } else {
        nil
      }
    let isControl = opcode >= 8
    let place = inMessage ? "in a message" : "between messages"
    let extensions = allowsRSV1 ? "deflate" : "plain"
    return FrameCase(
      name: "first octet \(String(first, radix: 16)) \(place), \(extensions), from the \(side)",
      side: side, allowsRSV1: allowsRSV1, bytes: before + frame.bytes,
      expectation: violation.map { .violates($0, at: before.count) }
        ?? .passes(messages: !isControl && fin ? 1 : 0, controls: isControl ? 1 : 0))
  }

  /// Payload lengths in every encoding that can hold them.
  static var lengths: [FrameCase] {
    var cases: [FrameCase] = []
    for side in [FrameCase.Side.client, .backend] {
      let mask: [UInt8]? = side == .client ? key : nil
      for count in [0, 1, 2, 124, 125, 126, 127, 128, 255, 256, 65534, 65535, 65536, 70000] {
        for octets in [0, 2, 8] where count < 126 || octets > 0 && (count < 65536 || octets == 8) {
          let least = count < 126 ? 0 : count < 65536 ? 2 : 8
          let payload = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7) }
          cases.append(
            FrameCase(
              name: "\(count) octets of payload, length in \(octets), from the \(side)",
              side: side,
              bytes: RawFrame(opcode: 2, mask: mask, payload: payload, lengthOctets: octets).bytes,
              expectation: octets == least
                ? .passes(messages: 1, controls: 0) : .violates(.lengthNotMinimal, at: 0)))
        }
      }
      cases += tooLong(side)
    }
    return cases
  }

  static func tooLong(_ side: FrameCase.Side) -> [FrameCase] {
    let maskBit: UInt8 = side == .client ? 0x80 : 0
    let wrongBit: UInt8 = maskBit ^ 0x80
    return [
      FrameCase(
        name: "2^63 octets from the \(side)", side: side,
        bytes: [0x82, maskBit | 127, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4],
        expectation: .violates(.lengthTooLong, at: 0)),
      FrameCase(
        name: "2^64 - 1 octets from the \(side)", side: side,
        bytes: [0x82, maskBit | 127] + [UInt8](repeating: 0xFF, count: 12),
        expectation: .violates(.lengthTooLong, at: 0)),
      FrameCase(
        name: "2^63 - 1 octets from the \(side)", side: side,
        bytes: [0x82, maskBit | 127, 0x7F] + [UInt8](repeating: 0xFF, count: 11),
        expectation: .violates(.messageTooBig, at: 0)),
      FrameCase(
        name: "2^63 - 1 octets from the \(side), no limit", side: side, limit: .max,
        bytes: [0x82, maskBit | 127, 0x7F] + [UInt8](repeating: 0xFF, count: 20),
        expectation: .passes(messages: 0, controls: 0)),
      FrameCase(
        name: "64-bit length of zero from the \(side)", side: side,
        bytes: [0x82, maskBit | 127, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4],
        expectation: .violates(.lengthNotMinimal, at: 0)),
      FrameCase(
        name: "the wrong mask bit from the \(side)", side: side, bytes: [0x82, wrongBit],
        expectation: .violates(side == .client ? .notMasked : .masked, at: 0)),
      FrameCase(
        name: "the wrong mask bit on a long frame from the \(side)", side: side,
        bytes: [0x82, wrongBit | 127, 0xFF, 0xFF],
        expectation: .violates(side == .client ? .notMasked : .masked, at: 0)),
      FrameCase(
        name: "the wrong mask bit on a Ping from the \(side)", side: side,
        bytes: [0x89, wrongBit | 126],
        expectation: .violates(side == .client ? .notMasked : .masked, at: 0)),
    ]
  }

  static var controlLengths: [FrameCase] {
    var cases: [FrameCase] = []
    for (word, opcode) in [("Ping", UInt8(9)), ("Pong", 10), ("Close", 8)] {
      for count in [0, 1, 2, 3, 4, 5, 8, 124, 125] {
        let code: [UInt8] = opcode == 8 ? [3, 232] : [0, 0]
        let payload = Array((code + [UInt8](repeating: 0x61, count: 125)).prefix(count))
        let isShort = opcode == 8 && count == 1
        for mask in [key, nil] {
          cases.append(
            FrameCase(
              name: "\(word) of \(count), \(mask == nil ? "unmasked" : "masked")",
              side: mask == nil ? .backend : .client,
              bytes: RawFrame(opcode: opcode, mask: mask, payload: payload).bytes,
              expectation: isShort
                ? .violates(.closePayloadTooShort, at: 0) : .passes(messages: 0, controls: 1)))
        }
      }
      for (octets, count) in [(2, 126), (2, 5), (8, 70000), (8, 5)] {
        let payload = [UInt8](repeating: 0x61, count: count)
        cases.append(
          FrameCase(
            name: "\(word) of \(count), length in \(octets) octets",
            bytes: RawFrame(opcode: opcode, mask: key, payload: payload, lengthOctets: octets)
              .bytes,
            expectation: .violates(.controlTooLong, at: 0)))
      }
    }
    return cases
  }

  static func close(_ payload: [UInt8]) -> [UInt8] {
    RawFrame(opcode: 8, mask: key, payload: payload).bytes
  }
  static func code(_ code: UInt16) -> [UInt8] { [UInt8(code >> 8), UInt8(code & 255)] }

  static var closes: [FrameCase] {
    let data = RawFrame(opcode: 1, mask: key, payload: [0x61]).bytes
    let legal: [UInt16] = [
      1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000,
      4999,
    ]
    let illegal: [UInt16] = [
      0, 1, 500, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2998, 2999,
    ]
    let texts: [(String, [UInt8])] = [
      ("ASCII", [0x62, 0x79, 0x65]), ("two octets", [0xC2, 0x80]),
      ("three octets", [0xE0, 0xA0, 0x80]), ("four octets", [0xF4, 0x8F, 0xBF, 0xBF]),
      ("NUL", [0]), ("a noncharacter", [0xEF, 0xBF, 0xBF]),
    ]
    let nonTexts: [(String, [UInt8])] = [
      ("a lone continuation", [0x80]), ("FF", [0xFF]), ("an overlong slash", [0xC0, 0xAF]),
      ("a surrogate", [0xED, 0xA0, 0x80]), ("beyond U+10FFFF", [0xF4, 0x90, 0x80, 0x80]),
      ("a cut character", [0x61, 0xE2, 0x82]), ("overlong three", [0xE0, 0x9F, 0xBF]),
      ("overlong four", [0xF0, 0x8F, 0xBF, 0xBF]), ("F5", [0xF5, 0x80, 0x80, 0x80]),
    ]
    return legal.map {
      FrameCase(
        name: "Close \($0)", bytes: data + close(code($0)),
        expectation: .passes(messages: 1, controls: 1))
    }
      + illegal.map {
        FrameCase(
          name: "Close \($0)", bytes: data + close(code($0)),
          expectation: .violates(.closeCodeInvalid, at: data.count))
      }
      + texts.map {
        FrameCase(
          name: "Close reason: \($0.0)", bytes: data + close(code(1000) + $0.1),
          expectation: .passes(messages: 1, controls: 1))
      }
      + nonTexts.map {
        FrameCase(
          name: "Close reason: \($0.0)", bytes: data + close(code(1000) + $0.1),
          expectation: .violates(.closeReasonNotUTF8, at: data.count))
      }
  }

  static func frame(
    _ opcode: UInt8, fin: Bool = true, _ count: Int = 3, rsv: UInt8 = 0
  ) -> [UInt8] {
    RawFrame(
      fin: fin, rsv: rsv, opcode: opcode, mask: key, payload: [UInt8](repeating: 0x41, count: count)
    ).bytes
  }

  static var sequences: [FrameCase] {
    let start = frame(1, fin: false)
    let middle = frame(0, fin: false)
    let end = frame(0)
    let ping = frame(9)
    return [
      passing("two fragments", start + end, messages: 1),
      passing("four fragments", start + middle + middle + end, messages: 1),
      passing("an open message", start + middle, messages: 0),
      passing("a Ping between fragments", start + ping + end, messages: 1, controls: 1),
      passing(
        "Pings everywhere", ping + start + ping + middle + ping + end + ping, messages: 1,
        controls: 4),
      passing(
        "empty fragments", frame(2, fin: false, 0) + frame(0, fin: false, 0) + frame(0, 0),
        messages: 1),
      passing("messages in a row", frame(1) + frame(2) + start + end + frame(1, 0), messages: 4),
      passing("empty messages", frame(1, 0) + frame(2, 0) + frame(1, 0), messages: 3),
      passing("a Pong nobody asked for", frame(10) + frame(1), messages: 1, controls: 1),
      violating("a continuation after the end", start + end, end, .unexpectedContinuation),
      violating("a continuation first", [], middle, .unexpectedContinuation),
      violating("text in a message", start, frame(1), .expectedContinuation),
      violating("binary in a message", start + ping, frame(2), .expectedContinuation),
      violating("a cut Ping in a message", start, frame(9, fin: false), .controlFragmented),
      violating("RSV1 unasked", frame(1), frame(1, rsv: 4), .reservedBits),
      violating("a reserved opcode in a message", start, frame(5), .reservedOpcode),
      FrameCase(
        name: "RSV1 on the first frame only", allowsRSV1: true,
        bytes: frame(1, fin: false, rsv: 4) + end,
        expectation: .passes(messages: 1, controls: 0)),
      FrameCase(
        name: "RSV1 on a continuation", allowsRSV1: true,
        bytes: frame(1, fin: false, rsv: 4) + frame(0, rsv: 4),
        expectation: .violates(.reservedBits, at: start.count)),
      FrameCase(
        name: "RSV1 on a Ping", allowsRSV1: true, bytes: frame(1, rsv: 4) + frame(9, rsv: 4),
        expectation: .violates(.reservedBits, at: frame(1).count)),
      passing("nothing at all", [], messages: 0),
    ]
  }

  static var limits: [FrameCase] {
    func limited(
      _ limit: UInt64, _ name: String, _ bytes: [UInt8], _ expectation: FrameCase.Expectation
    ) -> FrameCase {
      FrameCase(name: name, limit: limit, bytes: bytes, expectation: expectation)
    }
    let open64 = frame(2, fin: false, 64)
    let empties = Array(repeatElement(frame(0, fin: false, 0), count: 3).joined())
    return [
      limited(10, "at the limit", frame(2, 10), .passes(messages: 1, controls: 0)),
      limited(10, "one over the limit", frame(2, 11), .violates(.messageTooBig, at: 0)),
      limited(0, "an empty message, no room", frame(2, 0), .passes(messages: 1, controls: 0)),
      limited(0, "one octet, no room", frame(2, 1), .violates(.messageTooBig, at: 0)),
      limited(
        10, "every message has its own limit", frame(2, 10) + frame(2, 10) + frame(1, 11),
        .violates(.messageTooBig, at: 2 * frame(2, 10).count)),
      limited(
        128, "a continuation of 64 fits", open64 + frame(0, 64), .passes(messages: 1, controls: 0)),
      limited(
        128, "a continuation of 65 does not", open64 + frame(0, 65),
        .violates(.messageTooBig, at: open64.count)),
      limited(
        127, "an empty continuation costs 64", open64 + frame(0, 0),
        .violates(.messageTooBig, at: open64.count)),
      limited(
        128, "an empty continuation that fits", open64 + frame(0, 0),
        .passes(messages: 1, controls: 0)),
      limited(
        64 + 3 * 64, "the fourth empty continuation does not",
        open64 + empties + frame(0, fin: false, 0),
        .violates(.messageTooBig, at: open64.count + empties.count)),
      limited(
        10, "control frames do not count",
        frame(2, fin: false, 10) + frame(9, 125) + frame(10, 125),
        .passes(messages: 0, controls: 2)),
      limited(
        100, "the count starts again", open64 + frame(0, 1) + open64 + frame(0, 2),
        .violates(.messageTooBig, at: open64.count)),
      limited(
        .max, "a sum beyond 2^64",
        [0x02, 0xFF, 0x7F] + [UInt8](repeating: 0xFF, count: 7) + key,
        .passes(messages: 0, controls: 0)),
    ]
  }

  static func passing(
    _ name: String, _ bytes: [UInt8], messages: UInt64, controls: Int = 0
  ) -> FrameCase {
    FrameCase(
      name: name, bytes: bytes, expectation: .passes(messages: messages, controls: controls))
  }
  static func violating(
    _ name: String, _ before: [UInt8], _ frame: [UInt8], _ violation: WebSocketViolation
  ) -> FrameCase {
    FrameCase(
      name: name, bytes: before + frame, expectation: .violates(violation, at: before.count))
  }
}
