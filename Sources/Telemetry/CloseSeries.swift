// Close codes as the metrics tell them apart: those that are registered one by one, the others in a few
// heaps, so that a peer that makes codes up makes no series.

/// Which bridges' ends are counted together.
public struct CloseSeries: Sendable, Equatable {
  /// The side whose Close it was.
  public enum Side: Int, CaseIterable, Sendable {
    case client, backend
    public var word: StaticString { self == .client ? "client" : "backend" }
  }

  public static let words: [StaticString] = [
    "1000", "1001", "1002", "1003", "1005", "1006", "1007", "1008", "1009", "1010", "1011", "1012",
    "1013", "1014", "3xxx", "4xxx", "other",
  ]

  /// Below 102.
  let index: Int

  /// `code`: 1005 for a Close without one, 1006 where none came.
  public init(side: Side, code: UInt16, closedBy: Party) {
    index = Self.index(side, Self.word(of: code), closedBy)
  }

  private static func index(_ side: Side, _ word: Int, _ party: Party) -> Int {
    (side.rawValue * Party.allCases.count + Int(party.rawValue)) * words.count + word
  }

  private static func word(of code: UInt16) -> Int {
    switch code {
    case 1000...1003: Int(code) - 1000
    case 1005...1014: Int(code) - 1001
    case 3000...3999: 14
    case 4000...4999: 15
    default: 16
    }
  }

  private init(index: Int) { self.index = index }

  /// Every series there is.
  public static func forEach(
    _ body: (CloseSeries, _ side: Side, _ code: StaticString, _ closedBy: Party) -> Void
  ) {
    for side in Side.allCases {
      for party in Party.allCases {
        for (number, word) in words.enumerated() {
          body(CloseSeries(index: index(side, number, party)), side, word, party)
        }
      }
    }
  }
}
