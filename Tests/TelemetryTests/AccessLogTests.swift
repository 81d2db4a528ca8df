import Bytes
import Foundation
import Telemetry
import Testing

private func facts(
  host: String = "chat.example", path: String = "/ws", origin: String? = "https://app.example",
  tls: StaticString? = "1.3"
) -> ConnectionFacts {
  ConnectionFacts(
    name: ExchangeName(process: 0x00c0_ffee, number: 26), client: "192.0.2.7", proto: "http/1.1",
    tls: tls,
    host: Array(host.utf8), path: Array(path.utf8), route: "chat.example/ws",
    endpoint: "10.0.0.1:80", origin: origin.map { Array($0.utf8) }, subprotocol: nil)
}

private func lines(_ ring: LogRing) -> [String] {
  var output: [UInt8] = []
  _ = ring.take(upTo: .max, into: &output)
  return String(decoding: output, as: UTF8.self).split(separator: "\n").map(String.init)
}

private func object(_ line: String) throws -> NSDictionary {
  try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? NSDictionary)
}

@Suite("The access log")
struct AccessLogTests {
  @Test("a WebSocket writes what it is when it opens, and how it went when it ends")
  func openAndClose() {
    let ring = LogRing()
    let metrics = WorkerMetrics()
    var log = AccessLog(ring: ring, metrics: metrics)
    log.open(facts(), wall: 0)
    var end = CloseFacts(
      duration: .milliseconds(61_500), closedBy: .gateway, why: "client_protocol_error",
      detail: "masked")
    end.client.messages = 3
    end.client.bytes = 12
    end.client.pingsSent = 2
    end.client.lastRoundTrip = .milliseconds(4)
    end.client.maxRoundTrip = .milliseconds(9)
    end.backend.closeCode = 1000
    end.backend.closeReason = Array("bye\n\"x\"".utf8)
    end.backend.messages = 5
    end.backend.bytes = 4096
    log.close(facts().kept(), end, wall: 61_500_000_000)
    let who =
      #""id":"00c0ffee-00000000001a","client":"192.0.2.7","protocol":"http/1.1","tls":"1.3","#
      + #""host":"chat.example","path":"/ws","route":"chat.example/ws","endpoint":"10.0.0.1:80","#
      + #""origin":"https://app.example""#
    #expect(
      lines(ring) == [
        #"{"time":"1970-01-01T00:00:00.000Z","event":"open","# + who + "}",
        #"{"time":"1970-01-01T00:01:01.500Z","event":"close","# + who
          + #","duration_ms":61500.000,"closed_by":"gateway","why":"client_protocol_error","#
          + #""detail":"masked","client_code":1006,"client_messages":3,"client_bytes":12,"#
          + #""client_pings":2,"client_rtt_ms":4.000,"client_rtt_max_ms":9.000,"#
          + #""backend_code":1000,"backend_reason":"bye\u000a\"x\"","backend_messages":5,"#
          + #""backend_bytes":4096,"backend_pings":0}"#,
      ])
    #expect(metrics.value(.logLinesWritten) == 2)
  }

  @Test("an exchange that became no WebSocket writes one line with its status and fault")
  func http() throws {
    let ring = LogRing()
    var log = AccessLog(ring: ring, metrics: WorkerMetrics())
    let response = ResponseFacts(
      status: 403, duration: .milliseconds(1), fault: "origin_refused", detail: "not_listed",
      bytes: 77)
    let plain = facts(origin: "https://evil\u{1b}[1m", tls: nil)
    log.http(plain, method: { Array("GET".utf8) }, response, wall: 0)
    let written = lines(ring)
    #expect(written.count == 1)
    let line = try object(written[0])
    #expect(line["event"] as? String == "http")
    #expect(line["method"] as? String == "GET")
    #expect(line["tls"] as? Bool == false)
    #expect(line["status"] as? Int == 403)
    #expect(line["fault"] as? String == "origin_refused")
    #expect(line["origin"] as? String == "https://evil\u{1b}[1m")
    #expect(written[0].contains(#"evil\u001b[1m"#))
  }

  @Test("a live socket keeps few bytes, whatever its client sent")
  func kept() throws {
    let hostile = String(repeating: "\u{1}", count: 8000)
    let all = facts(host: hostile, path: hostile, origin: hostile)
    all.subprotocol = Array(hostile.utf8)
    all.route = hostile
    let ring = LogRing()
    var log = AccessLog(ring: ring, metrics: WorkerMetrics())
    log.close(all.kept(), CloseFacts(duration: .zero, closedBy: .client, why: "close"), wall: 0)
    let line = lines(ring)[0]
    #expect(line.utf8.count < 1500)
    _ = try object(line)
    log.open(all, wall: 0)
    #expect(lines(ring)[0].utf8.count < 7 * 1100)
  }

  @Test("dropped lines are counted, and an access log that is off writes nothing")
  func dropped() {
    let metrics = WorkerMetrics()
    var log = AccessLog(ring: LogRing(capacity: 8), metrics: metrics)
    log.open(facts(), wall: 0)
    #expect(metrics.value(.logLinesDropped) == 1)
    var off = AccessLog(ring: nil, metrics: metrics)
    off.open(facts(), wall: 0)
    #expect(metrics.value(.logLinesDropped) == 1)
    #expect(metrics.value(.logLinesWritten) == 0)
  }
}

