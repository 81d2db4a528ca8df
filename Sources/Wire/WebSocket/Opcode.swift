// What kind of frame a header announces. Written without `rawValue` comparisons where frames are
// walked, so that the compiler can prove that this takes no lock.

/// The opcodes of RFC 6455, section 11.8. All others are reserved.
public enum Opcode: UInt8, Sendable {
  case continuation = 0
  case text = 1
  case binary = 2
  case close = 8
  case ping = 9
  case pong = 10

  /// The opcode of a frame that begins with the octet `first`; nil for a reserved one.
  @_noLocks
  static func of(first: UInt8) -> Opcode? {
    switch first & 0x0F {
    case 0: .continuation
    case 1: .text
    case 2: .binary
    case 8: .close
    case 9: .ping
    case 10: .pong
    default: nil
    }
  }

  public var isControl: Bool {
    @_noLocks get {
      switch self {
      case .close, .ping, .pong: true
      case .continuation, .text, .binary: false
      }
    }
  }
}
