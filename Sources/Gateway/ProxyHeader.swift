// PROXY headers of connections: in front of a client's first byte, where its listener says so, and of
// ours to a backend, where its upstream says so. A header is believed from trusted proxies only, so
// nobody else's connection gets as far as having one read.

import Bytes
import Configuration
import Kernel
import TLS
import Telemetry
import Wire

private enum TakenHeader {
  case needMore
  case done(source: SocketAddress?, length: Int)
  case violation(ProxyViolation)
}

extension Worker where K: ~Copyable {
  // MARK: In

  /// Whether this peer may say where a connection comes from. Who may connect to a unix socket is the
  /// business of its directory.
  func isTrustedProxy(_ peer: SocketAddress) -> Bool {
    guard let address = peer.ip else { return true }
    return shared.snapshot.trustedProxies.contains { $0.contains(address) }
  }

  mutating func refuseProxy(_ peer: SocketAddress, reason: StaticString) {
    metrics.add(.proxyRefusals)
    let client = peer.description
    errorLog.write(.proxyRefused, now: now, wall: kernel.wallClock()) { line in
      line.field("client", client)
      line.field("reason", word: reason)
    }
  }

  /// The connection ends without its header. Nothing can be answered: what it would speak is unknown.
  mutating func proxyHeaderFailed(_ id: SlotID, _ reason: StaticString) {
    refuseProxy(connections[id].peer, reason: reason)
    closeNow(id)
  }

  /// Takes a header off the first bytes of a connection. True when it is there and `bytes` holds what
  /// came behind it.
  mutating func takeProxyHeader(_ id: SlotID, _ bytes: SharedBuffer) -> Bool {
    let held = connections[id].input.count
    let useful = min(bytes.count, ProxyProtocol.blockBytesMax)
    bytes.withSpan { connections[id].input.append($0.extracting(0..<useful)) }
    switch Self.readHeader(connections[id]) {
    case .needMore: return false
    case .violation(let violation):
      proxyHeaderFailed(id, violation.word)
      return false
    case .done(let source, let length):
      connections[id].input.removeAll()
      // A part of a header was no whole one, so that it ends in these bytes.
      bytes.consume(max(0, length - held))
      return announced(id, source) && !bytes.isEmpty
    }
  }

  private static func readHeader(_ connection: borrowing Connection) -> TakenHeader {
    connection.input.withSpan { bytes in
      do throws(ProxyViolation) {
        switch try ProxyProtocol.parse(bytes) {
        case .needMore: return .needMore
        case .done(let source, let length): return .done(source: source, length: length)
        }
      } catch {
        return .violation(error)
      }
    }
  }

  /// From here on the connection is its client's, and counts as that. False when it is over.
  private mutating func announced(_ id: SlotID, _ source: SocketAddress?) -> Bool {
    if let source { connections[id].peer = source }
    guard admitAnnounced(id) else {
      metrics.add(.limitRefusals)
      closeNow(id)
      return false
    }
    return connections.contains(id)
  }

  // MARK: Out

  /// What a connection to a backend begins with; empty where the upstream asks for nothing.
  mutating func proxyHeader(_ exchange: SlotID, _ upstream: UpstreamPlan) -> [UInt8] {
    let version: ProxyProtocol.Version
    switch upstream.proxyProtocol {
    case .off: return []
    case .v1: version = .v1
    case .v2: version = .v2
    }
    guard let client = exchanges[exchange].client else { return [] }
    return ProxyProtocol.header(
      version, source: source(exchange, client), destination: localAddress(of: client))
  }

  /// The client's address as the log has it: behind trusted proxies the one they name, of whose port
  /// nothing is known.
  private func source(_ exchange: SlotID, _ client: SlotID) -> SocketAddress? {
    guard let name = exchanges[exchange].attempt?.facts.client,
      let address = IPAddress(parsing: name)
    else { return nil }
    let peer = connections[client].peer
    return peer.ip == address ? peer : .ip(address, port: 0)
  }

  /// Of the socket that carries a client's request.
  private mutating func localAddress(of client: SlotID) -> SocketAddress? {
    guard case .stream(let link) = connections[client].role else {
      return kernel.localAddress(of: connections[client].descriptor)
    }
    guard connections.contains(link.front.carrier) else { return nil }
    return kernel.localAddress(of: connections[link.front.carrier].descriptor)
  }
}
