// Everything a start needs beyond a well-formed configuration: certificates that load, names that
// resolve, addresses that can be bound, descriptors enough. `check` stops after it; `run` goes on.
// Every mistake is reported, with the place in the file that it comes from. What the loader could not
// read is empty here and passed over: that has been reported.

import Configuration
import Bytes
import Kernel
import TLS

/// What a start has found ready.
struct Prepared {
  var snapshot: Snapshot
  var workerCount: Int
  var connections: Int
  var upstreams: [UpstreamPlan]
  /// Per listener of the snapshot.
  var addresses: [SocketAddress]
  /// Of the admin listener.
  var admin: SocketAddress?
  var tls: [TLSContext?]
  /// Whom a process that is root becomes.
  var identity: ProcessAccount?
  /// What is no reason not to start.
  var warnings: [Diagnostic]
  /// What the gateway has chosen by itself, where the configuration leaves it to it.
  var notes: [String]
}

struct Preflight {
  enum Purpose {
    case start, check
    /// The gateway runs and has its ports, so that nothing can be told about them.
    case checkWhileRunning
    /// This process has some of them itself.
    case reload(open: [SocketAddress])
  }

  private static let systemAuthorities = "/etc/ssl/certs/ca-certificates.crt"
  private static let fileBytesMax = 4 << 20
  /// Each bridge has two descriptors; this many are for everything else.
  private static let sparePerProcess = 64

  let snapshot: Snapshot
  let purpose: Purpose
  /// What a start need not open.
  private let inherited: Inheritance
  private var problems: [Diagnostic] = []
  private var remarks: [Diagnostic] = []
  private var notes: [String] = []
  /// Certificates, keys and authorities.
  private(set) var filesRead: Set<String> = []

  init(
    _ snapshot: Snapshot, for purpose: Purpose = .start, inherited: Inheritance = Inheritance()
  ) {
    self.snapshot = snapshot
    self.purpose = purpose
    self.inherited = inherited
    remarks = snapshot.warnings
  }

  /// In the order of the files. What two listeners share by a YAML alias is told once.
  var mistakes: [Diagnostic] { Set(problems).sorted() }
  var warnings: [Diagnostic] { Set(remarks).sorted() }

  /// Nil when there are mistakes.
  mutating func prepare() -> Prepared? {
    let workerCount = snapshot.workers ?? Processors.usable()
    let tls = snapshot.listeners.map { serverContext($0) }
    for listener in snapshot.listeners { checkProtocols(listener) }
    let addresses = snapshot.listeners.map { bindAddress($0.bind, $0.location) }
    let admin = snapshot.admin.flatMap { bindAddress($0.bind, $0.location) }
    let upstreams = snapshot.upstreams.map { upstream($0) }
    let connections = connectionLimit(workers: workerCount)
    let identity = snapshot.user.flatMap { account(of: $0) }
    checkAccessLog()
    guard problems.isEmpty else { return nil }
    return Prepared(
      snapshot: snapshot, workerCount: workerCount, connections: connections,
      upstreams: upstreams, addresses: addresses.compactMap { $0 }, admin: admin, tls: tls,
      identity: identity, warnings: warnings, notes: notes)
  }

  private mutating func account(of settings: UserSettings) -> ProcessAccount? {
    guard var identity = Accounts.user(settings.name) else {
      report(settings.location, "there is no user \(settings.name) here")
      return nil
    }
    if let name = settings.group {
      guard let group = Accounts.group(name) else {
        report(settings.location, "there is no group \(name) here")
        return nil
      }
      identity.group = group
    }
    if identity.isRoot {
      report(settings.location, "user \(settings.name) is root by another name")
      return nil
    }
    return identity
  }

  private mutating func checkAccessLog() {
    guard case .file(let path) = snapshot.log.access,
      let obstacle = Files.obstacle(toLog: path)
    else { return }
    problems.append(snapshot.log.mistake(obstacle))
  }

  // MARK: TLS

