// The keys of session tickets: which are known, and for how long.

import Testing

@testable import TLS

@Suite("The keys of session tickets")
struct TicketKeysTests {
  @Test("a key is good through two more rotations, and is told from the newest")
  func rotation() throws {
    let keys = TicketKeys()
    let first = try #require(keys.newest)
    #expect(keys.key(named: first.name)?.isNewest == true)
    for _ in 0..<2 {
      keys.rotate()
      #expect(keys.key(named: first.name)?.isNewest == false)
    }
    keys.rotate()
    #expect(keys.key(named: first.name) == nil)
  }

  @Test("no two keys are alike, nor are the parts of one")
  func random() throws {
    let keys = TicketKeys()
    let first = try #require(keys.newest)
    keys.rotate()
    let second = try #require(keys.newest)
    #expect(first.name.count == 16 && first.cipher.count == 32 && first.mac.count == 32)
    #expect(Set([first.cipher, first.mac, second.cipher, second.mac]).count == 4)
    #expect(first.name != second.name)
  }

  @Test("a name that is not ours is no key")
  func unknown() { #expect(TicketKeys().key(named: [1, 2, 3]) == nil) }
}
