import Bytes
import Configuration
import Testing

@testable import Gateway

private func settings(_ edit: (inout AuthorizeSettings) -> Void = { _ in }) -> AuthorizeSettings {
  var settings = AuthorizeSettings(address: HostPort(.v4(0x7f00_0001), port: 9_000))
  edit(&settings)
  return settings
}

private func plan(_ settings: AuthorizeSettings) -> RoutePlan {
  var route = RouteSettings(upstreamName: "a")
  route.authorize = settings
  return RoutePlan(route, nil)
}

@Suite("The question to an authorization service")
struct AuthorizationRequestTests {
  private func asked(
    _ fields: [String], target: String = "/ws?x=1", peer: String = "192.0.2.7",
    _ edit: (inout AuthorizeSettings) -> Void = { _ in }
  ) -> WrittenHead? {
    let head = request(fields, target: target)
    return AuthorizationRequest.question(
      head, from: identity(head, peer: peer), isHandshake: false, settings(edit)
    ).map { WrittenHead($0) }
  }

  @Test("it is a GET of the URL, and says what was asked for")
  func line() throws {
    let written = try #require(asked([], target: "/a%20b?c") { $0.url.target = "/verify?k=v" })
    #expect(written.startLine == "GET /verify?k=v HTTP/1.1")
    #expect(written.values("X-Forwarded-Uri") == ["/a%20b?c"])
    #expect(written.values("X-Forwarded-Method") == ["GET"])
    #expect(written.values("X-Forwarded-For") == ["192.0.2.7"])
    #expect(try #require(asked([], target: "/a")).values("X-Forwarded-Uri") == ["/a"])
  }

  @Test("its Host is put in when its endpoint is known")
  func host() throws {
    let head = request()
    var bytes = try #require(
      AuthorizationRequest.question(
        head, from: identity(head), isHandshake: true, settings()))
    UpstreamRequest.setHost(Array("auth.test:9000".utf8), in: &bytes)
    #expect(WrittenHead(bytes).values("Host") == ["auth.test:9000"])
  }

  @Test("of the client's fields it has those that are listed, unless Connection nominates them")
  func fields() throws {
    let fields = [
      "authorization: a", "Cookie: b=c", "X-Other: d", "Upgrade: websocket", "X-Token: t",
      "Connection: upgrade, x-token", "Content-Length: 5", "X-Forwarded-Uri: /lie",
    ]
    let written = try #require(asked(fields) { $0.headers += ["X-Token"] })
    #expect(written.values("Authorization") == ["a"] && written.values("Cookie") == ["b=c"])
    for name in ["X-Other", "Upgrade", "X-Token", "Connection", "Content-Length"] {
      #expect(written.values(name) == [], "\(name)")
    }
    #expect(written.values("X-Forwarded-Uri") == ["/ws?x=1"])
    let tooMany = Array(repeating: "x", count: 33).joined(separator: ",")
    #expect(asked(["Connection: " + tooMany]) == nil)
  }

  @Test("of the answer's fields the listed ones are granted, byte for byte")
  func granted() throws {
    let answer = response(
      [
        "x-user: J\u{fc}rgen", "X-Role: a", "X-Role: b", "X-Other: c", "X-Hop: d",
        "Connection: x-hop",
      ],
      status: "200 OK")
    let found = try #require(
      AuthorizationRequest.granted(
        by: answer, settings { $0.copy = ["X-User", "X-Role", "X-Hop"] }))
    let fields = found.map { String(decoding: $0.name + ": ".utf8 + $0.value, as: UTF8.self) }
    #expect(fields == ["x-user: J\u{fc}rgen", "X-Role: a", "X-Role: b"])
  }

  @Test("a request gets the granted fields in place of the client's own of that name")
  func replaced() {
    let plan = plan(settings { $0.copy = ["X-User", "X-Real-IP"] })
    let head = request(["X-User: root", "x.user: root", "X_User: root"])
    let field = GrantedField(name: Array("X-User".utf8), value: Array("ann".utf8))
    for (granted, values) in [([field], ["ann"]), ([], [])] {
      let written = WrittenHead(
        UpstreamRequest.plain(
          head, from: identity(head), edits: plan.requestEdits,
          policy: BackendPolicy(granted: granted)))
      #expect(written.values("X-User") == values)
      #expect(written.values("x.user") == [] && written.values("X_User") == [])
      #expect(written.values("X-Real-IP") == [])
    }
  }
}

