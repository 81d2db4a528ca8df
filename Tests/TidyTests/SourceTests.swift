// The reader that the other checks stand on.

import Testing

@Suite("The reader of Swift source")
struct SourceTests {
  @Test("comments and texts are taken out, interpolations and line numbers stay")
  func code() {
    let text = """
      let a = "unsafe { \\(b + "}") }" // unsafe
      /* unsafe /* { */ } */ let c = #"\\ " \\#(d)"#
      let e = \"""
        unsafe {
        \"""
      f()
      """
    #expect(
      Source.code(text) == [
        "let a = \"(b + \"\"\" ", " let c = \"(d\"", "let e = \"", "", "\"", "f()",
      ])
  }

  @Test("functions are found with their lengths, calls and requirements are none")
  func functions() {
    let code = """
      protocol P {
        func required(
          a: Int) -> Int
        init(b: Int)
      }
      init() { self.init(a: { 1 }) }
      func long(
        body: () -> Void = {}
      ) {
        if true {
        }
      }
      deinit { free() }
      let x = Thing.init(y) { z }
      """
    let found = Source.functions(Source.code(code))
    #expect(found.map(\.line) == [6, 7, 13])
    #expect(found.map(\.count) == [1, 6, 1])
  }

  @Test("a word is a whole word")
  func words() {
    #expect(Source.contains("return unsafe x", word: "unsafe"))
    #expect(!Source.contains("isUnsafe(unsafely)", word: "unsafe"))
  }
}
