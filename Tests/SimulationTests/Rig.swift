// A whole worker on a simulated machine: one listener, any number of backends, and the test in the
// place of the network. The test decides when time passes; nothing here sleeps.

import Bytes
import Configuration
import Kernel
import Support
import Telemetry
import Testing

@testable import Gateway

/// What a test may change before the worker starts.
struct RigSettings {
  var route = RouteSettings(upstreamName: "backend")
  var limits = Limits()
  var timeouts = Timeouts()
  var trusted: [AddressBlock] = []
  var connections = 64
  var protocols = [ListenerSettings.ApplicationProtocol.http11]
  var expectsProxyHeader = false
  var backends = 1
  /// Behind the backends there is the authorization service of the route.
  var hasService = false
  var seed: UInt64 = 1
  var machine = SimulationOptions.calm

  /// Keep-alive of both sides.
  mutating func keepAlive(_ interval: TimeSpan?, _ timeout: TimeSpan) {
    route.webSocket.keepAlive.interval = interval
    route.webSocket.keepAlive.timeout = timeout
    route.webSocket.keepAlive.upstreamInterval = interval
    route.webSocket.keepAlive.upstreamTimeout = timeout
  }
}

final class Rig {
  static let front = SocketAddress.ip(.v4(0x7f00_0001), port: 8_080)
  static func backendAddress(_ index: Int) -> SocketAddress {
    .ip(.v4(0x0a00_0063 + UInt32(index)), port: 3_000)
  }

  /// A request that the worker answers by itself, with 200 and a few bytes, and keeps the connection.
  static let localRequest = "GET / HTTP/1.1\r\nHost: local.example\r\n\r\n"
  private static var localRoute: RouteSettings {
    var route = RouteSettings(upstreamName: "")
    route.host = .exact("local.example")
    var answer = RespondSettings()
    answer.body = "answered by the worker itself\n"
    route.respond = answer
    return route
  }

  let simulation: Simulation
  let settings: RigSettings
  let metrics = WorkerMetrics()
  let access = LogRing(capacity: 1 << 16)
  let errors = LogRing(capacity: 1 << 16)
  let mailbox = Mailbox()
  let wakeup: Descriptor
  let listener: Descriptor
  /// What is at the upstream's addresses.
  let remotes: [SimulatedRemote]
  var worker: Worker<SimulatedKernel>
  private(set) var turns = 0
  private var accessText = ""

  init(_ edit: (inout RigSettings) -> Void = { _ in }) {
    var settings = RigSettings()
    edit(&settings)
    settings.route.timeouts = settings.timeouts
    self.settings = settings
    simulation = Simulation(seed: settings.seed, options: settings.machine)
    wakeup = simulation.makeWakeup()
    listener = simulation.listen(Self.front)
    var remotes: [SimulatedRemote] = []
    for index in 0..<(settings.backends + (settings.hasService ? 1 : 0)) {
      remotes.append(simulation.remote(at: Self.backendAddress(index)))
    }
    self.remotes = remotes
    settings.route.authorize?.upstream = 1
    let services = settings.hasService ? [UpstreamSettings(name: "http://service")] : []
    let snapshot = Snapshot(
      trustedProxies: settings.trusted,
      upstreams: [UpstreamSettings(name: "backend")] + services,
      routes: [settings.route, Self.localRoute], limits: settings.limits,
      timeouts: settings.timeouts)
    let plan = UpstreamPlan(
      endpoints: (0..<settings.backends).map { EndpointPlan(address: Self.backendAddress($0)) })
    let service = UpstreamPlan(
      endpoints: [EndpointPlan(address: Self.backendAddress(settings.backends))])
    let shared = SharedState(
      snapshot: snapshot, upstreams: [plan] + services.map { _ in service },
      process: ProcessFacts(
        workerCount: 1, connections: settings.connections, accessRing: access, errorRing: errors,
        tag: 7, secret: [7]))
    worker = Worker(
      kernel: simulation.makeKernel(), shared: shared, index: 0, metrics: metrics,
      mailbox: mailbox, wakeup: wakeup,
      listeners: [
        Listener(
          sockets: [listener], service: .gateway, tls: nil, protocols: settings.protocols,
          expectsProxyHeader: settings.expectsProxyHeader, port: 8_080)
      ])
    let hasStarted = worker.start()
    #expect(hasStarted)
  }

