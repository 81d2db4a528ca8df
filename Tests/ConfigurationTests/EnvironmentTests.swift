import Configuration
import Testing

@testable import Configuration

@Suite struct EnvironmentTests {
  func expanded(_ text: String, _ environment: [String: String] = [:]) -> String? {
    var reader = Reader()
    var variables = Environment { environment[$0] }
    let node = Node(content: .scalar(text, plain: true), location: SourceLocation())
    guard case .scalar(let result, _) = variables.expand(node, &reader).content else { return nil }
    return reader.diagnostics.isEmpty ? result : nil
  }

  @Test(
    "references are replaced, everything else stays",
    arguments: [
      ("", ""), ("plain", "plain"), ("$A", "$A"), ("$", "$"), ("$$", "$$"), ("a$", "a$"),
      ("${A}", "1"), ("x${A}y${B_2}z", "x1y22z"), ("${NO:-}", ""), ("${NO:-a:-b}", "a:-b"),
      ("${A:-x}", "1"), ("${EMPTY:-x}", "x"), ("${EMPTY}", ""), ("$${A}", "${A}"),
      ("$$${A}", "$${A}"), ("${NO:-$x}", "$x"), ("{A}", "{A}"), ("${A}}", "1}"),
      ("${NO:-é}", "é"), ("${NESTED}", "${A}"),
    ])
  func replaced(text: String, result: String) {
    let environment = ["A": "1", "B_2": "22", "EMPTY": "", "NESTED": "${A}"]
    #expect(expanded(text, environment) == result)
  }

  @Test(
    "what is no reference, or has no value, is a mistake",
    arguments: ["${NO}", "${", "${}", "${1A}", "${A-B}", "${A B}", "${é}", "a${A", "${:-x}"])
  func mistaken(text: String) { #expect(expanded(text, ["A": "1"]) == nil) }

  @Test("a value is never read as YAML, and never as a reference")
  func inert() {
    let text = SnapshotTests.config(route: "headers: {request: {set: {X-A: \"${A}\"}}}")
    let snapshot = settings(text, environment: ["A": "], routes: [*x ${B} # \"'"])
    #expect(
      snapshot?.routes.first?.headers.request.set.first?.value == "], routes: [*x ${B} # \"'")
  }

  @Test("a variable that is empty stands for nothing unless it is in quotes")
  func empty() {
    let text = SnapshotTests.config(top: "workers: ${A:-}")
    #expect(mistakes(text).map { $0.contains("found nothing") } == [true])
    #expect(settings(SnapshotTests.config(top: "workers: ${A:-}3"))?.workers == 3)
  }

  @Test("many references to a long variable are refused instead of built")
  func bounded() {
    let text = String(repeating: "${A}", count: 2000)
    #expect(expanded(text, ["A": String(repeating: "x", count: 100)]) != nil)
    #expect(expanded(text, ["A": String(repeating: "x", count: 1000)]) == nil)
  }

  @Test("an error names the line of the reference in its file")
  func location() {
    let text = SnapshotTests.config(top: "log:\n  level: ${LEVEL}")
    let line = text.split(separator: "\n", omittingEmptySubsequences: false).count
    #expect(
      mistakes(text) == [
        "\(line):10: the environment variable LEVEL is not set; set it, or write ${LEVEL:-default}"
      ])
  }
}
