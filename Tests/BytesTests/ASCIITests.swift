import Bytes
import Testing

@Suite("ASCII")
struct ASCIITests {
  @Test("token bytes are exactly the tchars of RFC 9110")
  func tokens() {
    let tchars = Set(
      "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".utf8)
    for byte in UInt8.min...UInt8.max {
      #expect(ASCII.isTokenByte(byte) == tchars.contains(byte))
    }
  }

  @Test("field values hold HTAB, visible bytes and obs-text, and no other control bytes")
  func values() {
    for byte in UInt8.min...UInt8.max {
      #expect(ASCII.isFieldValueByte(byte) == (byte == 9 || (byte >= 32 && byte != 127)))
    }
  }

  @Test("only the 26 capital letters are lower-cased, only hexadecimal digits have values")
  func letters() {
    for byte in UInt8.min...UInt8.max {
      let character = Character(UnicodeScalar(byte))
      let isCapital = byte >= 65 && byte <= 90
      #expect(ASCII.lowercased(byte) == (isCapital ? byte + 32 : byte))
      #expect(ASCII.isLetter(byte) == (character.isLetter && byte < 128))
      #expect(ASCII.isDigit(byte) == (byte >= 48 && byte <= 57))
      #expect(ASCII.hexValue(byte).map(Int.init) == (byte < 128 ? character.hexDigitValue : nil))
    }
  }

  @Test("comparison ignores the case of letters and of nothing else")
  func comparison() {
    func equals(_ text: String) -> Bool {
      ASCII.equalsIgnoringCase(Array(text.utf8).span, "a-z_[")
    }
    #expect(equals("a-z_[") && equals("A-Z_["))
    #expect(!equals("a-z_{") && !equals("a-z\u{7f}[") && !equals("a\rz_[") && !equals("a-z_"))
    func isSame(_ text: String) -> Bool { ASCII.equals(Array(text.utf8).span, "ab") }
    #expect(isSame("ab") && !isSame("aB") && !isSame("abc") && !isSame("a"))
  }

  @Test("decimal numbers have 1 to 19 digits and nothing else")
  func decimals() {
    func decimal(_ text: String) -> UInt64? { ASCII.decimal(Array(text.utf8).span) }
    #expect(decimal("0") == 0 && decimal("007") == 7)
    #expect(decimal("9999999999999999999") == 9_999_999_999_999_999_999)
    for text in ["", " 1", "1 ", "+1", "-1", "1_0", "0x1", "10000000000000000000", "1.0", "٥"] {
      #expect(decimal(text) == nil)
    }
    for value in [0, 1, 9, 10, 99, 100, UInt64.max] {
      var text: [UInt8] = []
      ASCII.appendDecimal(value, to: &text)
      #expect(String(decoding: text, as: UTF8.self) == "\(value)")
    }
  }
}
