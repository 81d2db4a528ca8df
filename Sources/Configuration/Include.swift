// One tree out of a file and the files it includes. Reading is done by the caller's closures; what
// the sections mean is none of this file's business, only how two of them become one.

extension ConfigValue<String> {
  /// A path whose last component may hold `*` and `?`.
  static let includePattern = ConfigValue<String>.line(
    "the path of a file, or a pattern such as \"conf.d/*.yaml\"", form: "FILE or PATTERN")
}

/// Collects the trees of all files of a configuration, in the order they are included.
struct Includes {
  static var depthMax: Int { 8 }
  static var filesMax: Int { 1000 }

  let readFile: (String) -> Result<[UInt8], FileProblem>
  let listFiles: (String) -> Result<[String], FileProblem>
  var environment: Environment
  private(set) var roots: [Node] = []
  /// Every file read so far, and by what it was asked for.
  private var origins: [String: SourceLocation] = [:]

  init(
    readFile: @escaping (String) -> Result<[UInt8], FileProblem>,
    listFiles: @escaping (String) -> Result<[String], FileProblem>, environment: Environment
  ) {
    self.readFile = readFile
    self.listFiles = listFiles
    self.environment = environment
  }

  /// Reads `file` and what it includes. `location` is where it is asked for.
  mutating func load(
    _ file: String, askedFor location: SourceLocation, depth: Int = 0, _ reader: inout Reader
  ) {
    if let first = origins[file] {
      let place = first.line > 0 ? "at \(first.file):\(first.line)" : "by the command line"
      reader.report(location, "\(quoted(file)) is included already, \(place)")
      return
    }
    guard depth <= Self.depthMax, origins.count < Self.filesMax else {
      reader.report(
        location, "too many includes: at most \(Self.filesMax) files, \(Self.depthMax) deep")
      return
    }
    origins[file] = location
    guard let tree = tree(file, location, &reader) else { return }
    var root = environment.expand(tree, &reader)
    guard case .mapping(let entries) = root.content else {
      reader.report(
        root.location,
        "a configuration is YAML, a mapping of sections such as \"listeners:\", found \(root.kind);"
          + " \"bascule reference\" prints one with every key")
      reader.isIncomplete = true
      return
    }
    let include = root["include"]
    root.content = .mapping(entries.filter { $0.key != "include" })
    roots.append(root)
    if let include { follow(include, depth: depth + 1, &reader) }
  }

  /// nil: nothing is written in the file, or a mistake was reported.
  private func tree(
    _ file: String, _ location: SourceLocation, _ reader: inout Reader
  ) -> Node? {
    let count = reader.diagnostics.count
    if let bytes = read(file, location, &reader),
      let node = NodeBuilder.root(of: bytes, file: file, reader: &reader), !node.isNull
    {
      return node
    }
    reader.isIncomplete = reader.isIncomplete || reader.diagnostics.count > count
    return nil
  }

  private func read(
    _ file: String, _ location: SourceLocation, _ reader: inout Reader
  ) -> [UInt8]? {
    switch readFile(file) {
    case .failure(let problem):
      let name = location.line > 0 ? "\(quoted(file)): " : ""
      reader.report(location, "\(name)\(problem)")
      return nil
    case .success(let bytes):
      if bytes.count <= Loader.fileBytesMax { return bytes }
      reader.report(location, "\(quoted(file)): \(FileProblem.tooLarge)")
      return nil
    }
  }

  private mutating func follow(_ include: Node, depth: Int, _ reader: inout Reader) {
    let patterns = ConfigValue<[IncludePattern]>.list(of: .include)
    for pattern in patterns.read(include, nil, &reader) ?? [] {
      let location = pattern.location
      let path = FilePath.resolve(pattern.text, from: location.file)
      for file in files(path, location, &reader) {
        load(file, askedFor: location, depth: depth, &reader)
      }
    }
  }

  /// A pattern stands for the files it matches, in the order of their names; there may be none.
  private func files(
    _ path: String, _ location: SourceLocation, _ reader: inout Reader
  ) -> [String] {
    let (directory, name) = FilePath.split(path)
    if directory.contains(where: { $0 == "*" || $0 == "?" }) {
      reader.report(location, "* and ? can only stand in the file name, not in a directory")
      return []
    }
    guard name.contains(where: { $0 == "*" || $0 == "?" }) else { return [path] }
    switch listFiles(directory) {
    case .failure(.notFound): return []
    case .failure(let problem):
      reader.report(location, "\(quoted(directory)): \(problem)")
      return []
    case .success(let names):
      let matching = names.filter { FilePath.matches($0, pattern: name) }.sorted()
      return matching.map { FilePath.resolve($0, from: path) }
    }
  }
}

/// An entry of `include` and its place.
private struct IncludePattern: Sendable {
  var text: String
  var location: SourceLocation
}

extension ConfigValue<IncludePattern> {
  fileprivate static var include: Self {
    let pattern = ConfigValue<String>.includePattern
    return ConfigValue(syntax: pattern.syntax, form: pattern.form, schema: pattern.schema) {
      node, _, reader in
      pattern.read(node, nil, &reader).map { IncludePattern(text: $0, location: node.location) }
    } show: {
      pattern.show($0.text)
    }
  }
}

extension Node {
  /// The mappings of several files as one: lists are appended, mappings take each other's keys, and
  /// nothing may be given twice.
  static func merged(_ roots: [Node], _ reader: inout Reader) -> Node? {
    guard var result = roots.first else { return nil }
    for root in roots.dropFirst() { result.merge(root, levels: 2, &reader) }
    return result
  }

  /// `levels`: how far down mappings are joined; below, a second one is a mistake.
  private mutating func merge(_ other: Node, levels: Int, _ reader: inout Reader) {
    switch (content, other.content) {
    case (.sequence(let first), .sequence(let second)) where levels > 0:
      content = .sequence(first + second)
    case (.mapping(var entries), .mapping(let more)) where levels > 0:
      var indexes: [String: Int] = [:]
      for (index, entry) in entries.enumerated() { indexes[entry.key] = index }
      for entry in more {
        guard let index = indexes[entry.key] else {
          entries.append(entry)
          continue
        }
        let first = entries[index].keyLocation
        guard entries[index].value.canMerge(entry.value, levels: levels - 1) else {
          reader.report(
            entry.keyLocation,
            "\(quoted(entry.key)) is given already, at \(first.file):\(first.line)")
          continue
        }
        entries[index].value.merge(entry.value, levels: levels - 1, &reader)
      }
      content = .mapping(entries)
    default:
      // One of the two is an empty section.
      if isNull { self = other }
    }
  }

  private func canMerge(_ other: Node, levels: Int) -> Bool {
    guard levels > 0 else { return false }
    switch (content, other.content) {
    case (.sequence, .sequence), (.mapping, .mapping): return true
    default: return isNull || other.isNull
    }
  }
}
