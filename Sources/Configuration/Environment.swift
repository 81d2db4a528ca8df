// `${NAME}` and `${NAME:-default}` in values. Keys are left alone, and what a variable holds is
// never read as YAML: it stays inside its value.

/// Replaces references to environment variables in the values of a tree.
struct Environment {
  /// What all variables together may add, so that many references to a long variable stay bounded.
  static var bytesMax: Int { 1_048_576 }

  let lookup: (String) -> String?
  private var bytes = 0

  init(_ lookup: @escaping (String) -> String?) { self.lookup = lookup }

  mutating func expand(_ node: Node, _ reader: inout Reader) -> Node {
    var node = node
    switch node.content {
    case .scalar(let text, let plain):
      guard text.utf8.contains(UInt8(ascii: "$")) else { break }
      let expanded = expand(text, node.location, &reader)
      node.content = expanded.map { .scalar($0, plain: plain) } ?? .broken
    case .sequence(let elements):
      node.content = .sequence(elements.map { expand($0, &reader) })
    case .mapping(var entries):
      for index in entries.indices {
        entries[index].value = expand(entries[index].value, &reader)
      }
      node.content = .mapping(entries)
    case .broken: break
    }
    return node
  }

  /// nil: a mistake was reported.
  private mutating func expand(
    _ text: String, _ location: SourceLocation, _ reader: inout Reader
  ) -> String? {
    var result = ""
    var rest = text[...]
    while let dollar = rest.firstIndex(of: "$") {
      result += rest[..<dollar]
      rest = rest[dollar...]
      if rest.hasPrefix("$${") {
        result += "${"
        rest = rest.dropFirst(3)
      } else if rest.hasPrefix("${") {
        guard let end = rest.firstIndex(of: "}") else {
          reader.report(
            location, "a ${ without } after it; write $${ for the characters themselves")
          return nil
        }
        let reference = rest[rest.index(rest.startIndex, offsetBy: 2)..<end]
        guard let value = value(of: reference, location, &reader) else { return nil }
        result += value
        rest = rest[rest.index(after: end)...]
      } else {
        result += "$"
        rest = rest.dropFirst()
      }
    }
    return result + rest
  }

  private mutating func value(
    of reference: Substring, _ location: SourceLocation, _ reader: inout Reader
  ) -> String? {
    let parts = reference.split(separator: ":-", maxSplits: 1, omittingEmptySubsequences: false)
    let name = String(parts.first ?? "")
    guard isName(name) else {
      reader.report(
        location,
        "\(quoted("${\(reference)}")) is no environment variable: write ${NAME} or ${NAME:-default}"
      )
      return nil
    }
    // As in a shell, `:-` also replaces a variable that is empty.
    let fallback = parts.count > 1 ? String(parts[1]) : nil
    let found = lookup(name).flatMap { fallback != nil && $0.isEmpty ? nil : $0 }
    guard let value = found ?? fallback else {
      reader.report(
        location,
        "the environment variable \(name) is not set; set it, or write ${\(name):-default}")
      return nil
    }
    bytes += value.utf8.count
    if bytes > Self.bytesMax {
      reader.report(location, "the environment variables of this configuration exceed 1 MiB")
      return nil
    }
    return value
  }

  private func isName(_ name: String) -> Bool {
    guard let first = name.utf8.first, !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first)
    else { return false }
    return name.utf8.allSatisfy { byte in
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
        true
      default: false
      }
    }
  }
}