  var remote: SimulatedRemote { remotes[0] }
  func count(_ counter: Counter) -> UInt64 { metrics.value(counter) }

  /// Every access line written so far.
  var accessLines: String {
    var bytes: [UInt8] = []
    _ = access.take(upTo: .max, into: &bytes)
    accessText += String(decoding: bytes, as: UTF8.self)
    return accessText
  }

  func post(_ message: WorkerMessage) {
    mailbox.post(message)
    simulation.wake(wakeup)
  }

  // MARK: Time

  /// Lets the worker live for `span` of simulated time.
  func run(_ span: TimeSpan) {
    let end = simulation.now + span
    wake(after: span)
    turn(atMost: span) { simulation.now >= end }
  }

  /// Lets the worker live until `condition` holds, which is looked at every 10 ms of simulated time,
  /// and every millisecond at first; false when it does not within `limit`.
  @discardableResult
  func run(atMost limit: TimeSpan, until condition: () -> Bool) -> Bool {
    let end = simulation.now + limit
    var looks = 0
    while !condition() {
      if simulation.now >= end { return false }
      run(.milliseconds(looks < 50 ? 1 : 10))
      looks += 1
    }
    return true
  }

  /// Turns until `condition` holds, which only the worker's own doing is expected to bring about.
  @discardableResult
  func turn(atMost limit: TimeSpan, until condition: () -> Bool) -> Bool {
    let end = simulation.now + limit
    for _ in 0..<2_000_000 {
      if condition() { return true }
      if simulation.now >= end { return false }
      if worker.isStopped {
        simulation.advance(by: end - simulation.now)
        return condition()
      }
      worker.turn()
      turns += 1
    }
    Issue.record("2,000,000 turns and no end")
    return false
  }

  /// The worker waits for events and its own timers only; this makes it see the time.
  private func wake(after span: TimeSpan) {
    simulation.after(span) { [unowned simulation, wakeup] in simulation.wake(wakeup) }
  }

  /// Turns until nothing is left to do at this very moment.
  func settle() { run(.milliseconds(1)) }

  var isStopped: Bool { worker.isStopped }

  // MARK: At the end

  var isEmpty: Bool {
    worker.connections.count == 0 && worker.exchanges.count == 0 && worker.clients == 0
      && worker.handshakesInFlight == 0 && endpointsInUse == 0
  }

  var endpoints: [Endpoint] { worker.upstreams[0].table.endpoints }
  var endpointsInUse: Int { endpoints.reduce(0) { $0 + $1.inUse } }

  /// Every slot and descriptor is free, and no call was one that a real kernel would punish.
  func expectClean(sourceLocation: Testing.SourceLocation = #_sourceLocation) {
    let connections = worker.connections.count
    let exchanges = worker.exchanges.count
    let clients = worker.clients
    let handshakes = worker.handshakesInFlight
    #expect(connections == 0, sourceLocation: sourceLocation)
    #expect(exchanges == 0, sourceLocation: sourceLocation)
    #expect(clients == 0, sourceLocation: sourceLocation)
    #expect(handshakes == 0, sourceLocation: sourceLocation)
    #expect(metrics.value(.outputWaiting) == 0, sourceLocation: sourceLocation)
    #expect(endpointsInUse == 0, sourceLocation: sourceLocation)
    let own =
      worker.listeners[0].isOpen ? [wakeup.number, listener.number].sorted() : [wakeup.number]
    #expect(simulation.openDescriptors == own, sourceLocation: sourceLocation)
    #expect(simulation.misuses == [], sourceLocation: sourceLocation)
  }
}