  private mutating func serverContext(_ listener: ListenerSettings) -> TLSContext? {
    guard let tls = listener.tls else { return nil }
    let sources = tls.certificates.compactMap { source($0) }
    guard !sources.isEmpty, sources.count == tls.certificates.count else { return nil }
    let minimum: TLSVersion = tls.minimumVersion == .tls13 ? .tls13 : .tls12
    var clients: ClientAuthentication?
    if tls.clientAuth != .none, let path = tls.clientCA {
      guard let authorities = read(path, tls.clientCALocation) else { return nil }
      clients = ClientAuthentication(
        caPEM: authorities, isRequired: tls.clientAuth == .required)
    }
    let settings = ServerTLS(
      certificates: sources, minimumVersion: minimum, protocols: listener.protocols.map(\.name),
      clients: clients)
    do throws(TLSSetupFailure) {
      let context = try TLSContext.server(settings)
      for warning in context.warnings { warn(listener.location, warning) }
      return context
    } catch {
      report(listener.location, error.description)
      return nil
    }
  }

  /// A certificate with its key, tried alone, so that each that is wrong is reported.
  private mutating func source(_ pair: CertificatePair) -> CertificateSource? {
    let certificate = read(pair.certificate, pair.certificateLocation)
    let key = read(pair.key, pair.keyLocation)
    if let key, key.contains("PRIVATE KEY-----".utf8) { checkMode(pair) }
    guard let certificate, let key, isPair(certificate, key, pair) else { return nil }
    let source = CertificateSource(
      certificatePEM: certificate, keyPEM: key, name: pair.certificate)
    do throws(TLSSetupFailure) {
      _ = try TLSContext.server(ServerTLS(certificates: [source]))
      return source
    } catch {
      report(pair.location, "\(pair.certificate) with \(pair.key): \(error.reason)")
      return nil
    }
  }

  /// Whoever has the key is the gateway to every client.
  private mutating func checkMode(_ pair: CertificatePair) {
    guard let mode = Files.permissions(pair.key) else { return }
    let danger =
      if mode & 0o004 != 0 {
        "lets everybody read it"
      } else if mode & 0o022 != 0 {
        "lets others change it"
      } else {
        ""
      }
    guard !danger.isEmpty else { return }
    let octal = String(mode, radix: 8)
    report(
      pair.keyLocation,
      "the mode of the private key \(pair.key) (\(octal)) \(danger): chmod 640 \(pair.key)")
  }

  /// Whether each file holds its kind of PEM (RFC 7468), which OpenSSL would say less plainly.
  private mutating func isPair(
    _ certificate: [UInt8], _ key: [UInt8], _ pair: CertificatePair
  ) -> Bool {
    let certificateEnd = "CERTIFICATE-----".utf8
    let keyEnd = "PRIVATE KEY-----".utf8
    let hasCertificate = certificate.contains(certificateEnd)
    let hasKey = key.contains(keyEnd)
    if !hasCertificate, !hasKey, certificate.contains(keyEnd), key.contains(certificateEnd) {
      report(
        pair.location,
        "\(pair.certificate) holds a private key and \(pair.key) a certificate: swap the two")
      return false
    }
    if !hasCertificate { report(pair.location, "\(pair.certificate) holds no certificate (PEM)") }
    if !hasKey { report(pair.location, "\(pair.key) holds no private key (PEM)") }
    return hasCertificate && hasKey
  }

  private mutating func clientContext(_ tls: UpstreamTLSSettings) -> TLSContext? {
    var authorities: [UInt8]?
    if let path = tls.ca {
      guard let bytes = read(path, tls.location) else { return nil }
      authorities = bytes
    } else if tls.verify {
      // Read now: OpenSSL's own default store is searched on disk during a handshake.
      authorities = try? Files.read(Self.systemAuthorities, maxBytes: Self.fileBytesMax)
    }
    do throws(TLSSetupFailure) {
      return try TLSContext.client(
        ClientTLS(verify: tls.verify, caPEM: authorities, protocols: ["http/1.1"]))
    } catch {
      report(tls.location, error.description)
      return nil
    }
  }

  private mutating func read(_ path: String, _ location: SourceLocation) -> [UInt8]? {
    if path.isEmpty { return nil }
    filesRead.insert(path)
    do throws(FileFailure) {
      return try Files.read(path, maxBytes: Self.fileBytesMax)
    } catch {
      report(location, "cannot read \(path): \(error.description)")
      return nil
    }
  }

  // MARK: Addresses

