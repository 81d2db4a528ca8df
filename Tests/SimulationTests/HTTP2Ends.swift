// A client's HTTP/2 connection, played by a test: frames written and read by hand, field blocks as
// literals without indexing (RFC 7541, section 6.2.2). It does what it is told; by itself it only
// counts windows, gives credit and answers PING, and the last two only as long as it is told to.

import Bytes
import Support

/// One connection and its streams.
final class HTTP2End {
  let peer: SimulatedPeer
  private var bytes: [UInt8] = []
  private var nextStream: UInt32 = 1
  private(set) var streams: [UInt32: StreamEnd] = [:]
  /// What the gateway lets this end send on all streams together.
  private(set) var window = 65_535
  /// The last stream and the code of each GOAWAY.
  private(set) var goAways: [(last: UInt32, code: UInt32)] = []
  private(set) var pings = 0
  var answersPings = true

  init(_ peer: SimulatedPeer, settings: [UInt8] = []) {
    self.peer = peer
    peer.onProgress = { [unowned self] _ in self.read() }
    peer.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    frame(4, 0, 0, settings)
  }

  var isGone: Bool { peer.hasEnded || peer.wasReset }

  // MARK: Sending

  static func frame(_ type: UInt8, _ flags: UInt8, _ stream: UInt32, _ payload: [UInt8]) -> [UInt8]
  {
    let length = UInt32(payload.count)
    return big(length).dropFirst() + [type, flags] + big(stream) + payload
  }
  func frame(_ type: UInt8, _ flags: UInt8, _ stream: UInt32, _ payload: [UInt8] = []) {
    peer.send(Self.frame(type, flags, stream, payload))
  }
  func goAway() { frame(7, 0, 0, Self.big(0) + Self.big(0)) }

  static func big(_ value: UInt32) -> [UInt8] {
    [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> UInt32($0)) }
  }

  static func block(_ fields: [(String, String)]) -> [UInt8] {
    var bytes: [UInt8] = []
    for (name, value) in fields {
      bytes += [0, UInt8(name.utf8.count)] + Array(name.utf8)
      bytes += [UInt8(value.utf8.count)] + Array(value.utf8)
    }
    return bytes
  }

  /// A WebSocket handshake (RFC 8441); its path names the stream.
  func webSocket(ends: Bool = false) -> StreamEnd {
    let id = nextStream
    return open(
      [
        (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"),
        (":path", "/chat?\(id)"), (":authority", "gateway.example"),
        ("sec-websocket-version", "13"),
      ], ends: ends)
  }

  /// Host `local.example` is answered by the worker itself.
  func plain(
    _ method: String = "GET", host: String = "gateway.example", ends: Bool = true
  ) -> StreamEnd {
    open(
      [(":method", method), (":scheme", "http"), (":path", "/"), (":authority", host)], ends: ends)
  }

  private func open(_ fields: [(String, String)], ends: Bool) -> StreamEnd {
    let stream = StreamEnd(self, nextStream)
    streams[nextStream] = stream
    stream.hasEnded = ends
    frame(1, ends ? 5 : 4, nextStream, Self.block(fields))
    nextStream += 2
    return stream
  }

  // MARK: Receiving

  private func read() {
    bytes += peer.takeReceived()
    while bytes.count >= 9 {
      let length = Int(bytes[0]) << 16 | Int(bytes[1]) << 8 | Int(bytes[2])
      guard bytes.count >= 9 + length else { return }
      let payload = Array(bytes[9..<9 + length])
      let stream = Self.number(bytes[5..<9]) & 0x7fff_ffff
      take(bytes[3], bytes[4], stream, payload)
      bytes.removeFirst(9 + length)
    }
  }

  private static func number(_ bytes: ArraySlice<UInt8>) -> UInt32 {
    bytes.reduce(0) { $0 << 8 | UInt32($1) }
  }

  private func take(_ type: UInt8, _ flags: UInt8, _ stream: UInt32, _ payload: [UInt8]) {
    switch type {
    case 0: data(stream, flags, payload)
    case 1: streams[stream]?.answered(payload.first, ends: flags & 1 != 0)
    case 3: streams[stream]?.resetCode = Self.number(payload[...])
    case 4 where flags & 1 == 0: frame(4, 1, 0)
    case 6 where flags & 1 == 0:
      pings += 1
      if answersPings { frame(6, 1, 0, payload) }
    case 7: goAways.append((Self.number(payload[0..<4]), Self.number(payload[4..<8])))
    case 8:
      let count = Int(Self.number(payload[...]))
      if stream == 0 { window += count } else { streams[stream]?.window += count }
    default: break
    }
    for stream in streams.values { stream.sendMore() }
  }

  private func data(_ stream: UInt32, _ flags: UInt8, _ payload: [UInt8]) {
    streams[stream]?.received(payload, ends: flags & 1 != 0)
    guard !payload.isEmpty else { return }
    let count = Self.big(UInt32(payload.count))
    frame(8, 0, 0, count)
    let isWanted = streams[stream]?.givesCredit ?? false
    if isWanted, flags & 1 == 0 { frame(8, 0, stream, count) }
  }

  fileprivate func takeWindow(_ count: Int) { window -= count }
}

