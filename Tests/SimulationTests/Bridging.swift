// What one client and one backend do to each other in a run that is drawn from a seed, and the check
// of what arrives: every frame verbatim, whole and in order, and nothing in it that is not the
// gateway's own Ping or Close.

import Bytes
import Support

/// One side of a bridge in the property run.
final class Player {
  let isClient: Bool
  private(set) var peer: SimulatedPeer?
  private var random: SeededRandom
  fileprivate weak var pair: Pair?
  private var head: [UInt8] = []
  private var isUpgraded = false
  private var isRefused = false
  private var reader = RawFrameReader()

  /// Frames (as wire bytes) still to be sent, in order.
  private(set) var script: [[UInt8]] = []
  /// What the other side has sent and must arrive here next.
  var expected: ArraySlice<[UInt8]> = []
  private(set) var gatewayPings = 0
  private(set) var receivedClose: UInt16?
  private(set) var hasSentClose = false
  private(set) var complaint: String?
  /// This side ends its connection without a Close; what it then gets says nothing.
  private var vanishes = false

  init(isClient: Bool, random: SeededRandom) {
    self.isClient = isClient
    self.random = random
  }

  var other: Player? { isClient ? pair?.backend : pair?.client }
  var isGone: Bool { peer.map { $0.hasEnded || $0.wasReset } ?? false }
  var isDelivered: Bool { expected.isEmpty }

  func begin(_ peer: SimulatedPeer) {
    self.peer = peer
    peer.onProgress = { [unowned self] _ in self.read() }
    if isClient { peer.send(Rig.request) }
  }

  // MARK: Sending

  func writeScript(messages: Int, sizeLog2Max: Double, foreignPings: Int) {
    var pings = foreignPings
    for _ in 0..<messages {
      var left = messageSize(sizeLog2Max)
      let opcode: UInt8 = random.chance(50) ? 1 : 2
      var isFirst = true
      repeat {
        let isLast = !random.chance(30)
        let size = isLast ? left : Int.random(in: 0...left, using: &random)
        left -= size
        // Nobody on the way looks at payload; repeating one octet keeps the making cheap.
        let payload = random.bytes(min(size, 32)) + Array(repeating: 0x61, count: max(0, size - 32))
        add(isFirst ? opcode : 0, payload, fin: isLast)
        isFirst = false
        if pings > 0, random.chance(40) {
          pings -= 1
          // 8 octets, as the gateway's own have.
          add(random.chance(50) ? 9 : 10, random.bytes(random.chance(60) ? 8 : 5))
        }
        if isLast { break }
      } while true
    }
  }

  private func messageSize(_ log2Max: Double) -> Int {
    if random.chance(5) { return 0 }
    let unit = Double(random.next() >> 11) / Double(1 << 53)
    // log-uniform: 2^(unit * log2Max), without Foundation's pow.
    var size = 1.0
    var exponent = unit * log2Max
    while exponent >= 1 {
      size *= 2
      exponent -= 1
    }
    return Int(size * (1 + exponent))
  }

  private func add(_ opcode: UInt8, _ payload: [UInt8], fin: Bool = true) {
    script.append(wire(opcode, payload, fin: fin))
  }

  private func wire(_ opcode: UInt8, _ payload: [UInt8], fin: Bool = true) -> [UInt8] {
    RawFrame.make(opcode, payload, fin: fin, mask: isClient ? random.bytes(4) : nil)
  }

  /// Sends the next few frames of the script. The client starts before its handshake is answered.
  func sendSome() {
    guard let peer, !hasSentClose, isClient || isUpgraded else { return }
    let count = min(script.count, Int.random(in: 1...4, using: &random))
    for frame in script.prefix(count) { deliver(frame, peer) }
    script.removeFirst(count)
    if random.chance(20) {
      peer.isReading = false
      pair?.rig.simulation.after(.milliseconds(Int64.random(in: 1...80, using: &random))) {
        peer.isReading = true
      }
    }
  }

  private func deliver(_ frame: [UInt8], _ peer: SimulatedPeer) {
    peer.send(frame)
    other?.expected.append(frame)
  }

