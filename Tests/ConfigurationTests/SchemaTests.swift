// How a schema is put together and written. What it takes and refuses is tested where validators are:
// EndToEnd/test_schema.py.
import Foundation
import Testing

@testable import Configuration

@Suite struct SchemaTests {
  private func text(_ schema: Schema) -> String { JSON.object(schema.members).written() }

  @Test("a text is escaped so that another reader has the same text")
  func escaping() throws {
    let text = "\"\\/\n\t\r\u{0}\u{1f}\u{7f} grün \u{2028} 👋"
    let written = JSON.object([(text, .list([.text(text)]))]).written()
    #expect(written.unicodeScalars.allSatisfy { $0.value >= 0x20 || $0 == "\n" })
    let read = try JSONSerialization.jsonObject(with: Data(written.utf8))
    #expect(read as? [String: [String]] == [text: [text]])
  }

  @Test("members keep their order, and only single values share a line")
  func layout() {
    let tree = JSON.object([
      ("b", .list([.number("1"), .bool(true), .text("x")])), ("a", .object([])), ("c", .list([])),
      ("d", .list([.object([("e", .bool(false))])])),
    ])
    #expect(
      tree.written() == """
        {
          "b": [1, true, "x"],
          "a": {},
          "c": [],
          "d": [
            {
              "e": false
            }
          ]
        }
        """)
  }

  @Test("a default is what a reader of YAML makes of it")
  func defaults() {
    let texts = ["true", "0", "64", "007", "64KiB", "off", "1.2", ""]
      .map { JSON(plain: $0).written() }
    #expect(texts == ["true", "0", "64", "\"007\"", "\"64KiB\"", "\"off\"", "\"1.2\"", "\"\""])
  }

  @Test("one way to write a value stands alone, several are alternatives in a fixed order")
  func alternatives() {
    let one = text(.text("a", "b"))
    #expect(one.hasPrefix("{\n  \"type\": \"string\",\n  \"pattern\": \"^(?:a|b)$|"))
    let both = text(.integer(1...5).or(.words(["off"])))
    #expect(both.contains("\"enum\": [\"off\", false]"))
    #expect(both.contains("\"pattern\": \"^(?:[0-9]+|no|false)$|"))
    #expect(both == text(.integer(1...5).or(.words(["off"]))))
    let order = ["enum", "minimum", "pattern"].compactMap { both.firstRange(of: $0)?.lowerBound }
    #expect(order.count == 3 && order == order.sorted())
  }

  @Test("every way to write no value is refused where a section must be there")
  func nothing() {
    #expect(text(ConfigValue<LogSettings>.section().schema).contains("[\"object\", \"null\"]"))
    let present = ConfigValue<LogSettings?>.whenPresent(.section()).schema
    #expect(text(present).hasPrefix("{\n  \"type\": \"object\","))
  }
}
