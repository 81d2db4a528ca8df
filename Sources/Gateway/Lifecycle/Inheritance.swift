// Sockets that were open before this process was: those of the process that it is to replace, or of a
// service manager (sd_listen_fds(3)). A listener takes those of its address. Connections may be waiting
// in each, so that none is closed before there is somebody else who accepts from it.

import Bytes
import Configuration
import Kernel
import TLS

struct Inheritance {
  struct Socket {
    var descriptor: Descriptor
    var address: SocketAddress
    /// `bascule=` and the address as it is configured, when a gateway has opened it.
    var name: String

    var isOurs: Bool { name.hasPrefix(Inheritance.mark) }
  }

  fileprivate static let mark = "bascule="
  /// Names a descriptor to which the successor writes when it serves.
  static let readyVariable = "BASCULE_READY_FD"
  /// What speaks of one process and is not for the next.
  static let variables = [
    "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID", readyVariable,
  ]
  /// More cannot be meant.
  private static let socketsMax = 4_096

  private var sockets: [Socket] = []
  /// The process before waits for this.
  private(set) var predecessor: Wakeup?
  /// What was passed and is of no use.
  private var strangers: [Descriptor] = []

  /// To be asked once, before any descriptor is opened.
  static func ofThisProcess() -> Inheritance {
    var found = Inheritance()
    guard Environment.value("LISTEN_PID").flatMap({ Int32($0) }) == ProcessIdentity.id,
      let count = Environment.value("LISTEN_FDS").flatMap({ Int($0) }),
      count >= 0, count <= socketsMax
    else { return found }
    let names = (Environment.value("LISTEN_FDNAMES") ?? "")
      .split(separator: ":", omittingEmptySubsequences: false).map(String.init)
    for index in 0..<count {
      let descriptor = Descriptor(ChildProcess.firstPassed + Int32(index))
      if let address = Listening.adopt(descriptor) {
        let name = index < names.count ? names[index] : ""
        found.sockets.append(Socket(descriptor: descriptor, address: address, name: name))
      } else {
        found.strangers.append(descriptor)
      }
    }
    if let ready = Environment.value(readyVariable).flatMap({ Int32($0) }) {
      found.predecessor = Wakeup(Descriptor(ready))
    }
    return found
  }

  /// How a socket of ours is called; names are separated by colons, so that they have none.
  static func name(of bind: EndpointAddress) -> String {
    mark + String(bind.description.map { $0 == ":" ? "," : $0 })
  }

  /// Whether a listener will find sockets here, or one with its port that may go.
  func serves(_ bind: EndpointAddress, _ address: SocketAddress) -> Bool {
    !matching(bind, address).isEmpty
      || sockets.contains { address.sharesPort(with: $0.address) }
  }

  /// By the address as it is written, for that may have been a name, or port 0; else as it is.
  private func matching(_ bind: EndpointAddress, _ address: SocketAddress) -> [Socket] {
    let named = sockets.filter { $0.name == Self.name(of: bind) }
    return named.isEmpty ? sockets.filter { $0.address == address } : named
  }

  mutating func claim(_ bind: EndpointAddress, _ address: SocketAddress) -> [Socket] {
    let claimed = matching(bind, address)
    sockets.removeAll { socket in claimed.contains { $0.descriptor == socket.descriptor } }
    return claimed
  }

  /// This process serves: tells the one before, and closes what no listener has claimed. Returns what
  /// that was.
  mutating func settle() -> [Socket] {
    predecessor?.wake()
    predecessor?.close()
    predecessor = nil
    for socket in sockets {
      Listening.close(socket.descriptor)
      if socket.isOurs, case .unix(let path) = socket.address { Files.removeSocket(path) }
    }
    for descriptor in strangers { Listening.close(descriptor) }
    defer {
      sockets = []
      strangers = []
    }
    return sockets
  }
}

extension SocketAddress {
  /// Whether one of the two may be in the way of the other.
  func sharesPort(with other: SocketAddress) -> Bool {
    port != nil && port == other.port && port != 0
  }
}

extension Supervisor {
  /// Spreads a listener's inherited sockets over the workers. With fewer workers one takes several;
  /// with more of them new ones are opened beside those of a gateway, and others are shared.
  func adopt(
    _ inherited: [Inheritance.Socket], _ settings: ListenerSettings, _ tls: TLSContext?,
    _ service: ListenerService
  ) throws(Errno) -> (slot: ListenerSlot, listeners: [Listener]) {
    for socket in inherited {
      try Listening.prepare(socket.descriptor, backlog: settings.backlog)
    }
    let bound = inherited[0].address
    var sockets = inherited.map(\.descriptor)
    // A service manager's may not be joined, or is not known to be.
    while case .ip = bound, inherited[0].isOurs, sockets.count < prepared.workerCount,
      let more = try? Listening.open(bound, backlog: settings.backlog)
    {
      sockets.append(more)
    }
    var listeners: [Listener] = []
    for worker in 0..<prepared.workerCount {
      var next = listener(settings, tls, service, bound)
      next.isShared = sockets.count < prepared.workerCount
      next.sockets = try part(of: worker, sockets)
      listeners.append(next)
    }
    var slot = ListenerSlot(settings, bound, sockets)
    slot.isInherited = true
    slot.foreignName = inherited[0].isOurs ? nil : inherited[0].name
    return (slot, listeners)
  }

  private func part(of worker: Int, _ sockets: [Descriptor]) throws(Errno) -> [Descriptor] {
    if worker >= sockets.count {
      return [try Listening.duplicate(sockets[worker % sockets.count])]
    }
    return stride(from: worker, to: sockets.count, by: prepared.workerCount).map { sockets[$0] }
  }
}
