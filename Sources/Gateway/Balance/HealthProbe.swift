// Checks of endpoints: a request of the gateway's own, over HTTP or as a real WebSocket handshake, each
// on a connection of its own, for a server that takes no connections is not in order either. One worker
// makes them for all; what they come to is in the `Endpoint`, which all workers see.

import Bytes
import Configuration
import Kernel
import TLS
import Telemetry
import Wire

/// The checks of one endpoint, one at a time.
final class HealthProbe {
  let upstream: WorkerUpstream
  let endpoint: Endpoint
  /// As they were when the check began.
  var settings: HealthSettings
  /// While a check is under way.
  var connection: SlotID?
  /// What the Sec-WebSocket-Accept must be.
  var expectedAccept: [UInt8] = []
  var informational = 0
  /// Of the check under way, or when the next one begins.
  var deadline = MonotonicTime.never

  init(_ upstream: WorkerUpstream, _ endpoint: Endpoint, _ settings: HealthSettings) {
    self.upstream = upstream
    self.endpoint = endpoint
    self.settings = settings
  }
}

extension Worker where K: ~Copyable {
  private static var informationalMax: Int { 8 }

  /// Begins with the checks of every endpoint of `upstream` that has none yet.
  mutating func beginProbes(_ upstream: WorkerUpstream) {
    guard index == 0, let settings = upstream.plan.health else { return }
    for endpoint in upstream.table.endpoints where probes[endpoint.id] == nil {
      let probe = HealthProbe(upstream, endpoint, settings)
      probes[endpoint.id] = probe
      schedule(probe, after: .zero)
    }
  }

  private mutating func schedule(_ probe: HealthProbe, after span: TimeSpan) {
    probe.deadline = now + span
    timers.add(.probe(probe.endpoint.id), at: probe.deadline)
  }

  mutating func probeDue(_ id: UInt64, _ deadline: MonotonicTime) {
    guard let probe = probes[id], probe.deadline == deadline else { return }
    if probe.connection != nil { return probeEnded(probe, "timed out") }
    let isCurrent = upstreams.contains { $0 === probe.upstream }
    guard drainDeadline == nil, isCurrent, probe.upstream.table.holds(probe.endpoint),
      let settings = probe.upstream.plan.health
    else {
      probes[id] = nil
      return
    }
    probe.settings = settings
    beginCheck(probe)
  }

  private mutating func beginCheck(_ probe: HealthProbe) {
    metrics.add(.healthChecks)
    schedule(probe, after: probe.settings.timeout)
    let descriptor: Descriptor
    switch kernel.connect(probe.endpoint.plan.address) {
    case .connected(let made), .inProgress(let made): descriptor = made
    case .failed(let errno):
      // What this process lacks says nothing about the endpoint.
      return errno.isOwnShortage ? checkLater(probe) : probeEnded(probe, errno.description)
    }
    let id: SlotID
    do throws(Fault) {
      let role = ConnectionRole.probe(probe, ResponseParser(limits: shared.responseLimits))
      id = try open(descriptor, to: probe.endpoint.plan, of: probe.upstream.plan, role)
    } catch {
      return checkLater(probe)
    }
    probe.connection = id
    probe.informational = 0
    // Under TLS it is made and sent behind the handshake.
    let request = connections[id].tls == nil ? checkRequest(probe) : []
    begin(id, header: probe.upstream.plan.proxyHeaderOfOurs) { request }
    if connections.contains(id) { updateInterest(id) }
  }

  /// The TLS handshake is complete.
  mutating func probeEstablished(_ id: SlotID, _ probe: HealthProbe) {
    send(id, checkRequest(probe))
  }

