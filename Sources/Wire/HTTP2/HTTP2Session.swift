// One end of an HTTP/2 connection (RFC 9113, RFC 8441): bytes in, events out, bytes out. No I/O, no
// clock. nghttp2 keeps the states of the streams; what a peer may cost us is decided here. Owned by
// one connection and used from its thread. A class, because the library keeps its address.

public import Bytes

public final class HTTP2Session {
  private let library: NGHTTP2
  private let limits: HTTP2Limits
  private var watch: FrameWatch
  private var madeResets: HTTP2Budget
  /// Control frames that wait for `send`. They leave the library as soon as they arise, so that a
  /// connection error is known at once.
  private var control = SharedBuffer(capacity: HTTP2Session.controlBytes)
  private var controlFrames = 0
  /// Why the connection is over, once it is. What is queued should still be sent.
  public private(set) var failure: HTTP2Violation?

  private init(_ library: consuming NGHTTP2, _ limits: HTTP2Limits) {
    self.library = library
    self.limits = limits
    watch = FrameWatch(limits)
    madeResets = HTTP2Budget(limits.ourResets)
  }

  /// The server's end; its SETTINGS are queued. Nil only when memory is out.
  public static func server(_ limits: HTTP2Limits, now: MonotonicTime) -> HTTP2Session? {
    guard let library = NGHTTP2(server: limits) else { return nil }
    let session = HTTP2Session(library, limits)
    session.queueSettings()
    return session
  }

  /// The library has been told of more streams than the peer is to know of.
  private func queueSettings() {
    var events: [HTTP2Event] = []
    drainControl(&events)
    var bytes = control.withSpan { span in (0..<span.count).map { span[$0] } }
    let streams = UInt32(clamping: limits.streams)
    // Behind the frame header and the identifier of the first entry.
    for index in 0..<4 {
      bytes[11 + index] = UInt8(truncatingIfNeeded: streams >> UInt32(24 - 8 * index))
    }
    control.reset()
    control.append(bytes)
  }

  /// Feeds everything that was received. Appends events in the order of the wire; ranges in them
  /// are offsets into `bytes`.
  public func receive(
    _ bytes: Span<UInt8>, now: MonotonicTime, events: inout [HTTP2Event]
  ) -> HTTP2Progress {
    if let failure { return .failed(failure) }
    watch.sent(library.takeFramesSent())
    let (end, violation) = watch.watch(bytes, now)
    feed(bytes.extracting(0..<end), now, &events)
    // What comes first on the wire counts.
    if let violation { fail(violation) }
    return failure.map { .failed($0) } ?? .open
  }

  private func feed(_ bytes: Span<UInt8>, _ now: MonotonicTime, _ events: inout [HTTP2Event]) {
    switch library.feed(bytes, events: &events) {
    case .taken:
      library.returnConnectionCredit()
      drainControl(&events)
    case .badPreface: fail(.badPreface)
    case .broken: fail(.libraryGaveUp)
    }
    for _ in 0..<library.takeMadeResets() where !madeResets.take(now) { fail(.madeResetFlood) }
  }

  /// Moves everything but DATA from the library to `control`.
  private func drainControl(_ events: inout [HTTP2Event]) {
    guard library.queuedFrames > 0 else { return }
    let before = library.framesSent
    // No DATA goes, and no memory with it.
    var spare = SpareBytes()
    drain(into: control, limit: 0, &events, &spare)
    controlFrames += library.framesSent - before
    guard controlFrames > limits.queuedControl else { return }
    control.reset()
    fail(.queuedControlFlood)
  }

  private func drain(
    into output: SharedBuffer, limit: Int, _ events: inout [HTTP2Event],
    _ spare: inout SpareBytes
  ) {
    let isAlive = library.drain(into: output, limit: limit, events: &events, spare: &spare)
    if let code = library.terminated {
      failure = HTTP2Violation(libraryCode: code)
    } else if !isAlive {
      fail(.libraryGaveUp)
    }
  }

  /// Queues GOAWAY by hand: it has to get out even when the library does nothing any more.
  private func fail(_ violation: HTTP2Violation, _ code: HTTP2ErrorCode? = nil) {
    guard failure == nil else { return }
    failure = violation
    let last = UInt64(UInt32(bitPattern: library.lastStream))
    let words = last << 32 | UInt64((code ?? violation.code).rawValue)
    control.append([0, 0, 8, 7, 0, 0, 0, 0, 0])
    for shift in stride(from: 56, through: 0, by: -8) {
      control.append(UInt8(truncatingIfNeeded: words >> UInt64(shift)))
    }
  }

  // MARK: Streams

  /// Whether the stream is still there. A request that was reset in the same call in which it came
  /// need not be served.
  public func isOpen(_ stream: Int32) -> Bool { library.isOpen(stream) }
  /// Keeps an opaque word for the stream's owner.
  public func setOwner(_ stream: Int32, _ owner: UInt64) { library.setOwner(stream, owner) }
  /// Nil when the stream is gone or has none.
  public func owner(of stream: Int32) -> UInt64? { library.owner(stream) }

