// From the client's request to the backend's 101, on a whole worker: what reaches whom, and what the
// client is told when there will be no WebSocket.

import Bytes
import Kernel
import Support
import Testing

@testable import Gateway

@Suite("The handshake through a worker")
struct HandshakeTests {
  private func finish(_ rig: Rig, _ client: End) {
    client.peer.finish()
    rig.run(.seconds(6))
    rig.expectClean()
  }

  @Test("nothing the client sends reaches the backend before its answer has been validated")
  func earlyBytes() {
    let rig = Rig()
    let backends = rig.backends { _ in }
    let client = rig.connect()
    client.sendText("early")
    rig.run(.milliseconds(50))
    client.sendText("too")
    rig.run(.milliseconds(50))
    let backend = backends.ends[0]
    #expect(backend.status != nil || !backend.head.isEmpty)
    #expect(backend.frames.isEmpty && backend.leftover == 0)
    #expect(client.status == nil)
    backend.accept()
    rig.settle()
    #expect(client.status == 101)
    #expect(client.field("Sec-WebSocket-Accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    #expect(backend.texts == ["early", "too"])
    #expect(backend.key != "dGhlIHNhbXBsZSBub25jZQ==" && backend.key.count == 24)
    backend.peer.close()
    finish(rig, client)
  }

  @Test("frames right behind the backend's 101 reach the client behind its own")
  func framesBehindTheAnswer() {
    let rig = Rig()
    let backends = rig.backends { end in
      end.accept()
      end.sendText("hello")
    }
    let client = rig.connect()
    rig.settle()
    #expect(client.status == 101)
    #expect(client.texts == ["hello"])
    backends.ends[0].peer.close()
    finish(rig, client)
  }

  // MARK: Broken answers

  private static let brokenAnswers: [(String, String)] = [
    (
      "wrong Accept",
      "101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n"
    ),
    ("no Accept", "101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"),
    ("no Upgrade", "101 X\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: KEY\r\n"),
    ("no Connection", "101 X\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: KEY\r\n"),
    (
      "subprotocol nobody offered",
      "101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: KEY\r\nSec-WebSocket-Protocol: chat\r\n"
    ),
    (
      "extension nobody offered",
      "101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: KEY\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"
    ),
    ("garbage", "banana\r\n"),
    ("head too large", "200 OK\r\nX: " + String(repeating: "a", count: 70_000) + "\r\n"),
    (
      "nine interim responses",
      "100 Continue\r\n\r\n" + String(repeating: "HTTP/1.1 100 Continue\r\n\r\n", count: 8)
    ),
  ]

  @Test("a broken answer is a 502, and nothing of it passes", arguments: brokenAnswers)
  func brokenAnswer(_ name: String, _ answer: String) {
    let rig = Rig()
    let backends = rig.backends { end in
      let accept = End.acceptValue(for: end.key)
      var text = "HTTP/1.1 "
      for part in answer.split(separator: "KEY", omittingEmptySubsequences: false).enumerated() {
        text += (part.offset > 0 ? accept : "") + part.element
      }
      end.peer.send(text + "\r\n")
    }
    let client = rig.connect()
    client.sendText("secret")
    rig.run(.milliseconds(100))
    #expect(client.status == 502, "\(name)")
    #expect(backends.ends[0].isGone)
    #expect(backends.ends[0].frames.isEmpty)
    #expect(rig.count(.backendAnswersBroken) == 1)
    finish(rig, client)
  }

  @Test("eight interim responses are patience enough")
  func interim() {
    let rig = Rig()
    let backends = rig.backends { end in
      end.peer.send(String(repeating: "HTTP/1.1 103 Early Hints\r\n\r\n", count: 8))
      end.accept()
    }
    let client = rig.connect()
    rig.settle()
    #expect(client.status == 101)
    backends.ends[0].peer.close()
    finish(rig, client)
  }

  @Test("another status is relayed with its body, and both connections end")
  func relayed() {
    let rig = Rig()
    let backends = rig.backends { end in
      end.peer.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 5\r\nX-Why: a\r\n\r\nno go")
    }
    let client = rig.connect()
    rig.settle()
    #expect(client.status == 401)
    #expect(client.field("X-Why") == "a")
    #expect(client.body == Array("no go".utf8))
    #expect(client.peer.hasEnded)
    #expect(backends.ends[0].isGone)
    finish(rig, client)
  }

