// What a route has had and has, over all workers, for the metrics. Atomics: once per request.

import Synchronization

/// Those of a process by the names of routes: a reload changes nothing about what has been counted.
final class RouteBook: Sendable {
  private let counts = Mutex<[String: RouteCounts]>([:])

  func counts(of route: String) -> RouteCounts {
    counts.withLock { counts in
      let found = counts[route] ?? RouteCounts()
      counts[route] = found
      return found
    }
  }
}

final class RouteCounts: Sendable {
  private let requests = Atomic<UInt64>(0)
  private let opened = Atomic<UInt64>(0)
  private let closed = Atomic<UInt64>(0)

  func request() { requests.wrappingAdd(1, ordering: .relaxed) }
  func webSocketOpened() { opened.wrappingAdd(1, ordering: .relaxed) }
  func webSocketClosed() { closed.wrappingAdd(1, ordering: .relaxed) }

  /// Those that asked for a WebSocket included.
  var requestCount: UInt64 { requests.load(ordering: .relaxed) }
  var webSocketCount: UInt64 { opened.load(ordering: .relaxed) }
  var openCount: UInt64 {
    let gone = closed.load(ordering: .relaxed)
    return max(opened.load(ordering: .relaxed), gone) - gone
  }
}
