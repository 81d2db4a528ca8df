import Bytes
import Configuration
import Testing

@testable import Gateway

private func route(_ host: HostPattern, _ path: PathPattern) -> RouteSettings {
  var settings = RouteSettings()
  settings.host = host
  settings.path = path
  return settings
}

private func find(
  _ router: Router, _ host: String, _ path: String, isHTTPS: Bool = false
) -> Int? {
  let hostBytes = Array(host.utf8)
  let pathBytes = Array(path.utf8)
  return router.route(host: hostBytes.span, path: pathBytes.span, isHTTPS: isHTTPS)
}

@Suite("The router")
struct RouterTests {
  private let router = Router([
    route(.any, .prefix("/")),  // 0
    route(.any, .prefix("/ws")),  // 1
    route(.any, .exact("/ws")),  // 2
    route(.wildcard(suffix: "example.com"), .prefix("/")),  // 3
    route(.wildcard(suffix: "example.com"), .prefix("/ws/long")),  // 4
    route(.exact("chat.example.com"), .prefix("/ws")),  // 5
    route(.exact("chat.example.com"), .prefix("/ws/deep")),  // 6
    route(.exact("chat.example.com"), .prefix("/dir/")),  // 7
    route(.exact("chat.example.com"), .prefix("/ws")),  // 8, never reached
    route(.exact("[::1]"), .exact("/six")),  // 9
    route(.wildcard(suffix: "b.example.com"), .prefix("/")),  // 10
  ])

  @Test(
    "the most specific host wins, then the longest path, then the exact one, then the order",
    arguments: [
      ("other.test", "/", 0), ("other.test", "/x", 0), ("other.test", "/ws", 2),
      ("other.test", "/ws/", 1), ("other.test", "/ws/a", 1), ("other.test", "/wsx", 0),
      ("other.test", "/w", 0), ("other.test", "/WS", 0), ("", "/ws", 2),
      ("chat.example.com", "/ws", 5), ("chat.example.com", "/ws/deep", 6),
      ("chat.example.com", "/ws/deep/er", 6), ("chat.example.com", "/ws/deeper", 5),
      ("chat.example.com", "/dir/", 7), ("chat.example.com", "/dir/x", 7),
      ("chat.example.com", "/ws//x", 5), ("chat.example.com", "/ws%2", 3),
      ("a.example.com", "/", 3), ("a.example.com", "/ws", 3), ("a.example.com", "/ws/long", 4),
      ("[::1]", "/six", 9), ("[::1]", "/six/", 0), ("[::2]", "/six", 0),
    ])
  func specific(_ host: String, _ path: String, _ expected: Int) {
    #expect(find(router, host, path) == expected)
  }

  @Test("a host without a matching path of its own falls to *.host, then to any")
  func fallsThrough() {
    #expect(find(router, "chat.example.com", "/dir") == 3)
    #expect(find(router, "chat.example.com", "/") == 3)
  }

  @Test(
    "a wildcard stands for exactly one leftmost label",
    arguments: [
      ("example.com", 0), ("x.a.example.com", 0), ("x.b.example.com", 10), ("b.example.com", 3),
      ("evilexample.com", 0), (".example.com", 3), ("com", 0), ("x.example.com.evil", 0),
      ("example.comx", 0),
    ])
  func wildcard(_ host: String, _ expected: Int) {
    #expect(find(router, host, "/") == expected)
  }

  @Test("where nothing matches there is no route")
  func none() {
    let narrow = Router([route(.exact("a.test"), .prefix("/ws")), route(.any, .exact("/one"))])
    #expect(find(narrow, "a.test", "/") == nil)
    #expect(find(narrow, "b.test", "/ws") == nil)
    #expect(find(narrow, "b.test", "/one/") == nil)
    #expect(find(narrow, "b.test", "*") == nil)
    #expect(find(narrow, "b.test", "") == nil)
    #expect(find(narrow, "b.test", "/one") == 1)
    #expect(find(Router([]), "a.test", "/") == nil)
  }

  @Test("of a thousand hosts each finds its own")
  func many() {
    var routes: [RouteSettings] = []
    for index in 0..<1000 {
      routes.append(route(.exact("h\(index * 7919 % 1000).test"), .prefix("/")))
    }
    let router = Router(routes)
    for index in 0..<1000 { #expect(find(router, "h\(index * 7919 % 1000).test", "/x") == index) }
    #expect(find(router, "h1000.test", "/") == nil)
  }

  @Test("a redirect to https is for requests without TLS alone, beside what serves the others")
  func redirectsToHTTPS() {
    var redirect = route(.any, .prefix("/"))
    redirect.redirect = RedirectSettings(target: .https(port: 443))
    var elsewhere = route(.any, .prefix("/moved"))
    elsewhere.redirect = RedirectSettings(target: .fixed("/new"))
    let router = Router([route(.any, .prefix("/")), redirect, elsewhere, route(.any, .exact("/x"))])
    #expect(find(router, "a.test", "/a") == 1)
    #expect(find(router, "a.test", "/a", isHTTPS: true) == 0)
    #expect(find(router, "a.test", "/x") == 3)
    #expect(find(router, "a.test", "/moved", isHTTPS: true) == 2)
    let alone = Router([redirect])
    #expect(find(alone, "a.test", "/a", isHTTPS: true) == nil)
  }
}
