import Bytes
import Testing

@Suite("UTF-8 validation")
struct UTF8ValidatorTests {
  /// Offset of the first impossible byte and whether the text is complete, over pieces.
  static func verdict(_ pieces: [[UInt8]]) -> (invalidAt: Int?, isComplete: Bool) {
    var validator = UTF8Validator()
    var offset = 0
    for piece in pieces {
      if let invalid = validator.firstInvalid(in: piece.span) { return (offset + invalid, false) }
      offset += piece.count
    }
    return (nil, validator.isComplete)
  }

  @Test("accepts every scalar value, and refuses every surrogate")
  func everyScalar() {
    for value in UInt32(0)...0x10FFFF {
      if let scalar = Unicode.Scalar(value) {
        let bytes = Array(UTF8.encode(scalar)!)
        if !UTF8Validator.isValid(bytes.span) { Issue.record("U+\(String(value, radix: 16))") }
      } else {
        let bytes = [
          0xE0 | UInt8(value >> 12), 0x80 | UInt8(value >> 6 & 63), 0x80 | UInt8(value & 63),
        ]
        #expect(Self.verdict([bytes]).invalidAt == 1)
      }
    }
  }

  @Test("agrees with the standard library on every one to three bytes of interest")
  func agreement() {
    let interesting: [UInt8] = [
      0x00, 0x61, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1,
      0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF,
    ]
    for first in interesting {
      for second in interesting {
        for third in interesting {
          for fourth in interesting {
            let bytes = [first, second, third, fourth]
            let expected = String(validating: bytes, as: UTF8.self) != nil
            if UTF8Validator.isValid(bytes.span) != expected { Issue.record("\(bytes)") }
          }
        }
      }
    }
  }

  @Test(
    "names the first impossible byte, however the text is split",
    arguments: [
      ("κόσμε", nil, true), ("", nil, true), ("0123456789abcdefghij", nil, true),
    ] as [(String, Int?, Bool)])
  func texts(_ text: String, invalidAt: Int?, isComplete: Bool) {
    Self.check(Array(text.utf8), invalidAt, isComplete)
  }

  @Test(
    "fails with the first impossible byte, however the bytes are split",
    arguments: [
      ([0xCE, 0xBA, 0xE1, 0xBD, 0xB9, 0xED, 0xA0, 0x80], 6, false),
      ([0xF4, 0x90, 0x80, 0x80], 1, false), ([0xF4, 0x8F, 0xBF], nil, false),
      ([0xC0, 0xAF], 0, false), ([0xE0, 0x80, 0xAF], 1, false),
      ([0xF0, 0x82, 0x82, 0xAC], 1, false),
      ([0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x80], 9, false),
      ([0xE2, 0x82], nil, false), ([0xE2, 0x82, 0x61], 2, false), ([0xE2, 0xE2], 1, false),
      ([0xF8, 0x88, 0x80, 0x80, 0x80], 0, false), ([0xFE], 0, false),
      ([0xED, 0x9F, 0xBF, 0xEE, 0x80, 0x80], nil, true),
    ] as [([UInt8], Int?, Bool)])
  func bytes(_ bytes: [UInt8], invalidAt: Int?, isComplete: Bool) {
    Self.check(bytes, invalidAt, isComplete)
  }

  static func check(_ bytes: [UInt8], _ invalidAt: Int?, _ isComplete: Bool) {
    var splits = [[bytes], bytes.map { [$0] }]
    for at in 0...bytes.count { splits.append([Array(bytes[..<at]), Array(bytes[at...])]) }
    for pieces in splits {
      let verdict = verdict(pieces)
      #expect(verdict.invalidAt == invalidAt)
      #expect(verdict.isComplete == isComplete)
    }
  }
}