@Suite("Verdicts that are kept")
struct VerdictCacheTests {
  private let secret = Array("secret".utf8)

  private func key(_ plan: RoutePlan, _ fields: [String], _ settings: AuthorizeSettings)
    -> VerdictCache.Key?
  {
    VerdictCache.Key(plan, request(fields), settings, secret: secret)
  }

  private func caching(_ by: ClientKey) -> AuthorizeSettings {
    settings { $0.cache = AuthorizeCacheSettings(by: by) }
  }

  @Test("no token, several, or one that is nominated: nothing is kept")
  func keys() throws {
    let header = caching(.header("authorization"))
    let plan = plan(header)
    #expect(key(plan, ["Authorization: a"], settings()) == nil)
    for fields in [
      [], ["Authorization:"], ["Authorization: a", "authorization: a"],
      ["Authorization: a", "Connection: authorization"],
    ] {
      #expect(key(plan, fields, header) == nil, "\(fields)")
    }
    let one = try #require(key(plan, ["Authorization: a"], header))
    #expect(one == key(plan, ["AUTHORIZATION:  a "], header))
    #expect(one != key(plan, ["Authorization: A"], header))
    let other = anotherPlan(header)
    #expect(one != key(other, ["Authorization: a"], header))
  }

  private func anotherPlan(_ settings: AuthorizeSettings) -> RoutePlan { plan(settings) }

  @Test("a cookie is a token by itself, whatever is around it")
  func cookies() throws {
    let cookie = caching(.cookie("sid"))
    let plan = plan(cookie)
    let one = try #require(key(plan, ["Cookie: a=b; sid=1"], cookie))
    #expect(one == key(plan, ["Cookie: sid=1; c=d"], cookie))
    for value in ["a=b", "sid=", "sid=1; sid=2", "asid=1"] {
      #expect(key(plan, ["Cookie: \(value)"], cookie) == nil, "\(value)")
    }
    #expect(key(plan, ["Cookie: sid=1", "Cookie: a=b"], cookie) == nil)
  }

  @Test("a verdict is good until its time, and there are never more than 1,024")
  func bound() throws {
    let header = caching(.header("authorization"))
    let plan = plan(header)
    var cache = VerdictCache()
    let start = MonotonicTime(nanoseconds: 1)
    let keys = try (0...VerdictCache.entriesMax).map { number in
      try #require(key(plan, ["Authorization: \(number)"], header))
    }
    for (index, key) in keys.enumerated() {
      cache.add(key, [], until: start + .milliseconds(Int64(index + 1)), now: start)
    }
    #expect(cache.count == VerdictCache.entriesMax)
    // The one that would have been over first has made room.
    #expect(cache.find(keys[0], now: start) == nil)
    #expect(cache.find(keys[1], now: start) == [])
    #expect(cache.find(keys[1], now: start + .milliseconds(2)) == nil)
    #expect(cache.count == VerdictCache.entriesMax - 1)
  }

  @Test("a verdict with too much in it is not kept")
  func size() throws {
    let header = caching(.header("authorization"))
    let one = try #require(key(plan(header), ["Authorization: a"], header))
    var cache = VerdictCache()
    let field = GrantedField(
      name: [0x61], value: Array(repeating: 0x61, count: VerdictCache.grantedBytesMax))
    let now = MonotonicTime(nanoseconds: 0)
    cache.add(one, [field], until: now + .seconds(1), now: now)
    #expect(cache.count == 0)
  }
}
