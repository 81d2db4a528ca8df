// One endpoint's counts and health, and the table that chooses among several.

import Bytes
import Configuration
import Testing

@testable import Gateway

private func at(_ seconds: Int64) -> MonotonicTime {
  MonotonicTime(nanoseconds: 0) + .seconds(seconds)
}

private func address(_ number: Int) -> SocketAddress {
  .ip(.v4(0x0a00_0000 + UInt32(number)), port: 80)
}

private func endpoint(weight: Int = 1, connectionsMax: Int? = nil) -> Endpoint {
  Endpoint(
    upstream: "chat",
    EndpointPlan(address: address(1), weight: weight, connectionsMax: connectionsMax))
}

@Suite("An endpoint")
struct EndpointTests {
  @Test("takes no more than it may carry, and one more for each that ends")
  func full() {
    let endpoint = endpoint(connectionsMax: 2)
    #expect(endpoint.take() && endpoint.take() && !endpoint.take())
    #expect(endpoint.inUse == 2)
    endpoint.giveBack()
    #expect(endpoint.take() && !endpoint.take())
  }

  @Test("is taken out by three failures in a row, for 10 s, then 20, 40 and never more than 60")
  func ejection() {
    let endpoint = endpoint()
    #expect(endpoint.failed(at(0)) == nil && endpoint.failed(at(0)) == nil)
    #expect(endpoint.failed(at(0)) == .ejected(for: .seconds(10)))
    #expect(endpoint.isOut(at(9)) && !endpoint.isOut(at(10)))
    // Of connects that were under way.
    #expect(endpoint.failed(at(1)) == nil && !endpoint.isOut(at(10)))
    var now: Int64 = 10
    for length: Int64 in [20, 40, 60, 60, 60] {
      #expect(endpoint.failed(at(now)) == .ejected(for: .seconds(length)))
      #expect(endpoint.isOut(at(now + length - 1)) && !endpoint.isOut(at(now + length)))
      now += length
    }
  }

  @Test("is in order after one connect, and everything counts from the beginning")
  func recovery() {
    let endpoint = endpoint()
    #expect(endpoint.failed(at(0)) == nil && endpoint.failed(at(0)) == nil)
    #expect(endpoint.connected(at(0)) == nil)
    #expect(endpoint.failed(at(1)) == nil && endpoint.failed(at(1)) == nil)
    #expect(endpoint.failed(at(1)) == .ejected(for: .seconds(10)))
    #expect(endpoint.isOnTrial)
    #expect(endpoint.connected(at(5)) == .back)
    #expect(!endpoint.isOut(at(5)) && !endpoint.isOnTrial)
    #expect(endpoint.connected(at(5)) == nil)
    #expect(endpoint.failed(at(6)) == nil && endpoint.failed(at(6)) == nil)
    #expect(endpoint.failed(at(6)) == .ejected(for: .seconds(10)))
  }

  @Test("gets its share back over 30 s, from a tenth")
  func slowStart() {
    let endpoint = endpoint(weight: 4)
    #expect(endpoint.share(at(0)) == 4_000)
    for _ in 0..<3 { _ = endpoint.failed(at(0)) }
    #expect(endpoint.share(at(12)) == 400)
    _ = endpoint.connected(at(20))
    #expect(endpoint.share(at(20)) == 400)
    #expect(endpoint.share(at(23)) == 400)
    #expect(endpoint.share(at(35)) == 2_000)
    #expect(endpoint.share(at(49)) == 3_864)
    #expect(endpoint.share(at(50)) == 4_000)
    var last = 0
    for second: Int64 in 20...60 {
      #expect(endpoint.share(at(second)) >= last)
      last = endpoint.share(at(second))
    }
  }

  @Test("lets one request a second try it")
  func trials() {
    let endpoint = endpoint()
    for _ in 0..<3 { _ = endpoint.failed(at(0)) }
    #expect(!endpoint.beginTrial(at(0)))
    #expect(endpoint.beginTrial(at(1)) && !endpoint.beginTrial(at(1)))
    #expect(endpoint.beginTrial(at(2)))
  }
}

