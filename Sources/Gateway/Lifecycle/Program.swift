// What the commands of the executable do, once their arguments are known.

public import Configuration
import Bytes
import Kernel
import TLS

/// Why a command ended without having run: to be shown, with the exit status that goes with it.
public enum StartFailure: Error {
  /// Mistakes in the configuration or in what it names: status 78.
  case problems([Diagnostic])
  /// The system would not: status 71.
  case system(String)
}

public enum Program {
  /// Everything that a start with `snapshot` would stumble over, and what it would warn of; without
  /// mistakes it would succeed. `whileRunning`: the ports are taken by the gateway that runs, and are
  /// not tried.
  public static func check(
    _ snapshot: Snapshot, whileRunning: Bool = false
  ) -> (mistakes: [Diagnostic], warnings: [Diagnostic]) {
    var preflight = Preflight(snapshot, for: whileRunning ? .checkWhileRunning : .check)
    _ = preflight.prepare()
    return (preflight.mistakes, preflight.warnings)
  }

  /// Runs the gateway until a signal ends it. Returns the exit status. `load` reads the configuration
  /// again, of which `snapshot` and `files` are what it was at first.
  public static func run(
    _ snapshot: Snapshot, _ files: Set<String>, load: @escaping () -> LoadedConfiguration
  ) throws(StartFailure) -> Int32 {
    var supervisor = try Supervisor(snapshot, load: load, files: files)
    return try supervisor.run()
  }

  /// The echo backend alone, on the loopback address. `port` 0: any, told in the log.
  public static func echo(port: UInt16) throws(StartFailure) -> Int32 {
    var log = LogSettings()
    log.access = .off
    let snapshot = Snapshot(
      workers: 1, listeners: [loopback(port, named: "--port")], log: log)
    var supervisor = try Supervisor(snapshot, services: [.echo])
    return try supervisor.run()
  }

  /// The gateway in front of an embedded echo backend, with a page to try it. `ready` is told the
  /// addresses of the page when they can be opened.
  public static func demo(
    httpPort: UInt16, httpsPort: UInt16, ready: (_ http: UInt16, _ https: UInt16) -> Void
  ) throws(StartFailure) -> Int32 {
    guard let made = SelfSigned.make(names: ["localhost", "127.0.0.1", "::1"]) else {
      throw .system("cannot make a certificate")
    }
    let snapshot = demoSnapshot(httpPort, httpsPort)
    let context: TLSContext
    do throws(TLSSetupFailure) {
      context = try TLSContext.server(
        ServerTLS(
          certificates: [
            CertificateSource(
              certificatePEM: made.certificatePEM, keyPEM: made.keyPEM, name: "demo")
          ], minimumVersion: .tls12, protocols: snapshot.listeners[1].protocols.map(\.name)))
    } catch {
      throw .system(error.description)
    }
    var supervisor = try Supervisor(
      snapshot, services: [.gateway, .gateway, .echo], tls: [nil, context, nil], isDemo: true)
    return try supervisor.run { addresses in
      ready(addresses[0].port ?? 0, addresses[1].port ?? 0)
    }
  }

  private static func demoSnapshot(_ httpPort: UInt16, _ httpsPort: UInt16) -> Snapshot {
    let echo = loopback(0, named: "echo")
    var upstream = UpstreamSettings(name: "echo")
    upstream.endpoints = [EndpointSettings(address: echo.bind)]
    var route = RouteSettings(upstreamName: "echo")
    // The page of one port may try the socket of the other: only pages of this machine.
    route.origins.patterns = ["localhost", "127.0.0.1", "[::1]"].flatMap { host in
      [
        OriginPattern(parsing: "http://\(host):\(httpPort)"),
        OriginPattern(parsing: "https://\(host):\(httpsPort)"),
      ].compactMap { $0 }
    }
    var secure = loopback(httpsPort, named: "--https")
    secure.protocols = [.h2, .http11]
    route.webSocket.keepAlive.interval = .seconds(5)
    route.webSocket.keepAlive.timeout = .seconds(10)
    route.webSocket.keepAlive.upstreamInterval = .seconds(5)
    route.webSocket.keepAlive.upstreamTimeout = .seconds(10)
    return Snapshot(
      workers: 1,
      listeners: [loopback(httpPort, named: "--http"), secure, echo], upstreams: [upstream],
      routes: [route])
  }

  private static func loopback(_ port: UInt16, named name: String) -> ListenerSettings {
    var listener = ListenerSettings(
      bind: .hostPort(HostPort(.v4(0x7f00_0001), port: port)))
    listener.location = SourceLocation(file: name)
    return listener
  }
}
