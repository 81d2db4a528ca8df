import Bytes
import Testing

private func expect(_ slab: borrowing Slab<Int>, lacks id: SlotID) {
  let found = slab.contains(id)
  #expect(!found)
}

@Suite("A slab")
struct SlabTests {
  @Test("an id stops resolving when its tenant is removed, and the slot's next tenant has another")
  func generations() {
    var slab = Slab<Int>(capacity: 2)
    let first = slab.insert(1)!
    let tenant = slab[first]
    #expect(tenant == 1)
    let removed = slab.remove(first)
    #expect(removed == 1)
    expect(slab, lacks: first)
    let removedAgain = slab.remove(first)
    #expect(removedAgain == nil)
    let second = slab.insert(2)!
    #expect(second.index == first.index)
    #expect(second != first)
    expect(slab, lacks: first)
  }

  @Test("a tenant that is discarded is dropped at once, and its slot is free")
  func discarding() {
    final class Tenant {}
    var slab = Slab<Tenant>(capacity: 1)
    weak var kept: Tenant?
    let id = {
      let tenant = Tenant()
      kept = tenant
      return slab.insert(tenant)!
    }()
    #expect(kept != nil)
    let discarded = slab.discard(id)
    #expect(discarded)
    #expect(kept == nil)
    let again = slab.discard(id)
    #expect(!again)
    let next = slab.insert(Tenant())
    #expect(next?.index == id.index && next != id)
  }

  @Test("a full slab refuses, and takes again after a removal")
  func full() {
    var slab = Slab<Int>(capacity: 300)
    var ids: [SlotID] = []
    for value in 0..<300 { ids.append(slab.insert(value)!) }
    let refused = slab.insert(0)
    #expect(refused == nil)
    for id in ids {
      let tenant = slab[id]
      #expect(tenant == Int(id.index))
    }
    let removed = slab.remove(ids[7])
    #expect(removed == 7)
    let taken = slab.insert(8)
    #expect(taken != nil)
    let count = slab.count
    #expect(count == 300)
  }
}