@Suite("The error log")
struct ErrorLogTests {
  @Test("an event writes one line a minute and tells how many it kept to itself")
  func limited() {
    let ring = LogRing()
    var log = ErrorLog(ring: ring, metrics: WorkerMetrics(), level: .info)
    let start = MonotonicTime(nanoseconds: 5)
    for second in 0..<60 {
      log.write(.connectFailed, now: start + .seconds(Int64(second)), wall: 0) {
        $0.field("endpoint", "[::1]:1")
      }
    }
    log.write(.tlsFailed, now: start, wall: 0)
    log.write(.connectFailed, now: start + .seconds(60), wall: 0)
    let head = #"{"time":"1970-01-01T00:00:00.000Z","level":"warn","#
    let message = #""message":"cannot connect to a backend""#
    #expect(
      lines(ring) == [
        head + message + #","endpoint":"[::1]:1"}"#,
        #"{"time":"1970-01-01T00:00:00.000Z","level":"info","message":"TLS with a client failed"}"#,
        head + message + #","suppressed":59}"#,
      ])
  }

  @Test("what was suppressed last is told when its minute is over")
  func reported() {
    let ring = LogRing()
    var log = ErrorLog(ring: ring, metrics: WorkerMetrics(), level: .info)
    let start = MonotonicTime(nanoseconds: 0)
    log.write(.acceptFailed, now: start, wall: 0)
    log.write(.acceptFailed, now: start, wall: 0)
    #expect(lines(ring).count == 1)
    log.reportSuppressed(now: start + .seconds(59), wall: 0)
    #expect(lines(ring).isEmpty)
    log.reportSuppressed(now: start + .seconds(60), wall: 0)
    #expect(lines(ring).map { $0.hasSuffix(#""suppressed":1}"#) } == [true])
    log.reportSuppressed(now: start + .seconds(120), wall: 0)
    #expect(lines(ring).isEmpty)
  }

  @Test("events below the level are not written; life-cycle events always are")
  func levels() {
    let ring = LogRing()
    var log = ErrorLog(ring: ring, metrics: WorkerMetrics(), level: .warn)
    let now = MonotonicTime(nanoseconds: 0)
    log.write(.tlsFailed, now: now, wall: 0)
    #expect(lines(ring).isEmpty)
    log.write(.signalIgnored, now: now, wall: 0)
    log.write(.signalIgnored, now: now, wall: 0)
    #expect(lines(ring).count == 2)
  }
}
