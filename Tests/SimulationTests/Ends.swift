// The two ends of a WebSocket, played by a test: a client that connects to the gateway and a backend
// that the gateway connects to. They do what they are told and nothing by themselves, except the
// handshake.

import Bytes
import Support
import TLS
import Wire

/// One end, after (or during) its handshake.
final class End {
  let peer: SimulatedPeer
  let isClient: Bool
  private(set) var head = ""
  private var reader = RawFrameReader()
  /// Frames received and not yet taken by the test.
  private(set) var frames: [RawFrame] = []
  /// Answer the gateway's Pings (those with 8 octets of payload that nobody else sent).
  var answersPings = false
  private(set) var pings = 0
  private let mask: [UInt8] = [0xde, 0xad, 0xbe, 0xef]

  init(_ peer: SimulatedPeer, isClient: Bool) {
    self.peer = peer
    self.isClient = isClient
    peer.onProgress = { [unowned self] _ in self.read() }
  }

  var status: Int? { head.isEmpty ? nil : Int(head.dropFirst(9).prefix(3)) }
  var isGone: Bool { peer.hasEnded || peer.wasReset }
  /// Bytes of a frame whose rest has not come.
  var leftover: Int { reader.leftover }
  var fault: String? { reader.fault }
  /// For answers that are no WebSocket: what followed the head.
  private(set) var body: [UInt8] = []

  /// How many responses with that status have come, the first one and those in its wake.
  func answers(_ status: Int) -> Int {
    let text = head + String(decoding: body, as: UTF8.self)
    return text.split(separator: "HTTP/1.1 \(status) ", omittingEmptySubsequences: false).count - 1
  }

  private func read() {
    var bytes = peer.takeReceived()
    if head.isEmpty {
      body += bytes
      guard let end = Self.headEnd(body) else { return }
      head = String(decoding: body[..<end], as: UTF8.self)
      bytes = Array(body[end...])
      body = []
      if !isClient { return answerHandshake(bytes) }
    }
    if isClient, status != 101 {
      body += bytes
      return
    }
    take(bytes)
  }

  private func take(_ bytes: [UInt8]) {
    reader.append(bytes)
    while let frame = reader.next() {
      if answersPings, frame.isPing {
        pings += 1
        send(0xa, frame.payload)
      } else {
        frames.append(frame)
      }
    }
  }

  static func headEnd(_ bytes: [UInt8]) -> Int? {
    guard bytes.count >= 4 else { return nil }
    return (4...bytes.count).first { bytes[($0 - 4)..<$0].elementsEqual([13, 10, 13, 10]) }
  }

  // MARK: Handshake

  /// Backends: what to do with an upgrade request; nil answers 101 as a server does.
  var onRequest: ((End) -> Void)?
  private func answerHandshake(_ early: [UInt8]) {
    if let onRequest { onRequest(self) } else { accept() }
    take(early)
  }

  func accept(extra: String = "") {
    peer.send(
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        + "Sec-WebSocket-Accept: \(Self.acceptValue(for: key))\r\n\(extra)\r\n")
  }

  /// The Sec-WebSocket-Key of the request.
  var key: String { field("Sec-WebSocket-Key") ?? "" }
  func field(_ name: String) -> String? {
    for line in head.split(separator: "\r\n").dropFirst() {
      let parts = line.split(separator: ":", maxSplits: 1)
      if parts.count == 2, parts[0] == name { return String(parts[1].drop { $0 == " " }) }
    }
    return nil
  }

  static func acceptValue(for key: String) -> String {
    let bytes = Array(key.utf8)
    let value = Handshake.accept(
      key: bytes.span, sha1: { Digest.sha1($0) }, base64: { Digest.base64($0) })
    return String(decoding: value, as: UTF8.self)
  }

  // MARK: Sending

  func wire(_ opcode: UInt8, _ payload: [UInt8] = [], fin: Bool = true) -> [UInt8] {
    RawFrame.make(opcode, payload, fin: fin, mask: isClient ? mask : nil)
  }
  func send(_ opcode: UInt8, _ payload: [UInt8] = [], fin: Bool = true) {
    peer.send(wire(opcode, payload, fin: fin))
  }
  func sendText(_ text: String) { send(1, Array(text.utf8)) }
  func sendClose(_ code: UInt16, _ reason: String = "") {
    send(8, [UInt8(code >> 8), UInt8(code & 255)] + Array(reason.utf8))
  }

  // MARK: Receiving

  /// The frames that have come since the last call.
  func takeFrames() -> [RawFrame] {
    defer { frames = [] }
    return frames
  }
  var texts: [String] {
    frames.filter { $0.opcode == 1 }.map { String(decoding: $0.payload, as: UTF8.self) }
  }
  /// The codes of all Close frames received.
  var closeCodes: [UInt16] { frames.compactMap(\.closeCode) }
}

extension Rig {
  static let request =
    "GET /chat HTTP/1.1\r\nHost: gateway.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"

  func connect(sending head: String = Rig.request) -> End {
    let end = End(simulation.connect(to: Self.front), isClient: true)
    end.peer.send(head)
    return end
  }

  /// Makes backends out of whatever connects to `remote`, oldest first.
  func backends(_ index: Int = 0, onRequest: ((End) -> Void)? = nil) -> BackendList {
    let list = BackendList()
    remotes[index].onConnect = { peer in
      let end = End(peer, isClient: false)
      end.onRequest = onRequest
      list.ends.append(end)
    }
    return list
  }

  /// A client and a backend with a bridge between them.
  func bridge() -> (client: End, backend: End) {
    let list = backends()
    let client = connect()
    run(atMost: .seconds(5)) { client.status != nil }
    return (client, list.ends[list.ends.count - 1])
  }
}

final class BackendList {
  var ends: [End] = []
}
