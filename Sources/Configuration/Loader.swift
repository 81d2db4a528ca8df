// The way from a file's name to a snapshot: read, expand, include, merge, read the sections. Does
// no I/O of its own, so that a test or a check can say what the world looks like.

/// Why a file cannot be read, in words that follow its name.
public enum FileProblem: Error, Sendable, Equatable, CustomStringConvertible {
  case notFound
  case permissionDenied
  case isDirectory
  case tooLarge
  /// The system's own words.
  case other(String)

  public var description: String {
    switch self {
    case .notFound: "there is no such file"
    case .permissionDenied: "this process has no permission to read it"
    case .isDirectory: "this is a directory"
    case .tooLarge: "larger than 1 MiB, which no configuration is"
    case .other(let text): "cannot be read: \(text)"
    }
  }
}

public enum ConfigurationResult: Sendable {
  case success(Snapshot)
  /// Every mistake, by file, line and column; and what could be read nevertheless, only to look for
  /// mistakes of other kinds in it: what was wrong is left out, has its default or is empty.
  case failure([Diagnostic], readable: Snapshot?)
}

public enum Loader {
  /// A larger file is refused; `readFile` need not read further than one byte more.
  public static var fileBytesMax: Int { 1_048_576 }

  /// Loads `file` and what it includes. `listFiles` gives the names in a directory (`.` is the
  /// working directory). Paths reach the closures as they are written, relative ones with the
  /// directory of the including file before them.
  public static func load(
    file: String, environment: @escaping (String) -> String?,
    readFile: @escaping (String) -> Result<[UInt8], FileProblem>,
    listFiles: @escaping (String) -> Result<[String], FileProblem>
  ) -> ConfigurationResult {
    var reader = Reader()
    let root = root(
      file: file, environment: environment, readFile: readFile, listFiles: listFiles, &reader)
    if let root, reader.diagnostics.isEmpty { return .success(Snapshot(root, reader)) }
    return .failure(Set(reader.diagnostics).sorted(), readable: root.map { Snapshot($0, reader) })
  }

  static func root(
    file: String, environment: @escaping (String) -> String?,
    readFile: @escaping (String) -> Result<[UInt8], FileProblem>,
    listFiles: @escaping (String) -> Result<[String], FileProblem>, _ reader: inout Reader
  ) -> RootSettings? {
    var includes = Includes(
      readFile: readFile, listFiles: listFiles, environment: Environment(environment))
    includes.load(file, askedFor: SourceLocation(file: file), &reader)
    let isReadable = reader.diagnostics.isEmpty
    guard let node = Node.merged(includes.roots, &reader) else {
      if isReadable {
        reader.report(
          SourceLocation(file: file),
          "this file is empty: a configuration needs listeners, upstreams and routes")
      }
      return nil
    }
    return ConfigValue<RootSettings>.section().read(node, nil, &reader)
  }
}

extension Snapshot {
  convenience init(_ root: RootSettings, _ reader: Reader) {
    var upstreams = root.upstreams
    var routes = root.routes
    for index in routes.indices {
      routes[index].addService(to: &upstreams, behind: root.upstreams.count)
    }
    self.init(
      workers: root.workers, trustedProxies: root.trustedProxies.map(\.block),
      listeners: root.listeners, upstreams: upstreams, routes: routes, log: root.log,
      limits: root.limits, timeouts: root.timeouts, watchesFiles: root.watch, admin: root.admin,
      text: Reference.dump(root, showsSecrets: false), user: root.user, coreDumps: root.coreDumps,
      warnings: Set(reader.warnings).sorted())
  }
}
