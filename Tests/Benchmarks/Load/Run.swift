// The course of a run: listen, open the connections, warm up, measure between two readings of the
// watched processes, print. Every wait has a deadline.

import Bytes
import Kernel

extension Driver {
  /// Connections that may be in their handshake at once while a run is being set up.
  private static let openingMax = 64

  /// False when the run failed; the results say why.
  mutating func run() -> Bool {
    now = kernel.now()
    switch options.mode {
    case .echo:
      while true { turn() }
    case .message: runMessages()
    case .open: runOpens()
    case .idle: runIdle()
    }
    return results.failures == 0
  }

  private mutating func runMessages() {
    guard openAll(options.clients) else { return }
    clients.driving = true
    driveAll()
    spend(options.warmUpSeconds)
    measure()
  }

  private mutating func runOpens() {
    spend(options.warmUpSeconds)
    measure()
  }

  /// Opens and closes a few first, so that what is loaded once is not counted.
  private mutating func runIdle() {
    guard openAll(20) else { return }
    closeClients()
    spend(1)
    results.memoryBefore = Usage.memoryKiB(of: options.watched)
    guard openAll(options.clients) else { return }
    clients.driving = false
    driveAll()
    spend(options.warmUpSeconds)
    results.memoryAfter = Usage.memoryKiB(of: options.watched)
    measure()
  }

  private mutating func driveAll() {
    for index in 0..<links.indexLimit {
      guard let id = links.id(at: index), links[id].role == .client else { continue }
      drive(id)
      flush(id)
    }
    flushCarriers()
  }

  private mutating func openAll(_ wanted: Int) -> Bool {
    let deadline = kernel.now() + .seconds(60)
    clients.open = 0
    while clients.open < wanted {
      while clients.alive < wanted, clients.alive - clients.open < Driver.openingMax {
        guard startClient() else { return false }
      }
      turn()
      if now > deadline { results.note(failure: "only \(clients.open) connections in 60 s") }
      if results.failures > 0 { return false }
    }
    return true
  }

  private mutating func closeClients() {
    for index in 0..<links.indexLimit {
      guard let id = links.id(at: index), links[id].role == .client else { continue }
      drop(id)
    }
    closeCarriers()
    clients.alive = 0
  }

  private mutating func measure() {
    let cpu = Usage.cpuNanoseconds(of: options.watched)
    let start = kernel.now()
    results.measuring = true
    spend(options.seconds)
    results.measuring = false
    results.windowNanoseconds = (kernel.now() - start).nanoseconds
    if let cpu, let after = Usage.cpuNanoseconds(of: options.watched) {
      results.cpuNanoseconds = after - cpu
    }
  }

  /// Turns until `seconds` are over or too much has failed.
  private mutating func spend(_ seconds: Int) {
    let deadline = kernel.now() + .seconds(Int64(seconds))
    while kernel.now() < deadline, results.failures < 100 {
      if options.mode == .open {
        while clients.alive < options.connections, startClient() {}
      }
      turn()
    }
  }
}
