// The query of an admin request: `name=value` pairs, percent-encoded. Pure.

import Bytes

struct AdminQuery: Equatable {
  private(set) var values: [String: String] = [:]

  /// Nil when it is malformed, has a name twice, or one that is not in `known`.
  init?(_ text: ArraySlice<UInt8>, known: Set<String>) {
    for pair in text.split(separator: UInt8(ascii: "&")) {
      let parts = pair.split(
        separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
      guard parts.count == 2, let name = Self.decoded(parts[0]), known.contains(name),
        let value = Self.decoded(parts[1]), values[name] == nil
      else { return nil }
      values[name] = value
    }
  }

  subscript(name: String) -> String? { values[name] }

  /// Nil when a `%` is followed by anything but two hexadecimal digits.
  static func decoded(_ text: ArraySlice<UInt8>) -> String? {
    var bytes: [UInt8] = []
    var index = text.startIndex
    while index < text.endIndex {
      guard text[index] == UInt8(ascii: "%") else {
        bytes.append(text[index] == UInt8(ascii: "+") ? UInt8(ascii: " ") : text[index])
        index += 1
        continue
      }
      guard index + 2 < text.endIndex, let high = ASCII.hexValue(text[index + 1]),
        let low = ASCII.hexValue(text[index + 2])
      else { return nil }
      bytes.append(high << 4 | low)
      index += 3
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
