// Lines on their way from the ring to a file, in the chunks that the writer takes.

import Bytes
import Glibc
import Kernel
import Telemetry
import Testing

@testable import Gateway

@Suite("The output of a log")
struct LogOutputTests {
  private func temporary() throws -> (path: String, file: Descriptor) {
    let path = "/tmp/bascule-output-\(getpid())-\(UInt32.random(in: 0 ... .max))"
    return (path, try Files.openLog(path))
  }

  private func lines(_ path: String) throws -> [Substring] {
    String(decoding: try Files.read(path, maxBytes: 1 << 20), as: UTF8.self)
      .split(separator: "\n", omittingEmptySubsequences: false)
  }

  @Test("a line that a chunk cuts is whole in the file it begins in, and no line is in two")
  func wholeLines() throws {
    let ring = LogRing()
    let line = Array(repeating: UInt8(ascii: "a"), count: 999) + [UInt8(ascii: "\n")]
    for _ in 0..<100 { _ = ring.append(line.span) }
    let (first, second) = (try temporary(), try temporary())
    defer {
      unlink(first.path)
      unlink(second.path)
    }
    var output = LogOutput()
    output.turn(to: first.file)
    _ = output.write(from: ring)
    output.turn(to: second.file)
    while !ring.isEmpty { _ = output.write(from: ring) }
    // A chunk is 64 KiB.
    for (path, count) in [(first.path, 65), (second.path, 35)] {
      let lines = try lines(path)
      #expect(lines.count == count + 1 && lines.last == "")
      #expect(lines.dropLast().allSatisfy { $0.utf8.count == 999 })
    }
    output.turn(to: StandardStreams.output)
  }

  @Test("what a full device does not take is counted, and told where there is room again")
  func full() throws {
    let ring = LogRing()
    let line = Array("{}\n".utf8)
    var output = LogOutput()
    output.turn(to: try Files.openLog("/dev/full"))
    for count in 1...2 as ClosedRange<UInt64> {
      for _ in 0..<count { _ = ring.append(line.span) }
      let loss = output.write(from: ring)
      #expect(loss == LogLoss(lines: count, reason: .noSpace))
    }
    let (path, file) = try temporary()
    defer { unlink(path) }
    output.turn(to: file)
    for _ in 0..<2 {
      _ = ring.append(line.span)
      let loss = output.write(from: ring)
      #expect(loss == nil)
    }
    let notice = #"{"level":"warn","message":"log lines dropped","dropped":3}"#
    #expect(try lines(path).map(String.init) == ["{}", notice, "{}", ""])
    output.turn(to: StandardStreams.output)
  }
}
