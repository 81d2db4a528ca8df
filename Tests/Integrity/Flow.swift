// One direction of a pair as it must arrive: what was sent and has not arrived yet, in order.

import Wire

/// A message or control frame. What arrives must equal what stands next, in all of this.
struct Item: Equatable {
  var opcode: Opcode
  var count: Int
  var hash: UInt64
  /// Payload bytes of the fragmented message around a control frame that came before it.
  var offset = 0
}

struct Flow {
  private var items: [Item] = []
  private var first = 0
  /// Messages that arrived as they should.
  private(set) var delivered = 0

  var isEmpty: Bool { first == items.count }
  var next: Item? { isEmpty ? nil : items[first] }

  mutating func sent(_ item: Item) { items.append(item) }

  /// Takes what stands next off the list if it is `item`.
  mutating func arrived(_ item: Item) -> Bool {
    guard next == item else { return false }
    first += 1
    if !item.opcode.isControl { delivered += 1 }
    if isEmpty || first == 1_000 {
      items.removeFirst(first)
      first = 0
    }
    return true
  }
}
