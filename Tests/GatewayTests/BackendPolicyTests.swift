import Bytes
import Configuration
import Testing
@testable import Wire

@testable import Gateway

private let handshake = ["Upgrade: websocket", "Connection: Upgrade"]

private func changed(
  _ policy: BackendPolicy, _ fields: [String] = handshake, target: String = "/chat/a?x=1",
  peer: String = "192.0.2.7", host: String = "a.test"
) -> [UInt8]? {
  let head = request(fields, target: target, host: host)
  return UpstreamRequest.upgrade(
    head, from: identity(head, peer: peer), key: Array("AAAAAAAAAAAAAAAAAAAAAA==".utf8),
    offer: HandshakeOffer(key: []), edits: HeaderEdits(), policy: policy)
}

@Suite("What route and upstream change in a request")
struct BackendPolicyTests {
  @Test("the path is rewritten and the query kept; a path that cannot be is a malformed request")
  func rewrites() {
    let policy = BackendPolicy(
      rewrite: PathRewrite(RewriteSettings(stripPrefix: "/chat", addPrefix: "/v2")))
    #expect(WrittenHead(changed(policy)).startLine == "GET /v2/a?x=1 HTTP/1.1")
    #expect(WrittenHead(changed(policy, target: "/chat?")).startLine == "GET /v2? HTTP/1.1")
    #expect(changed(policy, target: "/chat//a") == nil)
  }

  @Test("the Host is the upstream's where it has one, and the client's is told beside it")
  func hosts() throws {
    let name = Authority(host: "b.test", port: 81)
    let written = WrittenHead(changed(BackendPolicy(host: .name(name))))
    #expect(written.values("Host") == ["b.test:81"])
    #expect(written.values("X-Forwarded-Host") == ["a.test"])
    var bytes = try #require(changed(BackendPolicy(host: .endpoint)))
    let before = WrittenHead(bytes)
    for host in ["10.0.0.1:3000", "b", "[2001:db8::1]:3000"] {
      UpstreamRequest.setHost(Array(host.utf8), in: &bytes)
      #expect(WrittenHead(bytes).values("Host") == [host])
    }
    UpstreamRequest.setHost(Array("a.test".utf8), in: &bytes)
    #expect(WrittenHead(bytes) == before)
  }

  @Test(
    "Forwarded names client, host and scheme, quoted where it must be",
    arguments: [
      ("192.0.2.7", "a.test", "for=192.0.2.7;host=a.test;proto=http"),
      ("2001:db8::1", "a.test:8080", #"for="[2001:db8::1]";host="a.test:8080";proto=http"#),
      ("10.0.0.1", "[::1]", #"for=10.0.0.1;host="[::1]";proto=http"#),
    ])
  func forwarded(_ peer: String, _ host: String, _ expected: String) {
    let written = WrittenHead(changed(BackendPolicy(addsForwarded: true), peer: peer, host: host))
    #expect(written.values("Forwarded") == [expected])
    #expect(WrittenHead(changed(BackendPolicy(), peer: peer, host: host)).values("Forwarded") == [])
  }

  @Test("Forwarded of a trusted proxy is continued, and of anybody else replaced")
  func forwardedList() {
    let policy = BackendPolicy(addsForwarded: true)
    let lies = handshake + ["Forwarded: for=1.2.3.4;proto=https", "X-Forwarded-For: 1.2.3.4"]
    #expect(
      WrittenHead(changed(policy, lies)).values("Forwarded")
        == ["for=192.0.2.7;host=a.test;proto=http"])
    #expect(
      WrittenHead(changed(policy, lies, peer: "10.0.0.1")).values("Forwarded")
        == ["for=1.2.3.4;proto=https, for=10.0.0.1;host=a.test;proto=http"])
    let old = handshake + ["X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https"]
    #expect(
      WrittenHead(changed(policy, old, peer: "10.0.0.1")).values("Forwarded")
        == ["for=1.2.3.4;host=a.test;proto=https"])
  }
}
