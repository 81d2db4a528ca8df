import Bytes
import Foundation
import Telemetry
import Testing

/// The line made of one field `v`, its value as text between the quotes.
private func escaped(_ value: [UInt8], limit: Int = LineBuilder.fieldBytesMax) -> String {
  var line = LineBuilder()
  line.begin()
  line.field("v", value, limit: limit)
  line.end()
  let text = String(decoding: line.bytes, as: UTF8.self)
  #expect(text.hasPrefix("{\"v\":\"") && text.hasSuffix("\"}\n"))
  return String(text.dropFirst(6).dropLast(3))
}

private func timestamp(_ wall: Int64) -> String {
  var line = LineBuilder()
  line.begin()
  line.field("t", wall: wall)
  line.end()
  return String(decoding: line.bytes, as: UTF8.self)
}

@Suite("A log line")
struct LineBuilderTests {
  @Test(
    "what could end the line, the string or reach a terminal is escaped",
    arguments: [
      ("plain text /a?b=c", "plain text /a?b=c"),
      ("a\r\nb", "a\\u000d\\u000ab"),
      ("\u{1b}[2J", "\\u001b[2J"),
      ("\0\t\u{1f}\u{7f}", "\\u0000\\u0009\\u001f\\u007f"),
      ("say \"hi\" \\ there", "say \\\"hi\\\" \\\\ there"),
      ("käse €  🎈", "käse €  🎈"),
      ("\u{85}\u{9b}\u{2028}\u{2029}", "\\u0085\\u009b\\u2028\\u2029"),
      ("\u{202e}txt.exe\u{2066}\u{feff}", "\\u202etxt.exe\\u2066\\ufeff"),
    ])
  func escapes(_ text: String, _ expected: String) {
    #expect(escaped(Array(text.utf8)) == expected)
  }

  @Test(
    "bytes that are no UTF-8 are shown one by one",
    arguments: [
      ([0xff, 0x41], "\\u00ffA"),
      ([0xc0, 0xaf], "\\u00c0\\u00af"),  // overlong
      ([0xe0, 0x80, 0xaf], "\\u00e0\\u0080\\u00af"),  // overlong
      ([0xed, 0xa0, 0x80], "\\u00ed\\u00a0\\u0080"),  // surrogate
      ([0xf4, 0x90, 0x80, 0x80], "\\u00f4\\u0090\\u0080\\u0080"),  // beyond U+10FFFF
      ([0xf5, 0x41], "\\u00f5A"),
      ([0xe2, 0x82], "\\u00e2\\u0082"),  // cut short
      ([0xe2, 0x41, 0x82], "\\u00e2A\\u0082"),
      ([0x80], "\\u0080"),
    ] as [([UInt8], String)])
  func notUTF8(_ bytes: [UInt8], _ expected: String) {
    #expect(escaped(bytes) == expected)
  }

  @Test("every byte value alone and in pairs makes one parsable line")
  func allBytes() throws {
    for first in 0...255 {
      for second in [0, 0x0a, 0x22, 0x5c, 0x80, 0xbf, 0xc2, 0xe2, 0xf0, 0xff] {
        var line = LineBuilder()
        line.begin()
        line.field("v", [UInt8(first), UInt8(second)])
        line.end()
        #expect(line.bytes.filter { $0 < 0x20 } == [0x0a])
        #expect(line.bytes.last == 0x0a)
        _ = try JSONSerialization.jsonObject(with: Data(line.bytes))
      }
    }
  }

  @Test("a long value is cut at 1,024 bytes on the line, escapes included, at a whole character")
  func cut() {
    let fits = escaped(Array(repeating: UInt8(ascii: "a"), count: 1024))
    #expect(fits.utf8.count == 1024 && !fits.contains("…"))
    let long = escaped(Array(repeating: UInt8(ascii: "a"), count: 1025))
    #expect(long.utf8.count == 1024 && long.hasSuffix("a…"))
    let controls = escaped(Array(repeating: 7, count: 5000))
    #expect(controls.utf8.count <= 1024 && controls.hasSuffix("\\u0007…"))
    let wide = escaped(Array(String(repeating: "€", count: 1000).utf8))
    #expect(wide.utf8.count <= 1024 && wide.hasSuffix("€…"))
    for limit in 0...40 {
      let short = escaped(Array(String(repeating: "é\n", count: 30).utf8), limit: limit)
      #expect(short.utf8.count <= limit)
    }
  }

  @Test("fields are separated by commas, fragments and numbers included")
  func fields() {
    let fragment = LineBuilder.fragment {
      $0.field("a", "1")
      $0.field("b", 2)
    }
    var line = LineBuilder()
    line.begin()
    line.field("w", word: "x")
    line.fields(fragment)
    line.fields([])
    line.field("max", UInt64.max)
    line.field("d", milliseconds: TimeSpan(nanoseconds: 12_034_999))
    line.field("n", milliseconds: TimeSpan(nanoseconds: -5))
    line.end()
    let expected =
      #"{"w":"x","a":"1","b":2,"max":18446744073709551615,"d":12.034,"n":0.000}"# + "\n"
    #expect(String(decoding: line.bytes, as: UTF8.self) == expected)
    line.begin()
    line.fields(fragment)
    line.end()
    #expect(String(decoding: line.bytes, as: UTF8.self) == "{\"a\":\"1\",\"b\":2}\n")
  }

  @Test(
    "times are ISO 8601 in UTC",
    arguments: [
      (0, "1970-01-01T00:00:00.000Z"),
      (951_782_400_000_000_000, "2000-02-29T00:00:00.000Z"),
      (1_709_251_199_999_999_999, "2024-02-29T23:59:59.999Z"),
      (4_107_542_400_000_000_000, "2100-03-01T00:00:00.000Z"),
      (1_795_242_009_120_000_000, "2026-11-21T06:20:09.120Z"),
      (-1, "1970-01-01T00:00:00.000Z"),
    ] as [(Int64, String)])
  func time(_ wall: Int64, _ expected: String) {
    #expect(timestamp(wall) == "{\"t\":\"\(expected)\"}\n")
  }

  @Test("times agree with Foundation for 300 years")
  func calendar() {
    let formatter = ISO8601DateFormatter()
    for step in 0..<3000 {
      let seconds = Int64(step) * 3_071_237
      let expected = formatter.string(from: Date(timeIntervalSince1970: Double(seconds)))
      let day = expected.dropLast()
      #expect(timestamp(seconds * 1_000_000_000) == "{\"t\":\"\(day).000Z\"}\n")
    }
  }
}
