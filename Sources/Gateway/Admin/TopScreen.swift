// What `bascule top` shows: two readings of the metrics, and what has happened between them. Pure.

public struct TopScreen: Sendable {
  private let current: MetricSamples
  private let previous: MetricSamples?
  private let seconds: Double

  /// `previous`: the reading `seconds` before; without one there are no rates.
  public init(_ current: MetricSamples, previous: MetricSamples?, seconds: Double) {
    self.current = current
    self.previous = previous
    self.seconds = max(seconds, 0.001)
  }

  public var lines: [String] { lines(atMost: .max) }

  /// As much as fits: both tables keep their titles and some rows, and what one leaves the other has.
  public func lines(atMost rows: Int) -> [String] {
    let (head, routes, endpoints) = (head, routes, endpoints)
    let room = max(0, rows - head.count - 2)
    let above = Self.cut(routes, to: max(room / 2, room - endpoints.count))
    let below = Self.cut(endpoints, to: room - above.count)
    return Array((head + [""] + above + [""] + below).prefix(max(1, rows)))
  }

  private static func cut(_ table: [String], to rows: Int) -> [String] {
    guard table.count > rows else { return table }
    // A line more for what is left out, where that leaves a row.
    guard rows > 2 else { return Array(table.prefix(rows)) }
    return table.prefix(rows - 1) + ["… \(table.count - rows + 1) more"]
  }

  private var head: [String] {
    let draining = current.value("bascule_draining") > 0 ? "   DRAINING" : ""
    let memory = current.value("bascule_process_resident_memory_bytes") / 1_048_576
    return [
      "bascule\(draining)",
      "WebSockets   \(count(current.value("bascule_bridges_open"))) bridged, "
        + "\(count(current.value("bascule_tunnels_open"))) tunnelled, "
        + "\(rate("bascule_handshakes_total")) handshakes/s",
      "Messages     \(directed("bascule_messages_total", "from_client"))/s from clients, "
        + "\(directed("bascule_messages_total", "from_backend"))/s from backends",
      "Round trip   clients \(roundTrip("client")), backends \(roundTrip("backend"))",
      "Requests     \(rate("bascule_requests_total"))/s",
      "Process      \(count(memory)) MiB, "
        + "\(count(current.value("bascule_process_open_fds"))) descriptors, "
        + "\(percent("bascule_process_cpu_seconds_total")) of a core",
    ]
  }

  private var routes: [String] {
    let rows = current.labels("bascule_route_requests_total").map { labels in
      [
        value(of: "route", in: labels),
        count(current.value("bascule_route_websockets_open{\(labels)}")),
        rate("bascule_route_requests_total", labels),
      ]
    }
    return table(["ROUTE", "OPEN", "REQUESTS/S"], rows)
  }

  private var endpoints: [String] {
    let rows = current.labels("bascule_endpoint_in_use").map { labels in
      [
        value(of: "upstream", in: labels) + " " + value(of: "endpoint", in: labels),
        state(labels),
        count(current.value("bascule_endpoint_in_use{\(labels)}")),
        rate("bascule_endpoint_requests_total", labels),
        count(current.value("bascule_endpoint_failures_total{\(labels)}")),
      ]
    }
    return table(["ENDPOINT", "STATE", "IN USE", "REQUESTS/S", "FAILURES"], rows)
  }

  private func state(_ labels: String) -> String {
    let words = EndpointState.allCases.map(\.rawValue)
    return words.first {
      current.value("bascule_endpoint_state{\(labels),state=\"\($0)\"}") > 0
    } ?? "?"
  }

  // MARK: Values

  private func difference(_ name: String, _ labels: String) -> Double {
    let key = labels.isEmpty ? name : "\(name){\(labels)}"
    guard let previous else { return 0 }
    return labels.isEmpty
      ? current.sum(name) - previous.sum(name) : current.value(key) - previous.value(key)
  }

  private func rate(_ name: String, _ labels: String = "") -> String {
    previous == nil ? "-" : count(difference(name, labels) / seconds)
  }

  private func directed(_ name: String, _ direction: String) -> String {
    guard previous != nil else { return "-" }
    let both = ["text", "binary"].map {
      difference(name, "direction=\"\(direction)\",opcode=\"\($0)\"")
    }
    return count((both[0] + both[1]) / seconds)
  }

  private func percent(_ name: String) -> String {
    previous == nil ? "-" : "\(count(difference(name, "") / seconds * 100)) %"
  }

  /// Of all Pings so far: in one second there may be none.
  private func roundTrip(_ peer: String) -> String {
    let name = "bascule_ping_round_trip_seconds"
    let labels = "peer=\"\(peer)\""
    guard let half = current.quantile(0.5, name, labels, since: nil),
      let most = current.quantile(0.95, name, labels, since: nil)
    else { return "-" }
    return "half within \(milliseconds(half)), 95 % within \(milliseconds(most))"
  }

  private func milliseconds(_ seconds: Double) -> String {
    seconds == .infinity ? "more than a minute" : "\(count(seconds * 1_000)) ms"
  }

  private func count(_ value: Double) -> String {
    value.isFinite && abs(value) < 1e15 ? String(Int(value.rounded())) : "-"
  }

  private func value(of name: String, in labels: String) -> String {
    guard let start = labels.firstRange(of: "\(name)=\"") else { return "" }
    return String(labels[start.upperBound...].prefix { $0 != "\"" })
  }

  private func table(_ titles: [String], _ rows: [[String]]) -> [String] {
    let all = [titles] + rows
    let widths = titles.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
    return all.map { row in
      row.indices.map { column in
        let room = String(repeating: " ", count: widths[column] - row[column].count)
        return column == 0 ? row[column] + room : room + row[column]
      }.joined(separator: "  ")
    }
  }
}
