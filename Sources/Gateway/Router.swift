// Which route a request takes. Compiled from the snapshot once and never changed; a lookup
// allocates nothing and its cost grows with the routes of one host, not with all of them.

import Bytes
import Configuration

/// The match tables of one snapshot.
///
/// Among the routes whose host and path both match, the most specific wins: an exact host, then
/// `*.host` (which stands for exactly one leftmost label, as it does for origins), then any host;
/// within that the longest path, an exact path before a prefix of the same length, a redirect to
/// https before what serves the same under TLS, and at last the order of the file. A host without a matching path of its own is still served by the routes of
/// `*.host` and of any host.
struct Router: Sendable {
  private struct Entry {
    var path: [UInt8]
    var isExact: Bool
    /// Only for requests that came without TLS.
    var isForPlain: Bool
    var route: Int
  }

  private struct Host {
    var name: [UInt8]
    var entries: [Entry]
  }

  /// Sorted by name, for a binary search.
  private var exact: [Host]
  private var wildcards: [Host]
  private var any: [Entry]

  /// Indices of `routes` are what `route` returns.
  init(_ routes: [RouteSettings]) {
    var exact: [String: [Entry]] = [:]
    var wildcards: [String: [Entry]] = [:]
    any = []
    for (index, route) in routes.enumerated() {
      let entry = Self.entry(route, index)
      switch route.host {
      case .any: any.append(entry)
      case .exact(let name): exact[name, default: []].append(entry)
      case .wildcard(let suffix): wildcards[suffix, default: []].append(entry)
      }
    }
    any = Self.sorted(any)
    self.exact = Self.sorted(exact)
    self.wildcards = Self.sorted(wildcards)
  }

  /// The index of the route. `host`: as `Authority` has it, in lower case and without the port,
  /// empty when the request names none. `path`: as it was sent, without the query.
  /// `isHTTPS`: how the client came; routes that only send it to https are not for those that did.
  func route(host: Span<UInt8>, path: Span<UInt8>, isHTTPS: Bool) -> Int? {
    if let position = Self.position(of: host, in: exact),
      let route = Self.match(path, isHTTPS, exact[position].entries)
    {
      return route
    }
    let parent = host.extracting(Self.labelEnd(host)..<host.count)
    if let position = Self.position(of: parent, in: wildcards),
      let route = Self.match(path, isHTTPS, wildcards[position].entries)
    {
      return route
    }
    return Self.match(path, isHTTPS, any)
  }

  // MARK: Compiling

  private static func entry(_ route: RouteSettings, _ index: Int) -> Entry {
    let isForPlain = route.redirect?.isForPlain ?? false
    let (path, isExact) =
      switch route.path {
      case .exact(let path): (path, true)
      case .prefix(let path): (path, false)
      }
    return Entry(path: Array(path.utf8), isExact: isExact, isForPlain: isForPlain, route: index)
  }

  private static func sorted(_ entries: [Entry]) -> [Entry] {
    entries.sorted { a, b in
      if a.path.count != b.path.count { return a.path.count > b.path.count }
      if a.isExact != b.isExact { return a.isExact }
      if a.isForPlain != b.isForPlain { return a.isForPlain }
      return a.route < b.route
    }
  }

  private static func sorted(_ hosts: [String: [Entry]]) -> [Host] {
    hosts.map { Host(name: Array($0.key.utf8), entries: sorted($0.value)) }
      .sorted { $0.name.lexicographicallyPrecedes($1.name) }
  }

  // MARK: Looking up

  /// Where the host goes on behind its leftmost label and the dot; its end when it has only one.
  private static func labelEnd(_ host: Span<UInt8>) -> Int {
    for index in host.indices where host[index] == UInt8(ascii: ".") { return index + 1 }
    return host.count
  }

  private static func position(of host: Span<UInt8>, in hosts: [Host]) -> Int? {
    guard !host.isEmpty else { return nil }
    var low = 0
    var high = hosts.count
    while low < high {
      let middle = (low + high) / 2
      let name = hosts[middle].name
      let order = compare(name.span, host)
      if order == 0 { return middle }
      if order < 0 { low = middle + 1 } else { high = middle }
    }
    return nil
  }

  /// Negative, zero or positive, as byte strings are ordered.
  private static func compare(_ a: Span<UInt8>, _ b: Span<UInt8>) -> Int {
    for index in 0..<min(a.count, b.count) where a[index] != b[index] {
      return Int(a[index]) - Int(b[index])
    }
    return a.count - b.count
  }

  private static func match(
    _ path: Span<UInt8>, _ isHTTPS: Bool, _ entries: [Entry]
  ) -> Int? {
    for entry in entries where !(isHTTPS && entry.isForPlain) && matches(path, entry) {
      return entry.route
    }
    return nil
  }

  private static func matches(_ path: Span<UInt8>, _ entry: Entry) -> Bool {
    let pattern = entry.path.span
    guard path.count >= pattern.count else { return false }
    for index in pattern.indices where pattern[index] != path[index] { return false }
    if path.count == pattern.count { return true }
    guard !entry.isExact else { return false }
    // Whole segments: the pattern ends with a slash or the path goes on with one.
    let endsSegment = pattern.isEmpty || pattern[pattern.count - 1] == UInt8(ascii: "/")
    return endsSegment || path[pattern.count] == UInt8(ascii: "/")
  }
}