/// One stream, whose DATA is WebSocket frames or the body of an answer.
final class StreamEnd {
  let id: UInt32
  private unowned let connection: HTTP2End
  private(set) var isAnswered = false
  /// The answer was 200, which HPACK has in its static table.
  private(set) var isOK = false
  private(set) var body: [UInt8] = []
  private var reader = RawFrameReader()
  private(set) var frames: [RawFrame] = []
  var givesCredit = true
  /// END_STREAM has come, or has gone.
  private(set) var peerHasEnded = false
  fileprivate(set) var hasEnded = false
  fileprivate(set) var resetCode: UInt32?
  fileprivate(set) var window = 65_535
  private var waiting: [UInt8] = []
  private var endsBehindWaiting = false
  private var hasReset = false

  fileprivate init(_ connection: HTTP2End, _ id: UInt32) {
    self.connection = connection
    self.id = id
  }

  var isOver: Bool { resetCode != nil || hasReset || peerHasEnded && hasEnded }
  var texts: [String] {
    frames.filter { $0.opcode == 1 }.map { String(decoding: $0.payload, as: UTF8.self) }
  }
  var closeCodes: [UInt16] { frames.compactMap(\.closeCode) }
  /// Bytes that the windows hold back.
  var unsent: Int { waiting.count }

  func send(_ payload: [UInt8], ends: Bool = false) {
    waiting += payload
    endsBehindWaiting = endsBehindWaiting || ends
    sendMore()
  }
  func send(_ opcode: UInt8, _ payload: [UInt8], ends: Bool = false) {
    send(RawFrame.make(opcode, payload, mask: [1, 2, 3, 4]), ends: ends)
  }
  func sendText(_ text: String) { send(1, Array(text.utf8)) }
  func sendClose(_ code: UInt16, ends: Bool = false) {
    send(8, [UInt8(code >> 8), UInt8(code & 255)], ends: ends)
  }
  func end() { send([], ends: true) }
  func reset() {
    guard !isOver else { return }
    hasReset = true
    connection.frame(3, 0, id, HTTP2End.big(8))
  }

  /// As much as the windows allow.
  fileprivate func sendMore() {
    guard !isOver, !hasEnded else { return }
    while !waiting.isEmpty, window > 0, connection.window > 0 {
      let count = min(waiting.count, window, connection.window, 16_384)
      hasEnded = endsBehindWaiting && count == waiting.count
      connection.frame(0, hasEnded ? 1 : 0, id, Array(waiting.prefix(count)))
      waiting.removeFirst(count)
      window -= count
      connection.takeWindow(count)
    }
    guard endsBehindWaiting, !hasEnded, waiting.isEmpty else { return }
    hasEnded = true
    connection.frame(0, 1, id)
  }

  fileprivate func answered(_ first: UInt8?, ends: Bool) {
    isAnswered = true
    isOK = first == 0x88
    peerHasEnded = ends
  }

  fileprivate func received(_ payload: [UInt8], ends: Bool) {
    peerHasEnded = peerHasEnded || ends
    guard isOK else { return body += payload }
    reader.append(payload)
    frames += reader.all()
  }
}

extension Rig {
  func http2(settings: [UInt8] = []) -> HTTP2End {
    HTTP2End(simulation.connect(to: Self.front), settings: settings)
  }

  /// A stream and a backend with a bridge or tunnel between them.
  func bridge(on connection: HTTP2End) -> (client: StreamEnd, backend: End) {
    let list = backends()
    let client = connection.webSocket()
    run(atMost: .seconds(5)) { client.isAnswered }
    return (client, list.ends[list.ends.count - 1])
  }
}
