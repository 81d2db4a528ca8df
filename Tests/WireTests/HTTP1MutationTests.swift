// Random damage to valid and invalid messages. The vectors hold what somebody thought of; this is for
// the rest: whatever the bytes are, all feedings must agree, and nothing may trap.

import Support
import Testing
import Wire

@Suite("HTTP/1 bytes damaged at random")
struct HTTP1MutationTests {
  /// Bytes that matter to the grammar, so that damage reaches further than the first check.
  private static let spice =
    Array("\r\n\r\n \t:,;./%?#*0123456789abcdefABCDEF\0\u{7f}".utf8) + [0xff]

  private static func damage(_ bytes: [UInt8], _ random: inout SeededRandom) -> [UInt8] {
    var bytes = bytes
    for _ in 0..<Int.random(in: 1...3, using: &random) {
      let index = Int.random(in: 0...bytes.count, using: &random)
      let byte = random.chance(80) ? spice.randomElement(using: &random)! : random.bytes(1)[0]
      switch Int.random(in: 0..<4, using: &random) {
      case 0: bytes.insert(byte, at: index)
      case 1 where index < bytes.count: bytes[index] = byte
      case 2 where index < bytes.count: bytes.remove(at: index)
      default:
        let end = Int.random(in: index...bytes.count, using: &random)
        bytes.insert(contentsOf: bytes[index..<min(end, index + 12)], at: index)
      }
    }
    return bytes
  }

  private static func run(
    _ seed: UInt64, _ files: [String], decode: ([ArraySlice<UInt8>]) -> String
  ) -> (cases: Int, verdicts: Set<Substring>) {
    var random = SeededRandom(seed: seed)
    let seeds = files.flatMap(Vector.load).map(\.bytes)
    var verdicts: Set<Substring> = []
    var cases = 0
    let clock = ContinuousClock()
    let end = clock.now + .milliseconds(600)
    while clock.now < end {
      let input = damage(seeds.randomElement(using: &random)!, &random)
      let (verdict, disagreement) = DecoderVerifier.verify(input, decode: decode)
      if let disagreement {
        Issue.record("seed \(seed), case \(cases), \(input): \(disagreement)")
        break
      }
      verdicts.insert(verdict.hasPrefix("ok") ? "ok" : verdict[...])
      cases += 1
    }
    return (cases, verdicts)
  }

  @Test("requests come to one verdict however they arrive")
  func requests() {
    let (cases, verdicts) = Self.run(1, HTTP1RequestTests.files) { requestVerdict($0) }
    #expect(cases > 20)
    #expect(verdicts.isSuperset(of: ["ok", "400 bare-line-end"]))
  }

  @Test("responses come to one verdict however they arrive")
  func responses() {
    let (cases, verdicts) = Self.run(2, ["response.txt"]) { responseVerdict($0) }
    #expect(cases > 20)
    #expect(verdicts.isSuperset(of: ["ok", "400 bare-line-end"]))
  }

  @Test("chunked bodies come to one verdict however they arrive")
  func chunks() {
    let (cases, verdicts) = Self.run(3, ["chunked.txt"]) { bodyVerdict(.chunked, $0) }
    #expect(cases > 20)
    #expect(verdicts.isSuperset(of: ["more", "400 malformed-chunk-size"]))
  }

  @Test("a request that is taken can be written again and is read as the same")
  func rewritten() {
    var random = SeededRandom(seed: 4)
    let seeds = HTTP1RequestTests.files.flatMap(Vector.load).map(\.bytes)
    var taken = 0
    for _ in 0..<6000 {
      let input = Self.damage(seeds.randomElement(using: &random)!, &random)
      guard let head = Self.parse(input) else { continue }
      taken += 1
      guard let written = Self.write(head), let again = Self.parse(written) else {
        Issue.record("cannot be written: \(input)")
        return
      }
      #expect(again.bytes == written)
      #expect(Self.facts(again) == Self.facts(head))
    }
    #expect(taken > 200)
  }

  private static func parse(_ bytes: [UInt8]) -> RequestHead? {
    var parser = RequestParser(limits: requestLimits)
    guard case .done(let head, _) = try? parser.parse(bytes.span) else { return nil }
    return head
  }

  private static func write(_ head: RequestHead) -> [UInt8]? {
    var writer = HeadWriter()
    let path = Array(head.bytes[head.path])
    let query = head.query.map { Array(head.bytes[$0]) } ?? []
    let method = Array((path == [UInt8(ascii: "*")] ? "OPTIONS" : "GET").utf8)
    let isWritten =
      head.query == nil
      ? writer.requestLine(method.span, path: path.span, query: nil)
      : writer.requestLine(method.span, path: path.span, query: query.span)
    guard isWritten else { return nil }
    // What HTTP/1.0 may leave out, HTTP/1.1 must have.
    if head.count(of: .host) == 0 { writer.field("Host", head.host?.description ?? "none") }
    for field in head.fields {
      let name = Array(head.bytes[field.name])
      let value = Array(head.bytes[field.value])
      guard writer.field(name.span, value.span) else { return nil }
    }
    writer.end()
    return writer.bytes
  }

  /// Path, query, framing, and the fields without Host, which `write` may have added.
  private static func facts(_ head: RequestHead) -> [String] {
    [
      head.string(head.path), head.query.map(head.string) ?? "-", head.bodyFraming.verdict,
      head.host.map { "\($0)" } ?? "none",
    ]
      + head.fields.filter { $0.known != .host }.map {
        "\(head.bytes[$0.name]): \(head.bytes[$0.value]) \($0.known)"
      }
  }
}
