// YAML events to a tree of nodes, within limits: a file that is hostile or generated wrongly costs
// bounded time and memory. Aliases are expanded here, so nothing above knows them.

/// Builds the tree of one file. Mistakes that leave the structure readable are collected; the first
/// that does not ends the file.
struct NodeBuilder: ~Copyable {
  static var depthMax: Int { 32 }
  static var aliasesMax: Int { 100 }
  /// Values of one file after the expansion of aliases.
  static var nodesMax: Int { 250_000 }

  private let file: String
  private var events: YAMLEvents
  private var anchors: [String: Node] = [:]
  private var aliases = 0
  private var nodes = 0
  private var diagnostics: [Diagnostic] = []

  /// The root of `bytes`, nil when it is empty or broken; every mistake goes to `reader`.
  static func root(of bytes: [UInt8], file: String, reader: inout Reader) -> Node? {
    if let place = firstInvalidUTF8(bytes) {
      let location = SourceLocation(file: file, line: place.line, column: place.column)
      reader.report(location, "this is not UTF-8 text; save the file as UTF-8")
      return nil
    }
    // What some editors put first says nothing that is not known.
    let text = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? Array(bytes.dropFirst(3)) : bytes
    guard let events = YAMLEvents(text) else {
      reader.report(SourceLocation(file: file), "not enough memory to read this file")
      return nil
    }
    var builder = NodeBuilder(file: file, events: events)
    var root: Node?
    do throws(YAMLProblem) {
      root = try builder.document()
    } catch {
      builder.diagnostics.append(YAMLMessage.diagnostic(error, in: text, file: file))
    }
    builder.diagnostics.forEach { reader.report($0) }
    return root
  }

  private init(file: String, events: consuming YAMLEvents) {
    self.file = file
    self.events = events
  }

  private mutating func document() throws(YAMLProblem) -> Node? {
    var root: Node?
    while true {
      let item = try events.next()
      switch item.event {
      case .streamEnd: return root
      case .streamStart, .documentEnd: continue
      case .documentStart:
        if root != nil {
          throw problem(item, "a second document starts here; a configuration is one document")
        }
        let tree = try node(try events.next(), depth: 1)
        // The file of another program is one long text up to somewhere, and what ends it says nothing.
        guard tree.isNull || tree.isMapping else { return tree }
        root = tree
      default: throw problem(item, "not valid YAML: unexpected structure")
      }
    }
  }

  private mutating func node(_ item: YAMLItem, depth: Int) throws(YAMLProblem) -> Node {
    nodes += 1
    if nodes > Self.nodesMax { throw problem(item, "too many values in this file") }
    if depth > Self.depthMax {
      throw problem(item, "nested deeper than \(Self.depthMax) levels")
    }
    if let tag = item.tag, !tag.isEmpty, tag != "!" {
      diagnostics.append(
        Diagnostic(location(item), "YAML tags (!…) have no meaning here: remove it"))
    }
    var node = Node(content: .sequence([]), location: location(item))
    switch item.event {
    case .scalar(let text, let plain): node.content = .scalar(text, plain: plain)
    case .sequenceStart: node.content = try sequence(depth: depth)
    case .mappingStart: node.content = try mapping(depth: depth)
    case .alias(let name): return try alias(name, item, depth: depth)
    default: throw problem(item, "not valid YAML: unexpected structure")
    }
    if let anchor = item.anchor { anchors[anchor] = node }
    return node
  }

  private mutating func sequence(depth: Int) throws(YAMLProblem) -> Node.Content {
    var elements: [Node] = []
    while true {
      let item = try events.next()
      if case .sequenceEnd = item.event { return .sequence(elements) }
      elements.append(try node(item, depth: depth + 1))
    }
  }

  private mutating func mapping(depth: Int) throws(YAMLProblem) -> Node.Content {
    var entries: [Node.Entry] = []
    var lines: [String: Int] = [:]
    while true {
      let item = try events.next()
      if case .mappingEnd = item.event { return .mapping(entries) }
      let key = try node(item, depth: depth + 1)
      let value = try node(try events.next(), depth: depth + 1)
      guard case .scalar(let name, _) = key.content else {
        diagnostics.append(Diagnostic(key.location, "a key must be a word, found \(key.kind)"))
        continue
      }
      if let first = lines[name] {
        let message = "the key \(quoted(name)) is given twice; the first is on line \(first)"
        diagnostics.append(Diagnostic(key.location, message))
        continue
      }
      lines[name] = key.location.line
      entries.append(Node.Entry(key: name, keyLocation: key.location, value: value))
    }
  }

  /// A copy of the anchored node. It counts in full, however often it is repeated.
  private mutating func alias(
    _ name: String, _ item: YAMLItem, depth: Int
  ) throws(YAMLProblem) -> Node {
    aliases += 1
    if aliases > Self.aliasesMax {
      throw problem(item, "more than \(Self.aliasesMax) aliases (*name) in this file")
    }
    guard let node = anchors[name] else {
      throw problem(
        item,
        "the alias *\(name) names nothing above; a value that begins with * must be quoted")
    }
    let size = measure(node)
    nodes += size.count
    if nodes > Self.nodesMax { throw problem(item, "the aliases expand to too many values") }
    if depth + size.height - 1 > Self.depthMax {
      throw problem(item, "nested deeper than \(Self.depthMax) levels")
    }
    return node
  }

  /// Values in a tree, and how deep they are nested.
  private func measure(_ node: Node) -> (count: Int, height: Int) {
    var count = 1
    var height = 0
    let children: [Node]
    switch node.content {
    case .scalar, .broken: children = []
    case .sequence(let elements): children = elements
    case .mapping(let entries): children = entries.map(\.value)
    }
    for child in children {
      let size = measure(child)
      count += size.count
      height = max(height, size.height)
    }
    return (count, height + 1)
  }

  private func location(_ item: YAMLItem) -> SourceLocation {
    SourceLocation(file: file, line: item.line, column: item.column)
  }

  private func problem(_ item: YAMLItem, _ message: String) -> YAMLProblem {
    YAMLProblem(message: message, line: item.line, column: item.column)
  }
}

/// Line and column of the first byte that is no UTF-8, from 1.
private func firstInvalidUTF8(_ bytes: [UInt8]) -> (line: Int, column: Int)? {
  var decoder = UTF8()
  var input = bytes.makeIterator()
  var line = 1
  var column = 1
  while true {
    switch decoder.decode(&input) {
    case .emptyInput: return nil
    case .error: return (line, column)
    case .scalarValue("\n"): (line, column) = (line + 1, 1)
    case .scalarValue: column += 1
    }
  }
}