  private mutating func bindAddress(
    _ bind: EndpointAddress, _ location: SourceLocation
  ) -> SocketAddress? {
    if case .unix("") = bind { return nil }
    guard let address = resolve(bind, location)?.first else { return nil }
    switch purpose {
    case .checkWhileRunning: return address
    // A socket of another address with this port may be one that this reload closes.
    case .reload(let open)
    where open.contains(where: { $0 == address || $0.sharesPort(with: address) }):
      return address
    case .start where inherited.serves(bind, address): return address
    case .start, .check, .reload: break
    }
    if let errno = Listening.probe(address) {
      let hint = errno == .addressInUse ? portHint(location) : ""
      report(location, "cannot listen on \(address): \(errno.description)\(hint)")
      return nil
    }
    return address
  }

  private func portHint(_ location: SourceLocation) -> String {
    if case .check = purpose { return "; if a running gateway has it, check with --running" }
    // Of `demo` and `echo`: a listener stands on the command line, or has its default.
    return location.file.hasPrefix("--") ? "; try \(location.file) PORT with another" : ""
  }

  /// Such a listener may be meant so, and is more often a slip.
  private mutating func checkProtocols(_ listener: ListenerSettings) {
    guard listener.protocols == [.h2] else { return }
    let browsers =
      listener.tls == nil ? "" : ", and browsers that have no HTTP/2 connection to this host,"
    warn(
      listener.location,
      "clients that speak only HTTP/1.1\(browsers) cannot connect here; [h2, http/1.1] serves all")
  }

  private mutating func upstream(_ settings: UpstreamSettings) -> UpstreamPlan {
    var plan = UpstreamPlan(endpoints: [], tls: nil)
    plan.host = settings.host
    plan.addsForwarded = settings.forwarded
    plan.queue = settings.queue
    plan.health = settings.health
    plan.proxyProtocol = settings.proxyProtocol
    if let tls = settings.tls { plan.tls = clientContext(tls) }
    if let sticky = settings.sticky, sticky.cookie != nil, sticky.secret == nil {
      warn(
        settings.location,
        "upstream \(settings.name): sticky has no secret, so its cookies are good for this"
          + " process only")
    }
    var names = EndpointNames()
    plan.endpoints = names.endpoints(of: settings)
    for failure in names.failures {
      report(failure.location, "cannot resolve \(failure.name): \(failure.reason.description)")
    }
    return plan
  }

  private mutating func resolve(
    _ address: EndpointAddress, _ location: SourceLocation
  ) -> [SocketAddress]? {
    switch address {
    case .unix(let path): return [.unix(path)]
    case .hostPort(let pair):
      if let literal = pair.literal { return [.ip(literal, port: pair.port)] }
      do throws(ResolveFailure) {
        return try Resolver.resolve(pair.host).map { .ip($0, port: pair.port) }
      } catch {
        report(location, "cannot resolve \(pair.host): \(error.description)")
        return nil
      }
    }
  }

  // MARK: Descriptors

  /// How many clients at once the descriptor limit carries: two each, and some for the process.
  private mutating func connectionLimit(workers: Int) -> Int {
    let descriptors = (try? DescriptorLimit.raise()).map { Int(clamping: $0) } ?? 1_024
    let admin = snapshot.admin == nil ? 0 : AdminDesk.connectionsMax + 4
    let fixed = Self.sparePerProcess + workers * (snapshot.listeners.count + 4) + admin
    let carried = max(0, descriptors - fixed) / 2
    guard let wanted = snapshot.limits.connections else {
      let chosen = min(carried, 65_536)
      // The limit of the shell that checks is seldom that of the service.
      if chosen < 65_536, case .start = purpose {
        notes.append(
          "limits.connections lowered to \(chosen): the process may open \(descriptors) files")
      }
      if chosen < workers { reportDescriptors(wanted: workers, descriptors, fixed) }
      return chosen
    }
    if wanted > carried { reportDescriptors(wanted: wanted, descriptors, fixed) }
    return wanted
  }

  private mutating func reportDescriptors(wanted: Int, _ descriptors: Int, _ fixed: Int) {
    report(
      SourceLocation(file: firstFile),
      """
      limits.connections: \(wanted) needs \(wanted * 2 + fixed) open files, but the limit is \
      \(descriptors); raise it (ulimit -n, LimitNOFILE=) or lower limits.connections
      """)
  }

  private var firstFile: String { snapshot.listeners.first?.location.file ?? "" }

  private mutating func report(_ location: SourceLocation, _ message: String) {
    problems.append(Diagnostic(location, message))
  }

  private mutating func warn(_ location: SourceLocation, _ message: String) {
    remarks.append(Diagnostic(location, message, isWarning: true))
  }
}