  /// Queues the response's HEADERS. `ends`: END_STREAM is on it. False when the stream is gone, has
  /// been answered, or the status is not final.
  @discardableResult
  public func respond(_ stream: Int32, status: UInt16, fields: FieldBlock, ends: Bool) -> Bool {
    library.respond(stream, status: status, fields: fields, ends: ends)
  }

  /// Queues HEADERS of an interim response (1xx but 101), which the final one follows.
  public func inform(_ stream: Int32, status: UInt16, fields: FieldBlock) {
    library.inform(stream, status: status, fields: fields)
  }

  /// Copies `bytes` to the stream's unsent bytes, which may be in spare memory.
  public func write(_ stream: Int32, _ bytes: Span<UInt8>, spare: inout SpareBytes) {
    library.write(stream, bytes, &spare)
  }
  /// Bytes written that are not in an output yet.
  public func unsent(_ stream: Int32) -> Int { library.unsent(stream) }
  /// Whether END_STREAM has been asked for and is not in an output yet. Behind bytes that fill the
  /// peer's windows to the last it waits for them to open, alone or with trailers.
  public func owesEnd(_ stream: Int32) -> Bool { library.owesEnd(stream) }
  /// Bytes that the peer's windows let go out on the stream; 0 when it is gone.
  public func window(of stream: Int32) -> Int { library.window(stream) }
  /// END_STREAM behind what is written.
  public func finish(_ stream: Int32) { library.finish(stream, thenReset: false) }
  /// HEADERS with END_STREAM behind what is written: a trailer section (RFC 9113, section 8.1), or no
  /// more than END_STREAM when `trailers` holds nothing. Once the end has been asked for it stays as it is.
  public func finish(_ stream: Int32, trailers: FieldBlock) {
    library.finish(stream, thenReset: false, trailers: trailers)
  }
  /// The same, and then RST_STREAM(NO_ERROR) if the peer has not ended its side: the request is not
  /// read to its end (RFC 9113, section 8.1). Also behind a `respond` that ended the stream.
  public func finishThenReset(_ stream: Int32) { library.finish(stream, thenReset: true) }
  /// RST_STREAM. What is unsent is dropped.
  public func reset(_ stream: Int32, _ code: HTTP2ErrorCode) { library.reset(stream, code) }
  /// Lets the peer send `count` more bytes on the stream: as many as have been taken on. The
  /// connection's credit has been returned on receipt.
  public func returnCredit(_ stream: Int32, _ count: Int) { library.returnCredit(stream, count) }

  // MARK: Connection

  public func ping(_ payload: UInt64) { library.ping(payload) }
  /// First the notice that no new streams are wanted, later (`isFinal`) the last stream that was
  /// taken on; newer ones are ignored from then on (RFC 9113, section 6.8).
  public func goAway(isFinal: Bool) { library.goAway(isFinal: isFinal) }
  /// GOAWAY with that code, then nothing more: `receive` and `send` do nothing from then on.
  public func fail(_ code: HTTP2ErrorCode) { fail(.ended, code) }

  /// The preface, or a field block that has begun, is not complete.
  public var isAwaitingBytes: Bool { watch.isAwaitingBytes }
  public var wantsToSend: Bool {
    !control.isEmpty || (failure == nil && library.wantsToWrite)
  }
  public var openStreams: Int { library.openStreams }
  /// The highest stream that was handed to the owner.
  public var lastStream: Int32 { library.lastStream }
  /// Defences of nghttp2 that the loaded one lacks, by the names of its options. Ours come first in
  /// any case: it is one line of defence less.
  public static var missingOptions: [StaticString] { NGHTTP2.missingOptions }
  public static var libraryVersion: String { NGHTTP2.version }

  /// Appends queued frames to `output` until nothing is left or it holds about `limit` bytes.
  /// `spare`: takes the memory of what has gone.
  public func send(
    into output: SharedBuffer, limit: Int, events: inout [HTTP2Event], spare: inout SpareBytes
  ) {
    takeControl(into: output)
    guard failure == nil else { return }
    drain(into: output, limit: limit, &events, &spare)
    if failure != nil { send(into: output, limit: limit, events: &events, spare: &spare) }
  }

  /// Enough for what an ordinary connection has to say between two sends.
  private static var controlBytes: Int { 256 }

  private func takeControl(into output: SharedBuffer) {
    let control = control
    control.withSpan { output.append($0) }
    control.reset()
    controlFrames = 0
    // A long head has passed through: it must not cost memory for as long as the connection lives.
    if control.capacity > 16 * Self.controlBytes {
      self.control = SharedBuffer(capacity: Self.controlBytes)
    }
  }
}
