// What a start says about itself in the log.

import Bytes
import Configuration
import Kernel
import TLS
import Telemetry
import Wire

extension Supervisor {
  mutating func announce(_ bound: [SocketAddress]) {
    let now = kernel.now()
    let wall = kernel.wallClock()
    let workerCount = prepared.workerCount
    let connections = prepared.connections
    log.write(.started, now: now, wall: wall) { line in
      line.field("version", Version.text)
      line.field("libraries", Version.libraries)
      line.field("workers", UInt64(workerCount))
      line.field("connections", UInt64(connections))
    }
    for index in bound.indices { announceListener(index, bound[index], now, wall) }
    if let address = admin?.bound.description {
      log.write(.listening, now: now, wall: wall) { line in
        line.field("address", address)
        line.field("service", word: "admin")
      }
    }
    announceMissingDefences(wall)
    for note in prepared.notes { log.remark(note, .info, wall: wall) }
    for warning in prepared.warnings { log.remark(warning.description, .warn, wall: wall) }
  }

  private mutating func announceListener(
    _ index: Int, _ address: SocketAddress, _ now: MonotonicTime, _ wall: Int64
  ) {
    let isTLS = prepared.tls[index] != nil
    let isEcho = services[index] == .echo
    let isInherited = slots[index].isInherited
    let protocols = prepared.snapshot.listeners[index].protocols.map(\.name)
    log.write(.listening, now: now, wall: wall) { line in
      line.field("address", address.description)
      line.field("tls", word: isTLS ? "on" : "off")
      line.field("protocols", protocols.joined(separator: ", "))
      if isInherited { line.field("socket", word: "inherited") }
      if isEcho { line.field("service", word: "echo backend") }
    }
  }

  /// The library's own limits against floods come behind ours; an old one is worth knowing of.
  private mutating func announceMissingDefences(_ wall: Int64) {
    let missing = HTTP2Session.missingOptions.map(\.description).joined(separator: ", ")
    let speaksHTTP2 = prepared.snapshot.listeners.contains { $0.protocols.contains(.h2) }
    guard speaksHTTP2, !missing.isEmpty else { return }
    log.remark(
      "nghttp2 \(HTTP2Session.libraryVersion) lacks \(missing); the gateway's own limits hold",
      .info, wall: wall)
  }
}
