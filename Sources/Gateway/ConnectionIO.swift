// Bytes in and out of sockets: the only callers of `Kernel.receive` and `Kernel.send`. Bytes are
// received into the worker's one shared buffer and go out straight from where they are; only what
// a socket refuses is copied, into that connection's `output`.

import Bytes
import Configuration
import Kernel
import TLS
import Telemetry

extension Worker where K: ~Copyable {
  // MARK: In

  mutating func readReady(_ id: SlotID) {
    if connections[id].isDone { return connectionLost(id, .endOfStream) }
    switch receive(id) {
    case .wouldBlock: return
    case .endOfStream: endOfStream(id)
    case .failed(let errno): connectionLost(id, .failed(errno))
    case .bytes: useReceived(id)
    }
  }

  /// One read into `inbound`.
  private mutating func receive(_ id: SlotID) -> IOOutcome {
    let inbound = self.inbound
    inbound.reset(headroom: Self.headroom)
    return kernel.receive(connections[id].descriptor, into: inbound, limit: readLimit(id))
  }

  private mutating func useReceived(_ id: SlotID) {
    if connections[id].awaitsProxyHeader, !takeProxyHeader(id, inbound) { return }
    if connections[id].tls == nil { deliver(id, inbound) } else { decrypt(id, inbound) }
  }

  /// The peer has sent its last byte. It may still read, so an ending connection keeps its output.
  private mutating func endOfStream(_ id: SlotID) {
    switch connections[id].ending {
    case .open:
      if case .http2 = connections[id].role { return connectionLost(id, .endOfStream) }
      if let exchange = connections[id].exchange, exchanges.contains(exchange),
        case .tunnel = exchanges[exchange].phase
      {
        return tunnelEnded(exchange, id)
      }
      guard connections[id].exchange == nil, !connections[id].output.isEmpty else {
        return connectionLost(id, .endOfStream)
      }
      // It asked, has nothing more to ask, and still reads its answer.
      finish(id, lingering: false)
      connections[id].pauses.insert(.finished)
      updateInterest(id)
    case .lingering: connectionLost(id, .endOfStream)
    case .closeWhenSent, .lingerWhenSent:
      connections[id].ending = .closeWhenSent
      connections[id].pauses.insert(.finished)
      updateInterest(id)
    }
  }

  /// A whole shared buffer on a flowing bridge; 64 KiB before that, and while the other side has
  /// something pending, so that one read adds little to what is waiting.
  private func readLimit(_ id: SlotID) -> Int {
    guard let exchange = connections[id].exchange, exchanges.contains(exchange),
      let other = exchanges[exchange].other(than: id), connections.contains(other)
    else { return Self.smallRead }
    if connections[other].isStream { return streamReadLimit(other) }
    return connections[other].hasUnsent ? Self.smallRead : Self.largeRead
  }

  private mutating func decrypt(_ id: SlotID, _ ciphertext: SharedBuffer) {
    let plaintext = self.plaintext
    let outbound = self.outbound
    plaintext.reset(headroom: Self.headroom)
    outbound.reset()
    let progress = Self.open(&connections[id], ciphertext, plaintext, outbound, now: now)
    outbound.withSpan { put(id, $0) }
    if case .established = progress, !connections[id].isTLSEstablished {
      connections[id].isTLSEstablished = true
      tlsEstablished(id)
    }
    if !plaintext.isEmpty, connections.contains(id) { deliver(id, plaintext) }
    guard connections.contains(id) else { return }
    switch progress {
    case .handshaking, .established: break
    case .closed: endOfStream(id)
    case .failed(let failure): connectionLost(id, .tls(failure))
    }
  }

  private static func open(
    _ connection: inout Connection, _ ciphertext: SharedBuffer, _ plaintext: SharedBuffer,
    _ outbound: SharedBuffer, now: MonotonicTime
  ) -> TLSProgress {
    ciphertext.withSpan {
      connection.tls?.receive($0, now: now, plaintext: plaintext, output: outbound) ?? .closed
    }
  }