@Suite("An endpoint that answers badly")
struct BadAnswerTests {
  @Test("is taken out by five bad answers in a row, and only while there is another")
  func ejection() {
    let endpoint = endpoint()
    for _ in 0..<4 { #expect(endpoint.answeredBadly(at(0), mayEject: true) == nil) }
    #expect(endpoint.answeredWell(at(0)) == nil)
    for _ in 0..<4 { #expect(endpoint.answeredBadly(at(0), mayEject: true) == nil) }
    #expect(endpoint.answeredBadly(at(0), mayEject: false) == nil && !endpoint.isOut(at(0)))
    #expect(endpoint.answeredBadly(at(0), mayEject: true) == .ejectedForAnswers(for: .seconds(10)))
    #expect(endpoint.isOut(at(9)) && !endpoint.isOut(at(10)))
  }

  @Test("is forgiven what was longer than a minute ago")
  func memory() {
    let endpoint = endpoint()
    for second: Int64 in 0..<10 {
      #expect(endpoint.answeredBadly(at(second * 61), mayEject: true) == nil)
    }
  }

  @Test("comes back by a good answer, and not by taking a connection")
  func recovery() {
    let endpoint = endpoint()
    for _ in 0..<5 { _ = endpoint.answeredBadly(at(0), mayEject: true) }
    #expect(endpoint.connected(at(11)) == nil && endpoint.isOnTrial)
    #expect(endpoint.answeredBadly(at(11), mayEject: true) == .ejectedForAnswers(for: .seconds(20)))
    #expect(endpoint.answeredWell(at(32)) == .back && !endpoint.isOnTrial)
    #expect(endpoint.answeredWell(at(32)) == nil)
  }
}

@Suite("An endpoint that is checked")
struct CheckedEndpointTests {
  private func check(_ endpoint: Endpoint, _ passed: Bool) -> EndpointChange? {
    endpoint.checked(passed: passed, at(0), rise: 2, fall: 3)
  }

  @Test("is judged by its first check, and then by as many in a row as it takes")
  func checks() {
    let endpoint = endpoint()
    #expect(!endpoint.isOut(at(0)))
    #expect(check(endpoint, false) == .down && endpoint.isOut(at(1_000)))
    #expect(check(endpoint, true) == nil && check(endpoint, false) == nil)
    #expect(check(endpoint, true) == nil && endpoint.isDown)
    #expect(check(endpoint, true) == .up && !endpoint.isOut(at(0)))
    #expect(check(endpoint, false) == nil && check(endpoint, false) == nil)
    #expect(check(endpoint, true) == nil)
    #expect(check(endpoint, false) == nil && check(endpoint, false) == nil)
    #expect(check(endpoint, false) == .down)
  }

  @Test("that it is in order at the beginning is no news")
  func beginning() { #expect(check(endpoint(), true) == nil) }

  @Test("comes back slowly, and whatever it was taken out for before is over")
  func back() {
    let endpoint = endpoint()
    for _ in 0..<3 { _ = endpoint.failed(at(0)) }
    #expect(check(endpoint, false) == .down)
    #expect(endpoint.checked(passed: true, at(1), rise: 1, fall: 1) == .up)
    #expect(!endpoint.isOut(at(1)) && !endpoint.isOnTrial)
    #expect(endpoint.share(at(1)) == Endpoint.leastShare)
  }
}

@Suite("An endpoint that several threads use")
struct SharedEndpointTests {
  private func inParallel<Result: Sendable>(
    _ body: @escaping @Sendable (Int) -> Result
  ) async -> [Result] {
    await withTaskGroup(of: Result.self) { group in
      for worker in 0..<8 { group.addTask { body(worker) } }
      return await group.reduce(into: []) { $0.append($1) }
    }
  }

  @Test("never carries more than it may, and ends with what it began with")
  func counts() async {
    let endpoint = endpoint(connectionsMax: 3)
    let most = await inParallel { _ in
      var most = 0
      for _ in 0..<20_000 where endpoint.take() {
        most = max(most, endpoint.inUse)
        endpoint.giveBack()
      }
      return most
    }
    #expect(most.allSatisfy { (1...3).contains($0) })
    #expect(endpoint.inUse == 0)
    let taken = await inParallel { _ in endpoint.take() }
    #expect(taken.count { $0 } == 3 && endpoint.inUse == 3)
  }

  @Test("tells one of them that it is out, and one that it is back")
  func changes() async {
    for round in 0..<200 {
      let endpoint = endpoint()
      let out = await inParallel { _ in (0..<3).compactMap { _ in endpoint.failed(at(1)) } }
      #expect(out.joined().elementsEqual([.ejected(for: .seconds(10))]), "round \(round)")
      let trials = await inParallel { _ in endpoint.beginTrial(at(2)) }
      #expect(trials.count { $0 } == 1)
      let back = await inParallel { _ in endpoint.connected(at(3)) }
      #expect(back.compactMap(\.self) == [.back], "round \(round)")
    }
  }
}

@Suite("The endpoints of an upstream")
struct EndpointTableTests {
  private func table(
    _ count: Int = 3, limits: [Int?] = [], weights: [Int] = [],
    _ edit: (inout UpstreamSettings) -> Void = { _ in }
  ) -> EndpointTable {
    var settings = UpstreamSettings(name: "chat")
    edit(&settings)
    let plans = (0..<count).map { index in
      EndpointPlan(
        address: address(index), weight: index < weights.count ? weights[index] : 1,
        connectionsMax: index < limits.count ? limits[index] : nil)
    }
    return EndpointTable(settings, plans, processSecret: Array("of this process".utf8))
  }

  private func take(
    _ table: EndpointTable, _ turn: inout BalanceTurn, _ affinity: ClientAffinity = .init(),
    besides tried: [Int] = [], at now: MonotonicTime = at(0)
  ) -> Int? {
    table.take(affinity, besides: tried, &turn, now: now, random: 1)
  }

  private func eject(_ endpoint: Endpoint, at now: MonotonicTime = at(0)) {
    for _ in 0..<Endpoint.failuresMax { _ = endpoint.failed(now) }
  }

  @Test("workers begin with different endpoints")
  func workers() {
    let table = table()
    let firsts = (0..<6).map { worker in
      var turn = table.makeTurn(worker: worker, now: at(0))
      return take(table, &turn)
    }
    #expect(firsts == [0, 1, 2, 0, 1, 2])
  }

  @Test("what one worker takes, another one sees")
  func shared() {
    let table = table { $0.balance = .leastConnections }
    var one = table.makeTurn(worker: 0, now: at(0))
    var other = table.makeTurn(worker: 1, now: at(0))
    var taken: [Int] = []
    for _ in 0..<3 {
      taken += [take(table, &one), take(table, &other)].compactMap(\.self)
    }
    #expect(taken.sorted() == [0, 0, 1, 1, 2, 2])
  }

  @Test("full, out and tried endpoints are passed over; when all are there is none")
  func passedOver() {
    let table = table(limits: [1, nil, nil])
    var turn = table.makeTurn(worker: 0, now: at(0))
    #expect(take(table, &turn) == 0)
    eject(table.endpoints[1])
    for _ in 0..<5 { #expect(take(table, &turn) == 2) }
    #expect(take(table, &turn, besides: [2]) == nil)
    table.endpoints[0].giveBack()
    #expect(take(table, &turn, besides: [2]) == 0)
    #expect(table.endpoints.map(\.inUse) == [1, 0, 5])
  }

  @Test("an upstream that is full takes nobody, and nothing is counted")
  func allFull() {
    let table = table(2, limits: [1, 1])
    var turn = table.makeTurn(worker: 0, now: at(0))
    #expect(take(table, &turn) != nil && take(table, &turn) != nil)
    #expect(take(table, &turn) == nil)
    #expect(table.endpoints.map(\.inUse) == [1, 1])
  }

  @Test("only one that lacks nothing but room is full")
  func isFull() {
    let table = table(2, limits: [1, nil])
    var turn = table.makeTurn(worker: 0, now: at(0))
    #expect(take(table, &turn) == 0)
    #expect(!table.isFull(.init(), besides: [], &turn, now: at(0)), "the other one has room")
    #expect(table.isFull(.init(), besides: [1], &turn, now: at(0)))
    eject(table.endpoints[1])
    #expect(table.isFull(.init(), besides: [], &turn, now: at(0)))
    table.endpoints[0].giveBack()
    #expect(!table.isFull(.init(), besides: [], &turn, now: at(0)))
  }

  @Test("the endpoints that stay in another table keep what they carry")
  func replacing() {
    let table = table(3)
    var turn = table.makeTurn(worker: 0, now: at(0))
    for _ in 0..<6 { _ = take(table, &turn) }
    let next = table.replacing(
      with: [3, 1].map { EndpointPlan(address: address($0)) })
    #expect(next.endpoints.map(\.inUse) == [0, 2])
    #expect(next.endpoints[1] === table.endpoints[1])
    #expect(next.holds(table.endpoints[1]) && !next.holds(table.endpoints[0]))
  }

  @Test("an endpoint that was gone for a while is back with what it carries")
  func goneAndBack() {
    let table = table(2)
    var turn = table.makeTurn(worker: 0, now: at(0))
    for _ in 0..<4 { _ = take(table, &turn) }
    let without = table.replacing(with: [EndpointPlan(address: address(0))])
    let back = without.replacing(
      with: [EndpointPlan(address: address(0)), EndpointPlan(address: address(1), weight: 2)])
    #expect(back.endpoints.map(\.inUse) == [2, 2])
    table.endpoints[1].giveBack()
    #expect(back.endpoints.map(\.inUse) == [2, 1])
  }

  @Test("an upstream that is down takes one request a second, and only first attempts")
  func allOut() {
    let table = table(1)
    var turn = table.makeTurn(worker: 0, now: at(0))
    eject(table.endpoints[0])
    #expect(take(table, &turn) == nil)
    #expect(take(table, &turn, at: at(2)) == 0)
    #expect(take(table, &turn, at: at(2)) == nil)
    #expect(take(table, &turn, at: at(3)) == 0)
    _ = table.endpoints[0].connected(at(3))
    #expect(take(table, &turn, at: at(3)) == 0 && take(table, &turn, at: at(3)) == 0)
  }

  @Test("one that has been out gets one request a second until a connect succeeds")
  func afterEjection() {
    let table = table(2)
    var turn = table.makeTurn(worker: 0, now: at(0))
    eject(table.endpoints[0])
    let taken = (0..<200).compactMap { _ in take(table, &turn, at: at(10)) }
    #expect(taken.count == 200)
    #expect(taken.count { $0 == 0 } == 1)
  }

  @Test("one that is back gets a growing part of what the others get")
  func slowStart() {
    let table = table(2)
    var turn = table.makeTurn(worker: 0, now: at(0))
    eject(table.endpoints[0])
    _ = table.endpoints[0].connected(at(10))
    let counts = [10, 25, 40].map { second in
      (0..<300).count { _ in take(table, &turn, at: at(Int64(second))) == 0 }
    }
    #expect((25...29).contains(counts[0]), "a tenth to one: \(counts)")
    #expect((98...102).contains(counts[1]), "a half to one: \(counts)")
    #expect((149...151).contains(counts[2]), "one to one: \(counts)")
  }

  // MARK: Affinity

  private func affinity(_ table: EndpointTable, _ fields: [String] = [], from number: Int = 9)
    -> ClientAffinity
  {
    table.affinity(of: request(fields), from: address(number).ip, isSecure: false)
  }

  @Test("a hash goes by the client's address, a field or a cookie, whatever it was told to")
  func hashKeys() {
    let keys: [ClientKey?] = [nil, .address, .header("x-user"), .cookie("S")]
    for key in keys {
      let table = table {
        $0.balance = .hash
        $0.hash = key
      }
      let fields = ["X-User: ann", "Cookie: a=b; S=ann"]
      let own = affinity(table, fields)
      #expect(own.key != nil && !own.isStrict && own.pinned == nil)
      #expect(own == affinity(table, fields))
      let isByAddress = key == nil || key == .address
      #expect((affinity(table, fields, from: 8).key == own.key) == !isByAddress)
      let others = ["X-User: bob", "Cookie: a=b; S=bob"]
      #expect((affinity(table, others).key == own.key) == isByAddress)
      #expect((affinity(table, ["X-User:", "Cookie: s=ann"]).key == nil) == !isByAddress)
    }
  }

  @Test("without the field a hash goes by, requests are taken in turn")
  func hashWithoutKey() {
    let table = table {
      $0.balance = .hash
      $0.hash = .header("x-user")
    }
    var turn = table.makeTurn(worker: 0, now: at(0))
    #expect((0..<3).map { _ in take(table, &turn, affinity(table)) } == [0, 1, 2])
    let own = affinity(table, ["X-User: ann"])
    let taken = Set((0..<20).map { _ in take(table, &turn, own) })
    #expect(taken.count == 1)
  }

  private func sticky(_ edit: (inout StickySettings) -> Void) -> EndpointTable {
    table { settings in
      var sticky = StickySettings()
      edit(&sticky)
      settings.sticky = sticky
    }
  }

  /// `NAME=VALUE` of a Set-Cookie.
  private func pair(_ table: EndpointTable, _ endpoint: Int) -> String {
    let field = table.setCookie(for: endpoint, ClientAffinity()) ?? []
    return String(decoding: field.prefix { $0 != UInt8(ascii: ";") }, as: UTF8.self)
  }

  @Test("a cookie brings its client back, before a field and an address have a say")
  func cookieFirst() {
    let table = sticky {
      $0.cookie = "C"
      $0.header = "x-user"
      $0.byAddress = true
    }
    var turn = table.makeTurn(worker: 0, now: at(0))
    for endpoint in 0..<3 {
      let own = affinity(table, ["X-User: ann", "Cookie: \(pair(table, endpoint))"])
      #expect(own.pinned == endpoint)
      #expect(take(table, &turn, own) == endpoint)
      #expect(table.setCookie(for: endpoint, own) == nil)
    }
    let byField = affinity(table, ["X-User: ann"])
    #expect(byField.pinned == nil && byField.key == affinity(table, ["X-User: ann"], from: 8).key)
    #expect(affinity(table).key != affinity(table, from: 8).key)
  }

  @Test("when its endpoint is down or full a client moves on and gets another cookie")
  func moveOn() {
    let table = sticky { $0.cookie = "C" }
    var turn = table.makeTurn(worker: 0, now: at(0))
    let own = affinity(table, ["Cookie: \(pair(table, 1))"])
    eject(table.endpoints[1])
    let taken = take(table, &turn, own)
    #expect(taken != nil && taken != 1)
    #expect(table.setCookie(for: taken ?? 1, own) != nil)
  }

  @Test("with refuse a client waits for its own endpoint, however that was found")
  func refuse() {
    let byCookie = sticky {
      $0.cookie = "C"
      $0.whenDown = .refuse
    }
    var turn = byCookie.makeTurn(worker: 0, now: at(0))
    let pinned = affinity(byCookie, ["Cookie: \(pair(byCookie, 1))"])
    eject(byCookie.endpoints[1])
    #expect(take(byCookie, &turn, pinned) == nil)
    #expect(take(byCookie, &turn, pinned, at: at(10)) == 1, "a trial")
    // Whoever has no cookie can go anywhere.
    #expect(take(byCookie, &turn, affinity(byCookie)) != nil)

    let byField = sticky {
      $0.header = "x-user"
      $0.whenDown = .refuse
    }
    let own = affinity(byField, ["X-User: ann"])
    turn = byField.makeTurn(worker: 0, now: at(0))
    guard let home = take(byField, &turn, own) else { Issue.record("nobody"); return }
    #expect(take(byField, &turn, own, besides: [home]) == nil)
    eject(byField.endpoints[home])
    #expect(take(byField, &turn, own) == nil)
  }
}
