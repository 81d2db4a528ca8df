import Bytes
import Testing
import Wire

@Suite("HTTP/1 violations and field names")
struct HTTP1ViolationTests {
  @Test("every violation has a word of its own and an error status")
  func words() {
    let words = HTTPViolation.allCases.map { "\($0.word)" }
    #expect(Set(words).count == words.count)
    for violation in HTTPViolation.allCases {
      #expect([400, 405, 414, 431, 501, 505].contains(violation.status))
    }
  }

  @Test("every violation is the verdict of a vector, apart from the limits, which are tested alone")
  func coverage() {
    let files = HTTP1RequestTests.files + ["response.txt", "chunked.txt"]
    let verdicts = Set(files.flatMap(Vector.load).map(\.verdict))
    let limits: [HTTPViolation] = [
      .requestLineTooLong, .lineTooLong, .headTooLarge, .tooManyFields, .trailersTooLarge,
    ]
    for violation in HTTPViolation.allCases where !limits.contains(violation) {
      #expect(verdicts.contains(violation.verdict))
    }
  }

  @Test("every known field is found by its name in any case", arguments: KnownField.allCases)
  func names(_ field: KnownField) {
    let name = "\(field.name)"
    func find(_ text: String) -> KnownField { KnownField(name: Array(text.utf8).span) }
    #expect(find(name) == field)
    #expect(find(name.uppercased()) == field)
    #expect(find(name + "x") == .other)
    #expect(find("q" + name.dropFirst()) == .other)
    if name.contains("-") { #expect(find(name.replacing("-", with: "_")) == .other) }
  }

  @Test("parsers and body followers are small, for every connection holds them")
  func sizes() {
    #expect(MemoryLayout<RequestParser>.size <= 56)
    #expect(MemoryLayout<ResponseParser>.size <= 56)
    #expect(MemoryLayout<BodyFraming>.size <= 56)
  }
}
