import Bytes
import Testing

@Suite("Masking")
struct MaskTests {
  static let key: UInt32 = 0x37FA_213D
  static let keyOctets: [UInt8] = [0x37, 0xFA, 0x21, 0x3D]

  static func expected(_ bytes: [UInt8], phase: Int) -> [UInt8] {
    bytes.enumerated().map { $1 ^ keyOctets[(phase + $0) % 4] }
  }

  @Test("masks the example of RFC 6455, section 5.7")
  func example() {
    var out: [UInt8] = []
    let hello = Array("Hello".utf8)
    Mask.append(hello.span, key: Self.key, to: &out)
    #expect(out == [0x7F, 0x9F, 0x4D, 0x51, 0x58])
  }

  @Test("agrees with octet by octet for every length, alignment and phase")
  func everyShape() {
    let source = (0..<64).map { UInt8($0 &* 37 & 255) }
    for start in 0..<9 {
      for end in start...source.count {
        for phase in 0..<5 {
          var bytes = source
          bytes.withUnsafeMutableBufferPointer { all in
            var part = UnsafeMutableBufferPointer(rebasing: all[start..<end]).mutableSpan
            Mask.apply(Self.key, phase: phase, to: &part)
          }
          let masked = Self.expected(Array(source[start..<end]), phase: phase)
          #expect(bytes == source[..<start] + masked + source[end...])
        }
      }
    }
  }

  @Test("is its own inverse over any pieces")
  func pieces() {
    let source = (0..<100).map { UInt8($0) }
    for cut in 0...100 {
      var masked = [0xEE] as [UInt8]
      let (head, tail) = (Array(source[..<cut]), Array(source[cut...]))
      Mask.append(head.span, key: Self.key, to: &masked)
      Mask.append(tail.span, key: Self.key, phase: cut, to: &masked)
      #expect(masked == [0xEE] + Self.expected(source, phase: 0))
      var back: [UInt8] = []
      masked.removeFirst()
      Mask.append(masked.span, key: Self.key, to: &back)
      #expect(back == source)
    }
  }

  @Test("appends to a shared buffer behind what it holds, and makes it grow")
  func sharedBuffer() {
    let buffer = SharedBuffer(capacity: 64)
    buffer.append(1)
    let source = (0..<300).map { UInt8($0 & 255) }
    Mask.append(source.span, key: Self.key, phase: 3, to: buffer)
    let content = buffer.withSpan { span in span.indices.map { span[$0] } }
    #expect(content == [1] + Self.expected(source, phase: 3))
  }

  @Test("leaves nothing where there is nothing")
  func empty() {
    var out: [UInt8] = []
    let nothing: [UInt8] = []
    Mask.append(nothing.span, key: Self.key, to: &out)
    let buffer = SharedBuffer(capacity: 64)
    Mask.append(nothing.span, key: Self.key, to: buffer)
    #expect(out.isEmpty)
    #expect(buffer.isEmpty)
  }
}