  private mutating func checkRequest(_ probe: HealthProbe) -> [UInt8] {
    var writer = HeadWriter(reserving: 256)
    let path = Array(probe.settings.path.utf8)
    let method: [UInt8] = Array("GET".utf8)
    _ = writer.requestLine(method.span, path: path.span, query: nil)
    let host = probe.upstream.plan.checkHost(of: probe.endpoint.plan)
    writer.field("Host", host.span)
    if probe.settings.webSocket {
      let key = freshKey()
      probe.expectedAccept = Self.accept(key)
      Handshake.appendRequestFields(key: key.span, offer: HandshakeOffer(key: []), to: &writer)
    } else {
      writer.field("Connection", literal: "close")
    }
    writer.field("User-Agent", literal: "bascule-health")
    writer.end()
    return writer.bytes
  }

  // MARK: The answer

  mutating func probeReceived(_ id: SlotID, _ probe: HealthProbe, _ bytes: Span<UInt8>) {
    connections[id].input.append(bytes)
    do throws(HTTPViolation) {
      while let head = try Self.parseAnswer(&connections[id], in: &headRoom) {
        if head.isInterim {
          probe.informational += 1
          guard probe.informational <= Self.informationalMax else {
            return probeEnded(probe, "too many interim responses")
          }
        } else {
          return probeAnswered(id, probe, head)
        }
      }
    } catch {
      probeEnded(probe, error.word.description)
    }
  }

  private mutating func probeAnswered(_ id: SlotID, _ probe: HealthProbe, _ head: ResponseHead) {
    guard probe.settings.webSocket else {
      return probeEnded(
        probe, probe.settings.expect.contains(head.status) ? nil : "status \(head.status)")
    }
    guard head.status == 101 else { return probeEnded(probe, "status \(head.status), not 101") }
    do throws(AnswerViolation) {
      let expected = probe.expectedAccept
      _ = try Handshake.validateAnswer(
        head, expectedAccept: expected.span, offer: HandshakeOffer(key: []))
    } catch {
      return probeEnded(probe, error.word.description)
    }
    // It is told that nothing is wrong: servers log what ends without a Close.
    var frame: [UInt8] = []
    let payload = FrameWriter.closePayload(code: 1000)
    let mask = UInt32(truncatingIfNeeded: kernel.random())
    FrameWriter.appendFrame(.close, mask: mask, payload: payload.span, to: &frame)
    send(id, frame)
    probeEnded(probe, nil)
  }

  mutating func probeLost(_ probe: HealthProbe, _ loss: ConnectionLoss) {
    let reason =
      switch loss {
      case .endOfStream: "closed without an answer"
      case .failed(let errno): errno.description
      case .tls(let failure): failure.reason
      case .writeStalled, .timedOut: "timed out"
      }
    probeEnded(probe, reason)
  }

  /// `complaint`: what is wrong with the endpoint; nil: nothing.
  private mutating func probeEnded(_ probe: HealthProbe, _ complaint: String?) {
    if let id = probe.connection, connections.contains(id) { closeNow(id) }
    probe.connection = nil
    if complaint != nil { metrics.add(.healthChecksFailed) }
    let change = probe.endpoint.checked(
      passed: complaint == nil, now, rise: probe.settings.rise, fall: probe.settings.fall)
    note(change, probe.upstream, probe.endpoint, detail: complaint)
    checkLater(probe)
  }

  /// The jitter keeps many gateways from asking at the same moment.
  private mutating func checkLater(_ probe: HealthProbe) {
    let interval = probe.settings.interval.nanoseconds
    let jitter = Int64(kernel.random() % 201) - 100
    schedule(probe, after: TimeSpan(nanoseconds: interval + interval / 1_000 * jitter))
  }
}

extension UpstreamPlan {
  /// Of a connection that is for no client.
  fileprivate var proxyHeaderOfOurs: [UInt8] {
    switch proxyProtocol {
    case .off: []
    case .v1: ProxyProtocol.header(.v1, source: nil, destination: nil)
    case .v2: ProxyProtocol.header(.v2, source: nil, destination: nil)
    }
  }

  fileprivate func checkHost(of endpoint: EndpointPlan) -> [UInt8] {
    if let host = endpoint.host { return host }
    if case .name(let authority) = host { return Array(authority.description.utf8) }
    if case .unix = endpoint.address { return Array("localhost".utf8) }
    return Array(endpoint.address.description.utf8)
  }
}