  @Test("a relayed body that breaks off is a reset, not an end")
  func relayedHalf() {
    let rig = Rig()
    _ = rig.backends { end in
      end.peer.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 50\r\n\r\nno go")
      end.peer.finish()
    }
    let client = rig.connect()
    rig.settle()
    #expect(client.peer.wasReset)
    rig.expectClean()
  }

  // MARK: Endpoints

  @Test("an endpoint that refuses is passed over, and the client notices nothing")
  func nextEndpoint() {
    let rig = Rig { $0.backends = 3 }
    rig.remotes[0].behaviour = .fail(.connectionRefused)
    rig.remotes[1].behaviour = .fail(.connectionRefused)
    let backends = rig.backends(2)
    let client = rig.connect()
    rig.settle()
    #expect(client.status == 101)
    #expect(rig.remotes.map(\.attempts) == [1, 1, 1])
    #expect(rig.count(.connectFailures) == 2)
    backends.ends[0].peer.close()
    finish(rig, client)
  }

  @Test("when all endpoints refuse the client gets 503, and its connection ends")
  func allRefuse() {
    let rig = Rig { $0.backends = 2 }
    for remote in rig.remotes { remote.behaviour = .fail(.connectionRefused) }
    let client = rig.connect()
    rig.settle()
    #expect(client.status == 503)
    #expect(client.field("Retry-After") != nil)
    // What may follow the request is meant as frames, not as a request.
    #expect(client.peer.hasEnded)
    #expect(rig.remotes.map(\.attempts) == [1, 1])
    finish(rig, client)
  }

  @Test("an endpoint that does not answer a connect is given up after 5 seconds for the next")
  func hangingConnect() {
    let rig = Rig { $0.backends = 2 }
    rig.remotes[0].behaviour = .hang
    let backends = rig.backends(1)
    let client = rig.connect()
    rig.run(.milliseconds(4_900))
    #expect(client.status == nil)
    rig.run(.milliseconds(200))
    #expect(client.status == 101)
    backends.ends[0].peer.close()
    finish(rig, client)
  }

  @Test("when the last endpoint hangs too, 503")
  func allHang() {
    let rig = Rig { $0.backends = 2 }
    for remote in rig.remotes { remote.behaviour = .hang }
    let client = rig.connect()
    rig.run(.milliseconds(9_900))
    #expect(client.status == nil)
    rig.run(.milliseconds(300))
    #expect(client.status == 503)
    finish(rig, client)
  }

  @Test("a backend that says nothing for 15 seconds is a 504")
  func silent() {
    let rig = Rig()
    let backends = rig.backends { _ in }
    let client = rig.connect()
    rig.run(.milliseconds(14_900))
    #expect(client.status == nil)
    rig.run(.milliseconds(200))
    #expect(client.status == 504)
    #expect(backends.ends[0].isGone)
    #expect(rig.count(.backendSilent) == 1)
    finish(rig, client)
  }

  @Test("a backend that hangs up instead of answering is a 502", arguments: [true, false])
  func hangsUp(byReset: Bool) {
    let rig = Rig()
    _ = rig.backends { end in if byReset { end.peer.reset() } else { end.peer.finish() } }
    let client = rig.connect()
    rig.settle()
    #expect(client.status == 502)
    #expect(rig.remote.attempts == 1)
    finish(rig, client)
  }

  @Test("a client that is gone before the answer leaves nothing behind", arguments: [true, false])
  func abandoned(byReset: Bool) {
    let rig = Rig()
    let backends = rig.backends { _ in }
    let client = rig.connect()
    rig.settle()
    if byReset { client.peer.reset() } else { client.peer.finish() }
    rig.settle()
    backends.ends[0].accept()
    rig.settle()
    backends.ends[0].peer.finish()
    rig.run(.seconds(16))
    rig.expectClean()
  }

  @Test("handshakes in flight are limited, and the limit is given back")
  func handshakeLimit() {
    let rig = Rig { $0.limits.handshakes = 2 }
    let backends = rig.backends { _ in }
    let clients = (0..<3).map { _ in rig.connect() }
    rig.settle()
    #expect(clients.compactMap(\.status) == [503])
    #expect(rig.count(.limitRefusals) == 1)
    for end in backends.ends { end.accept() }
    rig.settle()
    #expect(clients.compactMap(\.status).sorted() == [101, 101, 503])
    let fourth = rig.connect()
    rig.settle()
    #expect(fourth.status == nil)
    for client in clients + [fourth] { client.peer.reset() }
    rig.settle()
    for end in backends.ends { end.peer.close() }
    rig.run(.seconds(6))
    rig.expectClean()
  }
}