  /// Hands received plaintext to whoever the connection works for.
  private mutating func deliver(_ id: SlotID, _ bytes: SharedBuffer) {
    switch connections[id].ending {
    case .open: break
    case .closeWhenSent, .lingerWhenSent, .lingering:
      // It may go on sending until its time is up: a RST could cost it the Close it is owed.
      return metrics.add(.bytesAfterClose, UInt64(bytes.count))
    }
    if let exchange = connections[id].exchange, exchanges.contains(exchange) {
      exchangeReceived(exchange, from: id, bytes)
    } else {
      switch connections[id].role {
      case .echo: echoReceived(id, bytes)
      case .http2(let front): http2Received(id, front, bytes)
      case .front, .stream: bytes.withSpan { requestBytesReceived(id, $0) }
      // Idle, and nobody has asked it for anything.
      case .upstream: closeNow(id)
      case .probe(let probe, _): bytes.withSpan { probeReceived(id, probe, $0) }
      }
    }
  }

  // MARK: Out

  /// Sends plaintext, encrypted where the connection is TLS. `finFollows`: `finish()` is called next.
  mutating func send(_ id: SlotID, _ bytes: Span<UInt8>, finFollows: Bool = false) {
    guard !bytes.isEmpty, connections.contains(id) else { return }
    if connections[id].isStream { return sendOnStream(id, bytes) }
    if connections[id].tls == nil { return put(id, bytes, finFollows: finFollows) }
    let outbound = self.outbound
    outbound.reset()
    let progress = Self.seal(&connections[id], bytes, outbound)
    outbound.withSpan { put(id, $0, finFollows: finFollows) }
    if case .failed = progress { noteFailure(id, .connectionReset) }
  }

  mutating func send(_ id: SlotID, _ bytes: [UInt8]) { send(id, bytes.span) }

  private static func seal(
    _ connection: inout Connection, _ bytes: Span<UInt8>, _ outbound: SharedBuffer
  ) -> TLSProgress {
    connection.tls?.send(bytes, output: outbound) ?? .closed
  }

  /// Puts wire bytes on the socket, or behind those that already wait.
  mutating func put(_ id: SlotID, _ bytes: Span<UInt8>, finFollows: Bool = false) {
    guard !bytes.isEmpty, connections[id].failure == nil else { return }
    var taken = 0
    if connections[id].output.isEmpty {
      switch kernel.send(connections[id].descriptor, bytes, finFollows: finFollows) {
      case .bytes(let count): taken = count
      case .wouldBlock: break
      case .endOfStream: return noteFailure(id, .brokenPipe)
      case .failed(let errno): return noteFailure(id, errno)
      }
      if taken > 0 { bytesTaken(id) }
      if taken == bytes.count { return }
      watchForStall(id)
    }
    connections[id].output.append(bytes.extracting(taken..<bytes.count))
    metrics.change(.outputWaiting, by: Int64(bytes.count - taken))
    updateInterest(id)
    pauseSourceIfFull(id)
  }

  /// The socket takes bytes again.
  mutating func writeReady(_ id: SlotID) {
    guard !connections[id].output.isEmpty else { return updateInterest(id) }
    switch Self.flush(&kernel, &connections[id]) {
    case .wouldBlock: return
    case .endOfStream: return noteFailure(id, .brokenPipe)
    case .failed(let errno): return noteFailure(id, errno)
    case .bytes(let count):
      connections[id].output.consume(count)
      metrics.change(.outputWaiting, by: -Int64(count))
      bytesTaken(id)
      if case .upstream = connections[id].role, let exchange = connections[id].exchange {
        startRequestBody(exchange)
      }
      guard connections.contains(id) else { return }
    }
    resumeSourceIfDrained(id)
    guard connections.contains(id) else { return }
    if connections[id].output.isEmpty { outputDrained(id) } else { watchForStall(id) }
  }

  /// A writer that makes no progress is dropped. A stricter deadline (handshake, head, close) stays.
  mutating func watchForStall(_ id: SlotID) {
    switch connections[id].timeout {
    case .none, .writeStall, .requestBody, .keepAliveIdle, .http2Silence:
      setTimeout(id, .writeStall, after: writeStall(id))
    case .tlsHandshake, .requestHead, .lingering, .adminAnswer, .http2Drain: break
    }
  }

  private static func flush(_ kernel: inout K, _ connection: inout Connection) -> IOOutcome {
    let descriptor = connection.descriptor
    return connection.output.withSpan { kernel.send(descriptor, $0) }
  }