  func sendClose(_ payload: [UInt8], isAnswer: Bool = false) {
    guard let peer, !hasSentClose else { return }
    let frame = wire(8, payload)
    peer.send(frame)
    hasSentClose = true
    // An answer to the gateway's own Close, or to one that crossed, may go no further.
    if !isAnswer { other?.expected.append(frame) }
    if random.chance(30) { peer.send(wire(1, random.bytes(9))) }
  }

  /// Ends the connection without a Close.
  func vanish(byReset: Bool) {
    vanishes = true
    if byReset { peer?.reset() } else { peer?.finish() }
  }

  // MARK: Receiving

  private func read() {
    guard let peer else { return }
    let bytes = peer.takeReceived()
    if isUpgraded {
      reader.append(bytes)
    } else {
      head += bytes
      guard let end = End.headEnd(head) else { return }
      upgraded(Array(head[end...]))
    }
    while !isRefused, let frame = reader.next() { received(frame) }
    if let fault = reader.fault { complain(fault) }
    if isGone { gone(peer) }
  }

  private func gone(_ peer: SimulatedPeer) {
    // A reset may destroy what had arrived and was not read.
    if !vanishes, !isRefused, peer.hasEnded, !peer.wasReset {
      if !hasSentClose, receivedClose == nil, pair?.isBridged == true {
        complain("the connection ended without a Close")
      } else if reader.leftover > 0 {
        complain("the connection ended in the middle of a frame")
      }
    }
    peer.close()
  }

  private func upgraded(_ rest: [UInt8]) {
    isUpgraded = true
    if isClient {
      guard head.starts(with: Array("HTTP/1.1 101 ".utf8)) else { return refused() }
    } else if let peer {
      let text = String(decoding: head, as: UTF8.self)
      let key = text.split(separator: "\r\n").first { $0.hasPrefix("Sec-WebSocket-Key: ") }
      let value = key.map { End.acceptValue(for: String($0.dropFirst(19))) } ?? ""
      peer.send(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
          + "Sec-WebSocket-Accept: \(value)\r\n\r\n")
      if random.chance(30) { sendSome() }
    }
    reader.append(rest)
  }

  /// Right when the run ended before the handshake did, and wrong otherwise.
  private func refused() {
    if pair?.hasEnded == false {
      complain("answered \(String(decoding: head.prefix(12), as: UTF8.self))")
    }
    isRefused = true
    vanish(byReset: false)
  }

  private func received(_ frame: RawFrame) {
    if receivedClose != nil { return complain("\(frame) behind a Close") }
    if frame.isMasked == isClient { complain("\(frame) with the wrong mask bit") }
    if frame.wire == expected.first {
      expected.removeFirst()
      if frame.isClose { answerClose(frame) }
      return
    }
    if frame.isPing, frame.payload.count == 8 {
      gatewayPings += 1
      if let peer, !hasSentClose { peer.send(wire(10, frame.payload)) }
    } else if frame.isClose {
      answerClose(frame)
    } else {
      complain("\(frame) instead of \(expected.first.map { "\($0.count) octets" } ?? "nothing")")
    }
  }

  private func answerClose(_ frame: RawFrame) {
    receivedClose = frame.closeCode
    if random.chance(95) { sendClose(frame.payload, isAnswer: true) }
    // RFC 6455 7.1.1: the server closes first. One that does not is cut.
    if !isClient, random.chance(90) { peer?.finish() }
  }

  private func complain(_ text: String) {
    if complaint == nil { complaint = "\(isClient ? "client" : "backend"): \(text)" }
  }
}

/// A client, a backend, and the bridge between them.
final class Pair {
  let rig: Rig
  let client: Player
  let backend: Player
  /// Every client has its 101; before that nobody is owed a Close.
  var isBridged: Bool { rig.count(.handshakesAccepted) == rig.count(.requests) }
  /// The test has begun to end the bridge.
  var hasEnded = false

  init(rig: Rig, random: inout SeededRandom) {
    self.rig = rig
    client = Player(isClient: true, random: SeededRandom(seed: random.next()))
    backend = Player(isClient: false, random: SeededRandom(seed: random.next()))
    client.pair = self
    backend.pair = self
  }

  var isSent: Bool { client.script.isEmpty && backend.script.isEmpty }
  var isDelivered: Bool { isSent && client.isDelivered && backend.isDelivered }
  var complaint: String? { client.complaint ?? backend.complaint }
}
