// `/metrics`: everything the process counts, in the words of Prometheus. Labels are names of the
// configuration, addresses of endpoints, and words of fixed sets.

import Bytes
import Kernel
import Telemetry

extension Worker where K: ~Copyable {
  mutating func adminMetrics(_ request: AdminRequest) {
    let desk = request.desk
    let sources = desk.workers.map(\.metrics) + [desk.process]
    var text = PrometheusText()
    text.process(desk)
    text.counters(sources)
    text.gauges(sources)
    text.openGauges(sources)
    text.histograms(sources)
    text.routes(shared.routes)
    text.endpoints(upstreams, now)
    answer(
      request.connection, request.request,
      AdminAnswer(200, "text/plain; version=0.0.4; charset=utf-8", text.bytes))
  }
}

extension PrometheusText {
  fileprivate mutating func process(_ desk: AdminDesk) {
    let usage = ProcessUsage.current()
    family("build_info", .gauge, "Always 1; its label is the version.")
    sample(1, labels: [MetricLabel("version", Version.text)])
    family("process_start_time_seconds", .gauge, "When the process started, since 1970.")
    sample(desk.startedAt)
    family("process_resident_memory_bytes", .gauge, "Memory of the process.")
    sample(usage.residentBytes)
    family("process_open_fds", .gauge, "Descriptors that are open.")
    sample(usage.openDescriptors)
    family("process_max_fds", .gauge, "Descriptors that may be open.")
    sample(usage.descriptorsMax)
    family("process_cpu_seconds", .counter, "Processor time used.")
    sample(microseconds: usage.cpuMicroseconds)
    family("workers", .gauge, "Threads that carry connections.")
    sample(UInt64(desk.workers.count))
    family("draining", .gauge, "1 while the process lets its connections end.")
    sample(desk.isDraining ? 1 : 0)
  }

  /// What two counters leave open between them.
  fileprivate mutating func openGauges(_ sources: [WorkerMetrics]) {
    open("bridges_open", "WebSockets bridged now.", .bridgesOpened, .bridgesClosed, sources)
    open("tunnels_open", "WebSockets tunnelled now.", .tunnelsOpened, .tunnelsClosed, sources)
    open(
      "client_connections", "Connections of clients that are open.", .connectionsAccepted,
      .connectionsClosed, sources)
  }

  private mutating func open(
    _ name: StaticString, _ help: StaticString, _ opened: Counter, _ closed: Counter,
    _ sources: [WorkerMetrics]
  ) {
    family(name, .gauge, help)
    sample(sources.open(opened, closed))
  }

  fileprivate mutating func routes(_ routes: [RoutePlan]) {
    family("route_requests", .counter, "Requests that matched a route, WebSockets included.")
    for route in routes { sample(route.counts.requestCount, labels: route.labels) }
    family("route_websockets", .counter, "WebSockets opened on a route.")
    for route in routes { sample(route.counts.webSocketCount, labels: route.labels) }
    family("route_websockets_open", .gauge, "WebSockets open on a route.")
    for route in routes { sample(route.counts.openCount, labels: route.labels) }
  }

  fileprivate mutating func endpoints(_ upstreams: [WorkerUpstream], _ now: MonotonicTime) {
    family("endpoint_state", .gauge, "1 for the state an endpoint is in.")
    each(upstreams) { text, endpoint, labels in
      for state in EndpointState.allCases {
        let label = MetricLabel("state", state.rawValue)
        text.sample(endpoint.state(now) == state ? 1 : 0, labels: labels + [label])
      }
    }
    family("endpoint_in_use", .gauge, "Requests and WebSockets that an endpoint has now.")
    each(upstreams) { $0.sample(UInt64(max(0, $1.inUse)), labels: $2) }
    family("endpoint_requests", .counter, "Requests and WebSockets given to an endpoint.")
    each(upstreams) { $0.sample($1.requestCount, labels: $2) }
    family("endpoint_failures", .counter, "Connects that failed and answers that were bad.")
    each(upstreams) { $0.sample($1.failureCount, labels: $2) }
    family("endpoint_ejections", .counter, "Times an endpoint was taken out.")
    each(upstreams) { $0.sample($1.ejectionCount, labels: $2) }
  }

  private mutating func each(
    _ upstreams: [WorkerUpstream], _ body: (inout Self, Endpoint, [MetricLabel]) -> Void
  ) {
    for upstream in upstreams {
      for endpoint in upstream.table.endpoints {
        let labels = [
          MetricLabel("upstream", upstream.name), MetricLabel("endpoint", endpoint.name),
        ]
        body(&self, endpoint, labels)
      }
    }
  }
}

extension RoutePlan {
  fileprivate var labels: [MetricLabel] { [MetricLabel("route", name)] }
}

/// What operators are told of an endpoint.
enum EndpointState: String, CaseIterable {
  case up
  /// By its checks.
  case down
  /// Taken out for a time.
  case ejected
}

extension Endpoint {
  func state(_ now: MonotonicTime) -> EndpointState {
    if isDown { return .down }
    return isOut(now) ? .ejected : .up
  }
}
