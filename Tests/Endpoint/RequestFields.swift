// A request head as nghttp2 takes it. Made once by whoever opens many streams with the same head.

import CNghttp2

/// Field names, lower-case, and values. Pseudo-fields come first.
public struct RequestFields {
  private var text: [UInt8] = []
  private var lengths: [(name: Int, value: Int)] = []

  public init(_ fields: [(String, String)]) {
    for (name, value) in fields { append(name, value) }
  }

  /// An extended CONNECT for a WebSocket (RFC 8441 section 4), then `more`.
  public init(
    connect path: String, authority: String, isSecure: Bool, _ more: [(String, String)] = []
  ) {
    self.init([
      (":method", "CONNECT"), (":protocol", "websocket"),
      (":scheme", isSecure ? "https" : "http"), (":path", path), (":authority", authority),
      ("sec-websocket-version", "13"),
    ])
    for (name, value) in more { append(name, value) }
  }

  private mutating func append(_ name: String, _ value: String) {
    text += name.utf8
    text += value.utf8
    lengths.append((name.utf8.count, value.utf8.count))
  }

  /// Lends the fields to nghttp2.
  func withPairs(_ body: (UnsafeBufferPointer<nghttp2_nv>) -> Int32) -> Int32 {
    var text = text
    // Safety: the pointers are within `text`, by `lengths`, and used during `body` only; nghttp2's
    // type has no const, but it does not write.
    return unsafe text.withUnsafeMutableBufferPointer { bytes in
      guard var next = bytes.baseAddress else { return -1 }
      var pairs: [nghttp2_nv] = unsafe []
      for (name, value) in lengths {
        unsafe pairs.append(
          nghttp2_nv(name: next, value: next + name, namelen: name, valuelen: value, flags: 0))
        unsafe next += name + value
      }
      return unsafe pairs.withUnsafeBufferPointer { unsafe body($0) }
    }
  }
}
