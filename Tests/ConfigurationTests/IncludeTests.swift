import Configuration
import Testing

@testable import Configuration

@Suite struct IncludeTests {
  static let base = """
    listeners: [{bind: "127.0.0.1:1"}]
    upstreams: {base: {endpoints: ["127.0.0.1:2"]}}
    routes: [{path: /base, upstream: base}]

    """

  func paths(_ world: World) -> [PathPattern]? {
    guard case .success(let snapshot) = world.load() else { return nil }
    return snapshot.routes.map(\.path)
  }

  func messages(_ world: World) -> [String] {
    guard case .failure(let diagnostics, _) = world.load() else { return [] }
    return diagnostics.map(\.description)
  }

  func route(_ path: String) -> String { "routes: [{path: \(path), upstream: base}]\n" }

  @Test("a pattern takes the files it matches by name, and no hidden ones")
  func pattern() {
    let world = World([
      "main.yaml": Self.base + "include: [conf.d/*.yaml, \"last.yaml\"]\n",
      "conf.d/b.yaml": route("/b"), "conf.d/a.yaml": route("/a"), "conf.d/c.yaml": route("/c"),
      "conf.d/.hidden.yaml": route("/hidden"), "conf.d/d.yml": route("/d"),
      "other/e.yaml": route("/e"), "last.yaml": route("/last"),
    ])
    #expect(
      paths(world) == ["/base", "/a", "/b", "/c", "/last"].map { .prefix($0) },
      "\(messages(world))")
  }

  @Test("a pattern that matches nothing is fine, a name that is not there is a mistake")
  func nothing() {
    #expect(paths(World(["main.yaml": Self.base + "include: [\"x*.yaml\", none/*.yaml]\n"])) != nil)
    #expect(
      messages(World(["main.yaml": Self.base + "include: [none.yaml]\n"])) == [
        "main.yaml:4:11: error: \"none.yaml\": there is no such file"
      ])
  }

  @Test("included files include others, relative to themselves")
  func nested() {
    let world = World([
      "main.yaml": Self.base + "include: [a/one.yaml]\n",
      "a/one.yaml": route("/one") + "include: [b/two.yaml, ../three.yaml]\n",
      "a/b/two.yaml": route("/two"), "a/../three.yaml": route("/three"),
    ])
    #expect(paths(world) == ["/base", "/one", "/two", "/three"].map { .prefix($0) })
  }

  @Test("everything may stand in included files; their sections are joined key by key")
  func joined() {
    let world = World([
      "main.yaml": "include: [a.yaml, b.yaml]\nlimits: {handshakes: 2}\nlog:\n",
      "a.yaml": Self.base + "limits: {connections: 77}\nlog: {level: debug}\n",
      "b.yaml": "# nothing\n",
    ])
    guard case .success(let snapshot) = world.load() else {
      Issue.record("\(messages(world))")
      return
    }
    #expect(snapshot.limits.handshakes == 2 && snapshot.limits.connections == 77)
    #expect(snapshot.log.level == .debug)
  }

  @Test("a cycle is a mistake, with both places, and ends")
  func cycle() {
    let world = World([
      "main.yaml": Self.base + "include: [a.yaml]\n", "a.yaml": "include: [./main.yaml]\n",
    ])
    #expect(
      messages(world) == [
        "a.yaml:1:11: error: \"main.yaml\" is included already, by the command line"
      ])
  }

  @Test("includes deeper than the limit are refused")
  func depth() {
    var files = ["main.yaml": Self.base + "include: [f1.yaml]\n"]
    for index in 1...20 { files["f\(index).yaml"] = "include: [f\(index + 1).yaml]\n" }
    let found = messages(World(files))
    #expect(found.count == 1)
    #expect(found.first?.contains("too many includes") == true)
  }

  @Test("a broken included file is one mistake, not a trail of what it would have held")
  func broken() {
    let world = World([
      "main.yaml": "include: [a.yaml]\nroutes: [{upstream: base}, {upstream: base, path: b}]\n",
      "a.yaml": "listeners: [\n",
    ])
    #expect(
      messages(world).map { $0.split(separator: " ").first } == ["a.yaml:2:1:", "main.yaml:2:51:"])
  }

  @Test("a file over the limit, one that cannot be read and one that is no file say so")
  func unreadable() {
    var world = World(["main.yaml": ""])
    world.files["main.yaml"] = [UInt8](repeating: 0x20, count: Loader.fileBytesMax + 1)
    #expect(messages(world) == ["main.yaml: error: \"main.yaml\": \(FileProblem.tooLarge)"])
    #expect(messages(World()) == ["main.yaml: error: there is no such file"])
    let result = Loader.load(
      file: "dir/x", environment: { _ in nil }, readFile: { _ in .failure(.permissionDenied) },
      listFiles: { _ in .failure(.notFound) })
    guard case .failure(let diagnostics, _) = result else {
      Issue.record("loaded")
      return
    }
    #expect(
      diagnostics.map(\.description) == [
        "dir/x: error: this process has no permission to read it"
      ])
  }

  @Test(
    "patterns match as in a shell",
    arguments: [
      ("a.yaml", "*.yaml", true), ("a.yaml", "*", true), (".a", "*", false), (".a", ".*", true),
      ("", "*", true), ("abc", "a?c", true), ("ac", "a?c", false), ("abbbc", "a*b*c", true),
      ("abcd", "a*c", false), ("é.yaml", "?.yaml", true), ("x", "", false), ("", "", true),
      ("aab", "*ab", true), ("ab", "ab*", true), ("ab", "**b**", true),
    ])
  func glob(name: String, pattern: String, result: Bool) {
    #expect(FilePath.matches(name, pattern: pattern) == result)
  }

  @Test("a pattern of many stars takes no exponential time")
  func stars() {
    let name = String(repeating: "a", count: 2000)
    #expect(!FilePath.matches(name, pattern: String(repeating: "*a", count: 200) + "b"))
  }
}