  mutating func outputDrained(_ id: SlotID) {
    updateInterest(id)
    if connections[id].timeout == .writeStall { stallIsOver(id) }
    if let exchange = connections[id].exchange { exchangeOutputDrained(exchange, id) }
    guard connections.contains(id) else { return }
    if connections[id].isFinDue { sendFin(id) }
    if case .http2(let front) = connections[id].role { markForSending(front) }
    switch connections[id].ending {
    case .open, .lingering: break
    case .closeWhenSent: closeNow(id)
    case .lingerWhenSent: beginLingering(id)
    }
  }

  private mutating func stallIsOver(_ id: SlotID) {
    clearTimeout(id)
    switch connections[id].role {
    case .front where connections[id].exchange == nil:
      setTimeout(id, .keepAliveIdle, after: shared.timeouts.keepAlive)
    case .http2(let front): setHTTP2Timeout(id, front)
    case .front, .stream, .upstream, .probe, .echo: break
    }
  }

  /// The first bytes a socket takes tell that a connect has succeeded.
  private mutating func bytesTaken(_ id: SlotID) {
    if case .upstream = connections[id].role, let exchange = connections[id].exchange {
      exchangeConnected(exchange)
    }
  }

  /// A send failed in the middle of something else: the connection ends when that is over.
  mutating func noteFailure(_ id: SlotID, _ errno: Errno) {
    guard connections[id].failure == nil else { return }
    connections[id].failure = errno
    casualties.append(id)
  }

  // MARK: Closing

  /// Ends a connection politely: what is queued goes out first. `lingering` reads on until the
  /// peer's FIN, because closing a socket with unread bytes sends a RST that can destroy what the
  /// peer has not read yet. `hurried`: the close time-out also covers what is queued; otherwise a
  /// reader that makes progress gets it all.
  mutating func finish(_ id: SlotID, lingering: Bool, hurried: Bool = false) {
    guard connections.contains(id) else { return }
    guard case .open = connections[id].ending else { return }
    if connections[id].isStream { return finishStream(id, hurried: hurried) }
    let outbound = self.outbound
    outbound.reset()
    connections[id].tls?.closeNotify(output: outbound)
    outbound.withSpan { put(id, $0, finFollows: true) }
    connections[id].pauses = []
    connections[id].ending = lingering ? .lingerWhenSent : .closeWhenSent
    guard connections[id].output.isEmpty else {
      clearTimeout(id)
      if hurried { setTimeout(id, .lingering, after: closeTimeout(id)) } else { watchForStall(id) }
      return updateInterest(id)
    }
    if lingering { beginLingering(id) } else { closeNow(id) }
  }

  /// Passes a half-close on: our FIN follows what is queued, and reading goes on.
  mutating func sendFin(_ id: SlotID) {
    if connections[id].isStream { return endStream(id) }
    let outbound = self.outbound
    outbound.reset()
    connections[id].tls?.closeNotify(output: outbound)
    outbound.withSpan { put(id, $0) }
    connections[id].isFinDue = !connections[id].output.isEmpty
    if !connections[id].isFinDue { kernel.shutdownWrite(connections[id].descriptor) }
  }

  private mutating func beginLingering(_ id: SlotID) {
    kernel.shutdownWrite(connections[id].descriptor)
    connections[id].ending = .lingering
    // A drain need not wait long for peers that have been told.
    let patience = closeTimeout(id)
    setTimeout(
      id, .lingering, after: drainDeadline == nil ? patience : min(patience, .seconds(1)))
    updateInterest(id)
  }

  mutating func closeNow(_ id: SlotID) {
    if connections.contains(id), connections[id].isStream { return closeStream(id) }
    guard let descriptor = forget(id) else { return }
    kernel.close(descriptor)
  }

  /// Ends with a RST, for a peer that must not take what it has for complete.
  mutating func abortNow(_ id: SlotID) {
    if connections.contains(id), connections[id].isStream { return abortStream(id) }
    guard let descriptor = forget(id) else { return }
    kernel.abort(descriptor)
  }

