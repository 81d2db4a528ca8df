// The path a backend sees instead of the one that was asked for. Pure. Works on the bytes as they came:
// nothing is decoded, encoded or normalised, so that what was routed and what is sent mean the same.

import Bytes
import Configuration

/// `rewrite` of a route. Whole segments are taken off and put in front.
struct PathRewrite: Sendable, Equatable {
  private let strip: [UInt8]
  private let add: [UInt8]

  init(_ settings: RewriteSettings = RewriteSettings()) {
    strip = Array(settings.stripPrefix.utf8)
    add = Array(settings.addPrefix.utf8)
  }

  var isNeeded: Bool { !strip.isEmpty || !add.isEmpty }

  /// The new path, which begins with one `/`. Nil when there is no such path: where the rest begins
  /// with an empty segment (`/chat//admin` is none of the routes that guard `/admin`, and would be it
  /// to the backend), or where the path does not begin with what is to be taken off.
  func apply(_ path: Span<UInt8>) -> [UInt8]? {
    guard isNeeded else { return ASCII.copy(path) }
    guard path.count >= strip.count else { return nil }
    for index in strip.indices where strip[index] != path[index] { return nil }
    let rest = path.extracting(strip.count..<path.count)
    let slash = UInt8(ascii: "/")
    guard rest.isEmpty || rest[0] == slash else { return nil }
    if rest.count > 1, rest[1] == slash { return nil }
    var result = add
    result.reserveCapacity(add.count + rest.count + 1)
    for index in rest.indices { result.append(rest[index]) }
    return result.isEmpty ? [slash] : result
  }
}

/// What route and upstream change in a request, beside its fields.
struct BackendPolicy: Sendable, Equatable {
  var rewrite = PathRewrite()
  var host = UpstreamSettings.Host.preserve
  /// `Forwarded` is added.
  var addsForwarded = false
  /// What an authorization service has added.
  var granted: [GrantedField] = []
}
