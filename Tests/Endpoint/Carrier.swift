// One TCP connection that carries HTTP/2 streams: socket, TLS where there is some, `HTTP2Client`. Owned
// by a driver's slab. What the streams are for is the driver's business.

public import Bytes
public import Kernel
public import TLS

/// The buffers of a driver, lent to one carrier at a time.
public struct CarrierBuffers {
  let input = SharedBuffer(capacity: 256 << 10)
  let plaintext = SharedBuffer(capacity: 256 << 10)
  let frames = SharedBuffer(capacity: 512 << 10)
  let records = SharedBuffer(capacity: 512 << 10)

  public init() {}
}

public struct Carrier: ~Copyable {
  /// Why a connection is of no use any more.
  public enum Loss: Equatable {
    case connect(Errno)
    case closed
    case failed(Errno)
    case tls(TLSFailure)
    /// The server did not agree on "h2".
    case noHTTP2
    /// It broke RFC 9113, or nghttp2 is out of memory.
    case brokenProtocol
  }

  private enum State { case connecting, securing, open }

  public let descriptor: Descriptor
  public let http: HTTP2Client
  /// The driver's names of those that are on it, or will be once the server's SETTINGS are here.
  public var streams: [SlotID] = []
  public var isReady = false
  /// Our end is closed.
  public private(set) var hasLeft = false
  private var state = State.connecting
  private var tls: TLSSession?
  /// What the socket did not take.
  private var pending = ByteQueue()
  private var interest = Interest.write

  /// For a socket that is connecting, watched for `.write`.
  public init(_ descriptor: Descriptor, _ http: HTTP2Client, tls: consuming TLSSession?) {
    self.descriptor = descriptor
    self.http = http
    self.tls = tls
  }

  public var hasPending: Bool { !pending.isEmpty }

  /// Handles an epoll event: receives at most `limit` bytes and appends what they mean to `events`,
  /// which are valid even if the connection is lost with them.
  public mutating func handle(
    _ event: Event, at now: MonotonicTime, limit: Int, on kernel: inout LinuxKernel,
    _ buffers: CarrierBuffers, into events: inout [StreamEvent]
  ) -> Loss? {
    if state == .connecting {
      return event.writable || event.broken ? connected(&kernel, buffers) : nil
    }
    guard event.readable || event.broken else { return nil }
    buffers.input.reset()
    switch kernel.receive(descriptor, into: buffers.input, limit: limit) {
    case .bytes: break
    case .wouldBlock: return nil
    case .endOfStream: return .closed
    case .failed(let error): return .failed(error)
    }
    if tls == nil {
      let isSound = buffers.input.withSpan { http.receive($0, into: &events) }
      return isSound ? nil : .brokenProtocol
    }
    return decrypt(now, buffers, into: &events)
  }

  /// Where the ranges of the last events lie.
  public func received(_ buffers: CarrierBuffers) -> SharedBuffer {
    tls == nil ? buffers.input : buffers.plaintext
  }

  private mutating func connected(
    _ kernel: inout LinuxKernel, _ buffers: CarrierBuffers
  ) -> Loss? {
    if let error = kernel.pendingError(descriptor) { return .connect(error) }
    state = tls == nil ? .open : .securing
    buffers.records.reset()
    _ = tls?.start(output: buffers.records)
    buffers.records.withSpan { pending.append($0) }
    return nil
  }

  private mutating func decrypt(
    _ now: MonotonicTime, _ buffers: CarrierBuffers, into events: inout [StreamEvent]
  ) -> Loss? {
    buffers.plaintext.reset()
    buffers.records.reset()
    let progress = buffers.input.withSpan {
      tls?.receive($0, now: now, plaintext: buffers.plaintext, output: buffers.records)
    }
    buffers.records.withSpan { pending.append($0) }
    if state == .securing, tls?.isEstablished == true {
      if tls?.protocolName != "h2" { return .noHTTP2 }
      state = .open
    }
    let isSound = buffers.plaintext.withSpan { http.receive($0, into: &events) }
    switch progress {
    case .closed: return .closed
    case .failed(let failure): return .tls(failure)
    case .handshaking, .established, nil: return isSound ? nil : .brokenProtocol
    }
  }

  /// Sends at most `limit` bytes of what waits and of what the streams have, sealed and sent together.
  public mutating func flush(
    limit: Int = .max, on kernel: inout LinuxKernel, _ buffers: CarrierBuffers
  ) -> Loss? {
    if hasLeft { return nil }
    var left = limit
    while !pending.isEmpty, left > 0 {
      let count = min(left, pending.count)
      let descriptor = descriptor
      switch pending.withSpan({ kernel.send(descriptor, $0.extracting(0..<count)) }) {
      case .bytes(let taken):
        pending.consume(taken)
        left -= taken
      case .wouldBlock: return nil
      case .endOfStream: return .closed
      case .failed(let error): return .failed(error)
      }
    }
    while state == .open, pending.isEmpty, http.wantsToSend {
      buffers.frames.reset()
      guard http.send(into: buffers.frames, limit: 256 << 10) else { return .brokenProtocol }
      // What is left is held by the windows.
      if buffers.frames.isEmpty { break }
      if let loss = send(sealed(buffers), &left, &kernel) { return loss }
    }
    return nil
  }

  /// The frames as they go on the wire.
  private mutating func sealed(_ buffers: CarrierBuffers) -> SharedBuffer {
    if tls == nil { return buffers.frames }
    buffers.records.reset()
    _ = buffers.frames.withSpan { tls?.send($0, output: buffers.records) }
    return buffers.records
  }

  /// Sends from `bytes`; what is not taken waits.
  private mutating func send(
    _ bytes: SharedBuffer, _ left: inout Int, _ kernel: inout LinuxKernel
  ) -> Loss? {
    while !bytes.isEmpty, left > 0 {
      let count = min(left, bytes.count)
      switch bytes.withSpan({ kernel.send(descriptor, $0.extracting(0..<count)) }) {
      case .bytes(let taken):
        bytes.consume(taken)
        left -= taken
      case .wouldBlock: left = 0
      case .endOfStream: return .closed
      case .failed(let error): return .failed(error)
      }
    }
    bytes.withSpan { pending.append($0) }
    return nil
  }

  /// Closes our end, once; the server's answer is the loss `closed`.
  public mutating func leave(on kernel: inout LinuxKernel, _ buffers: CarrierBuffers) {
    if hasLeft { return }
    hasLeft = true
    buffers.records.reset()
    tls?.closeNotify(output: buffers.records)
    _ = buffers.records.withSpan { kernel.send(descriptor, $0) }
    kernel.shutdownWrite(descriptor)
  }

  /// Tells epoll what to wait for; `.write` is added while something waits.
  public mutating func settle(
    _ wanted: Interest, _ id: SlotID, on kernel: inout LinuxKernel
  ) {
    let wanted = pending.isEmpty && state != .connecting ? wanted : wanted.union(.write)
    if interest == wanted { return }
    interest = wanted
    _ = kernel.rewatch(descriptor, wanted, token: Token.carrier(id).packed)
  }
}