  private mutating func forget(_ id: SlotID) -> Descriptor? {
    guard let connection = connections.remove(id) else { return nil }
    if connection.listener != nil {
      clientGone(connection.peer, isCounted: !connection.awaitsProxyHeader)
    }
    if case .upstream = connection.role { metrics.change(.backendConnections, by: -1) }
    if connection.isIdle { metrics.change(.poolIdle, by: -1) }
    if !connection.output.isEmpty {
      metrics.change(.outputWaiting, by: -Int64(connection.output.count))
    }
    let descriptor = connection.descriptor
    if case .http2(let front) = connection.role { loseStreams(front) }
    return descriptor
  }

  /// Bytes towards the peer that it has not acknowledged, as far as this host knows.
  mutating func backlog(_ id: SlotID) -> Int {
    guard case .stream(let link) = connections[id].role else {
      return kernel.unacknowledged(connections[id].descriptor)
    }
    let carrier = link.front.carrier
    guard connections.contains(carrier) else { return 0 }
    return connections[id].queued + connections[carrier].output.count
      + kernel.unacknowledged(connections[carrier].descriptor)
  }

  /// A connection ended without our wish. Whoever uses it is told afterwards.
  mutating func connectionLost(_ id: SlotID, _ loss: ConnectionLoss) {
    guard connections.contains(id) else { return }
    let exchange = connections[id].exchange
    if case .probe(let probe, _) = connections[id].role { return probeLost(probe, loss) }
    if exchange == nil { noteLoss(id, loss) }
    // The system would keep and resend for minutes what a stalled peer has not taken.
    if loss == .writeStalled { abortNow(id) } else { closeNow(id) }
    if let exchange, exchanges.contains(exchange) { legLost(exchange, id, loss) }
  }

  mutating func reapCasualties() {
    while let id = casualties.popLast() {
      readLastWords(id)
      guard connections.contains(id), let errno = connections[id].failure else { continue }
      connectionLost(id, .failed(errno))
    }
  }

  /// What a peer sent before it hung up (a last message, its Close, an early answer) is still there
  /// when a send to it fails, and would be lost with the socket.
  private mutating func readLastWords(_ id: SlotID) {
    for _ in 0..<Self.lastReadsMax {
      guard connections.contains(id), connections[id].pauses.isEmpty, !connections[id].isDone,
        hasExchanges(id), case .bytes = receive(id)
      else { return }
      useReceived(id)
    }
  }

  private func hasExchanges(_ id: SlotID) -> Bool {
    if case .http2(let front) = connections[id].role { return !front.streams.isEmpty }
    return connections[id].exchange != nil
  }

  // MARK: Interest

  /// Tells epoll what the connection now wants. A pause is told only when the peer does send in the
  /// meantime (`readyWhilePaused`), which it seldom does: two system calls less per handshake.
  mutating func updateInterest(_ id: SlotID) {
    if connections[id].isStream { return }
    var wanted = connections[id].wantedInterest
    if connections[id].isUnwatched {
      guard !wanted.isEmpty else { return }
      connections[id].isUnwatched = false
      connections[id].interest = wanted
      if !kernel.watch(connections[id].descriptor, wanted, token: id.packed) {
        noteFailure(id, .noMemory)
      }
      return
    }
    if connections[id].interest.contains(.read) { wanted.insert(.read) }
    rewatch(id, wanted)
  }

  private mutating func rewatch(_ id: SlotID, _ wanted: Interest) {
    guard wanted != connections[id].interest else { return }
    connections[id].interest = wanted
    if !kernel.rewatch(connections[id].descriptor, wanted, token: id.packed) {
      noteFailure(id, .noMemory)
    }
  }

  /// A socket that is not to be read has something. An error or hang-up would be reported without
  /// end, so that socket leaves epoll until it is to be used again.
  mutating func readyWhilePaused(_ id: SlotID, isBroken: Bool) {
    guard isBroken else { return rewatch(id, connections[id].wantedInterest) }
    // Nothing can be answered to a client that has reset: its handshake ends here.
    if connections[id].pauses.contains(.awaitingAnswer) {
      return connectionLost(id, .failed(.connectionReset))
    }
    guard !connections[id].isUnwatched else { return }
    kernel.unwatch(connections[id].descriptor)
    connections[id].isUnwatched = true
  }
}
