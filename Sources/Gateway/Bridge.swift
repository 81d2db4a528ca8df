// The state of a bridge: an upgraded exchange whose WebSocket frames are followed in both
// directions. No I/O here; `BridgeRelay.swift` moves the bytes.

import Bytes
import Telemetry
import Wire

/// The two ends of an exchange.
enum Leg: Int {
  case client = 0
  case backend = 1

  static let all: [Leg] = [.client, .backend]

  var other: Leg { self == .client ? .backend : .client }
  /// Where this leg's value is in a `PerLeg`.
  var index: Int { rawValue }
}

/// One value per leg, by `Leg.index`. An array and not a type with a subscript of its own: an
/// accessor that is not inlined copies the value and allocates its frame, once per access.
typealias PerLeg<Value: ~Copyable> = InlineArray<2, Value>

/// What is held back of a direction: a partial frame header, or a control frame until it is
/// complete. Inline, so that holding costs no allocation.
struct HeldBytes {
  static let capacity = 144
  private(set) var count = 0
  private var storage = InlineArray<144, UInt8>(repeating: 0)

  /// Replaces what was held. The scanner never leaves more than a control frame.
  mutating func hold(_ bytes: Span<UInt8>) {
    invariant(bytes.count <= Self.capacity, "held more than a control frame")
    for index in 0..<bytes.count { storage[index] = bytes[index] }
    count = bytes.count
  }

  /// Moves the held bytes in front of what came behind them.
  mutating func release(to buffer: SharedBuffer) {
    guard count > 0 else { return }
    buffer.prepend(storage.span.extracting(0..<count))
    count = 0
  }
}

/// Bytes from one leg to the other.
struct Direction: ~Copyable {
  var scanner: FrameScanner
  /// A Ping, or a Close with this code, that waits for the frame boundary towards the sink.
  var isPingDue = false
  var dueClose: UInt16?
  /// A Close frame has come from the source: nothing after it is forwarded.
  var closeReceived = false
  /// A Close frame has gone to the sink, forwarded or ours: nothing more may follow it.
  var closeSent = false
  /// The source broke the protocol or is being cut: what it sends is dropped unread.
  var isDeaf = false
  /// A Ping of the source has gone on to the sink.
  var hasPinged = false
  var held = HeldBytes()
  /// From the source's Close frame, for the log.
  var closeCode: UInt16?
  var closeReason: [UInt8] = []
  /// The client's Pings, bounded (1008 beyond).
  var pings = PingAllowance()
}

struct Bridge: ~Copyable {
  /// Keyed by the leg that is pinged.
  var keepAlive: PerLeg<KeepAlive>
  /// Keyed by the leg the bytes come *from*.
  var from: PerLeg<Direction>
  /// Why the gateway is ending the bridge; nil while it is not.
  var fault: Fault?
  /// Draining: Closes wait for a frame's end instead of cutting it.
  var isDraining = false

  /// Whether `leg` may still answer a Ping, also after its Close (RFC 6455 5.5.1 forbids only data).
  /// Pongs are not counted off: some answer nothing, some answers nobody asked for.
  func mayOwePongs(_ leg: Leg) -> Bool {
    from[leg.other.index].hasPinged || keepAlive[leg.index].pingsSent > 0
  }

  /// Before the upgrade has been answered nothing is scanned; the values do not matter.
  static func idle(now: MonotonicTime) -> Bridge {
    let scanner = FrameScanner(expectsMask: true, allowsRSV1: false, messageBytesMax: 0)
    let silent = KeepAlive(interval: nil, timeout: .zero, now: now, random: 0)
    return Bridge(
      keepAlive: [silent, silent],
      from: PerLeg { _ in Direction(scanner: scanner) })
  }
}
