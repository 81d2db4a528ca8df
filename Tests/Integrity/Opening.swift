// The handshakes of both ends. A client asks for /pair/N, which tells the backend who is who.

import Bytes
import Kernel
import Support
import TLS
import Wire

/// How clients meet the gateway; nil without TLS.
struct Contexts {
  var http1: TLSContext?
  var http2: TLSContext?
}

extension Driver {
  static let host = "integrity.example"

  mutating func startClient() {
    let pair = pairsStarted
    pairsStarted += 1
    if pairs[pair].isStream { return startStream(pair) }
    guard let descriptor = connect() else {
      pairsOver += 1
      return
    }
    var end = End(descriptor, .client, .connecting, .write, speaker(pair, .client))
    end.pair = pair
    end.isDribbling = pairs[pair].isDribbling
    end.tls = session(contexts.http1)
    guard let id = ends.insert(end) else { return kernel.close(descriptor) }
    pairs[pair].ends[Side.client.rawValue] = id
    _ = kernel.watch(descriptor, .write, token: id.packed)
  }

  /// A socket on its way to the gateway.
  mutating func connect() -> Descriptor? {
    switch kernel.connect(target) {
    case .connected(let made), .inProgress(let made): return made
    case .failed(let error):
      tally.violated("connect: \(error)")
      return nil
    }
  }

  func session(_ context: TLSContext?) -> TLSSession? {
    guard let context else { return nil }
    return TLSSession(client: context, serverName: Driver.host)
  }

  func speaker(_ pair: Int, _ side: Side) -> Speaker {
    Speaker(pair: pair, side: side, messages: pairs[pair].messages, seed: options.seed, now: now)
  }

  mutating func connected(_ id: SlotID) {
    if let error = kernel.pendingError(ends[id].descriptor) { return fail(id, "connect: \(error)") }
    if ends[id].tls == nil {
      ask(id)
    } else {
      ends[id].phase = .securing
      records.reset()
      _ = ends[id].tls?.start(output: records)
      records.withSpan { ends[id].wire.append($0) }
    }
    settle(id)
  }

  mutating func ask(_ id: SlotID) {
    guard let pair = ends[id].pair else { return }
    ends[id].phase = .upgrading
    let key = Digest.base64(random.bytes(16).span)
    ends[id].accept = accept(key)
    var head = HeadWriter()
    let path = Array("/pair/\(pair)".utf8)
    _ = head.requestLine(Array("GET".utf8).span, path: path.span, query: nil)
    head.field("Host", literal: "integrity.example")
    Handshake.appendRequestFields(key: key.span, offer: HandshakeOffer(key: key), to: &head)
    head.end()
    ends[id].pending.append(head.bytes)
  }

  private func accept(_ key: [UInt8]) -> [UInt8] {
    Handshake.accept(key: key.span, sha1: { Digest.sha1($0) }, base64: { Digest.base64($0) })
  }

  mutating func acceptAll() {
    for _ in 0..<64 {
      switch kernel.accept(listener) {
      case .accepted(let descriptor, _):
        // Which pair it is will be known with the request.
        let nobody = Speaker(pair: 0, side: .backend, messages: 0, seed: 0, now: now)
        let end = End(descriptor, .backend, .upgrading, .read, nobody)
        guard let id = ends.insert(end) else { return kernel.close(descriptor) }
        _ = kernel.watch(descriptor, .read, token: id.packed)
      case .retry: continue
      case .wouldBlock: return
      case .failed(let error): return tally.violated("accept: \(error)")
      }
    }
  }

  /// Collects a head; what follows it are frames.
  mutating func headReceived(_ bytes: Span<UInt8>, _ id: SlotID) {
    ends[id].head.append(bytes)
    var waiting = ByteQueue()
    swap(&waiting, &ends[id].head)
    let consumed: Int?
    do {
      consumed = try waiting.withSpan { bytes throws(HTTPViolation) in
        ends[id].side == .client ? try answered(bytes, id) : try asked(bytes, id)
      }
    } catch {
      return fail(id, "a malformed head: \(error)")
    }
    guard ends.contains(id) else { return }
    guard let consumed else { return swap(&waiting, &ends[id].head) }
    waiting.consume(consumed)
    waiting.withSpan { framesReceived($0, id) }
  }

  /// The gateway's answer to the client. Nil while it is not complete.
  private mutating func answered(
    _ bytes: Span<UInt8>, _ id: SlotID
  ) throws(HTTPViolation) -> Int? {
    guard case .done(let head, let consumed) = try ends[id].responses.parse(bytes) else {
      return nil
    }
    let expected = ends[id].accept
    do throws(AnswerViolation) {
      _ = try Handshake.validateAnswer(
        head, expectedAccept: expected.span, offer: HandshakeOffer(key: []))
    } catch {
      fail(id, "refused, \(head.status): \(error.word)")
      return nil
    }
    opened(id)
    return consumed
  }

  /// A client has its answer.
  mutating func opened(_ id: SlotID) {
    pairsOpen += 1
    ends[id].phase = .open
    guard let pair = ends[id].pair else { return }
    pairs[pair].isOpen = true
    if pairs[pair].isSlow { rest(id, .seconds(15)) }
  }

  /// The gateway's request to the backend. Nil while it is not complete.
  private mutating func asked(_ bytes: Span<UInt8>, _ id: SlotID) throws(HTTPViolation) -> Int? {
    guard case .done(let head, let consumed) = try ends[id].requests.parse(bytes) else {
      return nil
    }
    let path = String(decoding: head.bytes[head.path], as: UTF8.self)
    guard case .webSocket(let offer) = Handshake.classify(head), path.hasPrefix("/pair/"),
      let pair = Int(path.dropFirst(6)), pairs.indices.contains(pair),
      pairs[pair].ends[Side.backend.rawValue] == nil
    else {
      fail(id, "not the expected request: \(path)")
      return nil
    }
    var answer = HeadWriter()
    answer.statusLine(101, "Switching Protocols")
    let value = accept(offer.key)
    Handshake.appendAnswerFields(accept: value.span, agreement: HandshakeAgreement(), to: &answer)
    answer.end()
    ends[id].pending.append(answer.bytes)
    ends[id].pair = pair
    ends[id].isDribbling = pairs[pair].isDribbling
    ends[id].speaker = speaker(pair, .backend)
    ends[id].phase = .open
    pairs[pair].ends[Side.backend.rawValue] = id
    if pairs[pair].isSlow { rest(id, .seconds(15)) }
    return consumed
  }
}
