// Random damage to ordinary HTTP/2 traffic. The rules hold what somebody thought of; this is for the
// rest: whatever the bytes are, nothing traps, all feedings agree on the outcome, every stream that was
// announced ends at most once, and a connection that has failed says nothing more.

import Bytes
import Support
import Testing

@testable import Wire

@Suite("HTTP/2 bytes damaged at random")
struct HTTP2MutationTests {
  /// Traffic with some of everything in it.
  private static let seed: [Frame] = [
    .settings([(3, 10), (4, 70_000)]), .settingsAck, .headers(1, connectFields, ends: false),
    .data(1, "hello"), .windowUpdate(0, 1_000), .headers(3, getFields + [("cookie", "a=b")]),
    Frame(type: 0, flags: Frame.padded, stream: 1, payload: [2, 1, 0, 0]), .ping(),
    .headers(5, getFields, ends: false, complete: false),
    .continuation(5, block([("content-length", "4")]), complete: true),
    .data(5, "four", ends: true),
    .priority(7, dependsOn: 3), .windowUpdate(1, 5), .reset(1), .headers(7, getFields, ends: false),
    .headers(7, [("trailer", "x")]), Frame(type: 0x21, payload: [1, 2]),
  ]

  private struct Outcome: Equatable {
    var progress: HTTP2Progress
    /// By stream, 0 for the connection: our resets take effect when all that was fed has been
    /// read, so the order of streams among each other depends on the pieces.
    var seen: [Int32: [Seen]]
  }

  private static func byStream(_ seen: [Seen]) -> [Int32: [Seen]] {
    var streams: [Int32: [Seen]] = [:]
    for event in seen {
      if case .closed(let stream, _, _, _) = event {
        // Of DATA that is too much, what came earlier has been handed on.
        streams[stream]?.removeAll { if case .data = $0 { true } else { false } }
        // Where a reset of theirs crosses one of ours, either may come first.
        streams[stream, default: []].append(.closed(stream, owner: nil, code: 0, byPeer: false))
      } else if case .data(let stream, let bytes) = event,
        case .data(_, let before)? = streams[stream]?.last
      {
        streams[stream]?.removeLast()
        streams[stream]?.append(.data(stream, before + bytes))
      } else {
        streams[event.stream, default: []].append(event)
      }
    }
    return streams
  }

  private static func damage(_ random: inout SeededRandom) -> [UInt8] {
    var frames = seed
    for _ in 0..<Int.random(in: 0...3, using: &random) {
      let index = Int.random(in: 0..<frames.count, using: &random)
      switch Int.random(in: 0..<6, using: &random) {
      case 0: frames.remove(at: index)
      case 1: frames.insert(frames.randomElement(using: &random)!, at: index)
      case 2: frames[index].flags ^= 1 << UInt8.random(in: 0..<8, using: &random)
      case 3: frames[index].stream = UInt32.random(in: 0..<12, using: &random)
      case 4: frames[index].type = UInt8.random(in: 0..<12, using: &random)
      default: frames[index].payload += random.bytes(Int.random(in: 0..<9, using: &random))
      }
    }
    var bytes = preface + frames.flatMap(\.bytes)
    for _ in 0..<Int.random(in: 0...2, using: &random) {
      bytes[Int.random(in: 24..<bytes.count, using: &random)] = random.bytes(1)[0]
    }
    return bytes
  }

  /// Feeds the pieces and answers requests as a server would.
  private static func run(_ pieces: [ArraySlice<UInt8>]) -> Conversation {
    let it = Conversation()
    var answered = 0
    for piece in pieces {
      it.feed(piece)
      while answered < it.seen.count {
        if case .request(let stream, _, _, _, _) = it.seen[answered] {
          it.session.respond(stream, status: 200, fields: FieldBlock(), ends: false)
          it.write(stream, [1, 2, 3].span)
        }
        answered += 1
      }
    }
    return it
  }

  @Test("traffic comes to one outcome however it arrives", arguments: [1, 2] as [UInt64])
  func traffic(_ seed: UInt64) {
    var random = SeededRandom(seed: seed)
    var outcomes: Set<String> = []
    let clock = ContinuousClock()
    let end = clock.now + .seconds(3)
    var cases = 0
    while cases < 20, clock.now < end {
      let input = Self.damage(&random)
      let (outcome, disagreement) = DecoderVerifier.verify(input, everySplitMax: 16) { pieces in
        let it = Self.run(pieces)
        // What is on its way when the connection fails depends on the pieces.
        let isOpen = it.progress == .open
        return Outcome(progress: it.progress, seen: isOpen ? Self.byStream(it.seen) : [:])
      }
      if let disagreement {
        Issue.record("seed \(seed), case \(cases), \(input): \(disagreement)")
        return
      }
      outcomes.insert("\(outcome.progress)")
      cases += 1
    }
    #expect(cases > 5)
    #expect(outcomes.count > 1, "\(outcomes)")
  }

  @Test("streams end once, and a connection that has failed is silent")
  func endings() {
    var random = SeededRandom(seed: 3)
    for _ in 0..<3_000 {
      let it = Self.run([Self.damage(&random)[...]])
      it.collect()
      var ended: Set<Int32> = []
      for event in it.seen {
        switch event {
        case .closed(let stream, _, _, _), .malformed(let stream):
          #expect(ended.insert(stream).inserted, "\(it.seen)")
        case .request(let stream, _, _, _, _), .refused(let stream, _), .data(let stream, _),
          .ended(let stream, _):
          #expect(!ended.contains(stream), "\(it.seen)")
        case .sent, .pong, .goAway: break
        }
      }
      guard it.progress != .open else { continue }
      #expect(it.frames.count { $0.isGoAway } == 1)
      #expect(it.frames.last?.isGoAway == true)
      #expect(!it.session.wantsToSend)
    }
  }
}

extension Seen {
  fileprivate var stream: Int32 {
    switch self {
    case .request(let stream, _, _, _, _), .refused(let stream, _), .malformed(let stream),
      .data(let stream, _), .ended(let stream, _), .closed(let stream, _, _, _),
      .sent(let stream, _, _):
      stream
    case .pong, .goAway: 0
    }
  }
}
