import Bytes
import Testing

@Suite("Runs of text")
struct TextRunsTests {
  @Test("a run of text ends at the first control byte or DEL, wherever that lies in its word")
  func text() {
    for byte in UInt8.min...UInt8.max {
      for position in 0..<20 {
        var bytes = [UInt8](repeating: UInt8(ascii: "a"), count: 20)
        bytes[position] = byte
        let ends = byte < 0x20 || byte == 0x7f
        #expect(ASCII.endOfText(bytes.span, 0..<20) == (ends ? position : 20))
        #expect(ASCII.isFieldValue(bytes.span) == ASCII.isFieldValueByte(byte))
      }
    }
  }

  @Test("of two bytes that end a run the first one counts, and none outside of the range")
  func order() {
    for second in [0, 0x1f, 0x20, 0x7f, 0x80, 0xff] as [UInt8] {
      let bytes: [UInt8] = [0, 0x80, 0xff, 0x7e, 0x20, 0x7f, second, 0, second, 0x7f]
      #expect(ASCII.endOfText(bytes.span, 1..<10) == 5)
      #expect(ASCII.endOfText(bytes.span, 1..<4) == 4)
      #expect(ASCII.endOfText(bytes.span, 3..<3) == 3)
    }
  }

  @Test("a run of ASCII ends at bytes from 0x80 up as well")
  func onlyASCII() {
    for byte in UInt8.min...UInt8.max {
      for position in 0..<20 {
        var bytes = [UInt8](repeating: UInt8(ascii: "a"), count: 20)
        bytes[position] = byte
        let ends = byte < 0x20 || byte >= 0x7f
        for count in [position + 1, 20] {
          let end = ASCII.endOfText(bytes.span, 0..<count, onlyASCII: true)
          #expect(end == (ends ? position : count))
        }
      }
    }
  }

  @Test("letters and hyphens, and small ones, are told from everything else at every length")
  func lettersAndHyphens() {
    for byte in UInt8.min...UInt8.max {
      let isOne = ASCII.isLetter(byte) || byte == UInt8(ascii: "-")
      let isSmallToken = ASCII.isTokenByte(byte) && !ASCII.isUpperCase(byte)
      for count in 1..<20 {
        for position in 0..<count {
          var bytes = [UInt8](repeating: UInt8(ascii: "z"), count: count)
          bytes[position] = byte
          let isNone = !ASCII.isLettersAndHyphens(bytes.span)
          let isToken = ASCII.isTokenInLowerCase(bytes.span)
          #expect(isNone != isOne && isToken == isSmallToken)
        }
      }
    }
    let isToken = ASCII.isTokenInLowerCase([UInt8]().span)
    #expect(!isToken)
  }

  @Test("two numbers are 32 hexadecimal digits")
  func digits32() {
    let text = HexDigits(0x0123_4567_89ab_cdef, 0xfedc_ba98_0000_0001).withSpan { ASCII.copy($0) }
    #expect(String(decoding: text, as: UTF8.self) == "0123456789abcdeffedcba9800000001")
  }

  @Test("texts of every length are copied whole, with capital letters as they are or made small")
  func lengths() {
    for count in 0..<40 {
      let bytes = (0..<count).map { UInt8(ascii: "A") + UInt8($0) }
      var text: [UInt8] = []
      ASCII.append(bytes.span, to: &text)
      ASCII.appendPair(bytes.span, bytes.span, to: &text)
      #expect(text == bytes + bytes.map { ASCII.lowercased($0) } + bytes)
    }
  }

  @Test("names are the same in any case, and different when one byte is, at every length")
  func sameNames() {
    let names: [StaticString] = [
      "", "te", "via", "host", "cookie", "upgrade", "location", "x-real-ip", "content-length",
      "sec-websocket-key", "sec-websocket-extensions",
    ]
    for name in names {
      let bytes = Array(name.description.utf8)
      let isSame = ASCII.equalsIgnoringCase(Array(name.description.uppercased().utf8).span, name)
      #expect(isSame)
      for position in bytes.indices {
        var other = bytes
        for byte in UInt8.min...UInt8.max {
          other[position] = byte
          let isSame = ASCII.equalsIgnoringCase(other.span, name)
          let isEqual = ASCII.equals(other.span, name)
          #expect(isSame == (ASCII.lowercased(byte) == bytes[position]))
          #expect(isEqual == (byte == bytes[position]))
        }
      }
    }
  }

  @Test("a token ends at the first byte that is none of its own, wherever that lies in its word")
  func longToken() {
    for byte in UInt8.min...UInt8.max {
      for position in 0..<20 {
        var bytes = [UInt8](repeating: UInt8(ascii: "-"), count: 20)
        for index in bytes.indices where index % 3 > 0 {
          bytes[index] = index % 2 == 0 ? 0x5a : 0x61
        }
        bytes[position] = byte
        let isToken = ASCII.isTokenByte(byte)
        let end = ASCII.endOfToken(bytes.span, 0..<20)
        #expect(end == (isToken ? 20 : position))
      }
    }
  }

  @Test("every capital letter is made small, and no other byte")
  func lowercase() {
    for byte in UInt8.min...UInt8.max {
      for position in 0..<11 {
        var bytes = [UInt8](repeating: UInt8(ascii: "M"), count: 11)
        bytes[position] = byte
        var text: [UInt8] = []
        ASCII.appendPair(bytes.span, "".utf8.span, to: &text)
        #expect(text == bytes.map { ASCII.lowercased($0) })
      }
    }
  }

  @Test("hexadecimal digits are the lowest ones, with their zeros")
  func hexadecimal() {
    for value in [0, 1, 0x9abc_def0, 0x0123_4567_89ab_cdef, UInt64.max] {
      for digits in 1...16 {
        var text: [UInt8] = []
        ASCII.appendHex(value, digits: digits, to: &text)
        let all = String(repeating: "0", count: 16) + String(value, radix: 16)
        #expect(String(decoding: text, as: UTF8.self) == String(all.suffix(digits)))
      }
    }
  }

  @Test("a token of a short text ends at the first byte that is none of its own")
  func token() {
    for byte in UInt8.min...UInt8.max {
      let bytes = [UInt8(ascii: "x"), byte, UInt8(ascii: "y")]
      let isToken = ASCII.isTokenByte(byte)
      #expect(ASCII.endOfToken(bytes.span, 0..<3) == (isToken ? 3 : 1))
      #expect(ASCII.isToken(bytes.span) == isToken)
    }
    let isToken = ASCII.isToken([UInt8]().span)
    #expect(!isToken)
  }

  @Test("lines and numbers are written as they are read")
  func writing() {
    var text: [UInt8] = []
    ASCII.withSpan("Name") { ASCII.appendLine($0, "a value".utf8.span, to: &text) }
    ASCII.appendLine("n".utf8.span, "".utf8.span, to: &text)
    ASCII.appendPair("MiXed-1".utf8.span, "".utf8.span, to: &text)
    #expect(String(decoding: text, as: UTF8.self) == "Name: a value\r\nn: \r\nmixed-1")
    for value in [0, 9, 10, 65_535, UInt64.max] {
      var digits: [UInt8] = []
      ASCII.appendDecimal(value, to: &digits)
      #expect(String(decoding: digits, as: UTF8.self) == String(value))
    }
  }
}
