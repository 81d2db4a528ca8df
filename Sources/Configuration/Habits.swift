// What those write who come from another proxy, and what it is called here. Only words that no slip
// of the finger leads to; NearestName looks here first.

enum Habits {
  /// The first of `known` that `word` stands for elsewhere. Case counts nothing.
  static func name(for word: String, among known: [String]) -> String? {
    // Longer than any of them.
    guard word.utf8.count <= 32 else { return nil }
    return names[word.lowercased()]?.first(where: known.contains)
  }

  private static let names: [String: [String]] = {
    var names: [String: [String]] = [:]
    for row in rows {
      for word in row.words.split(separator: " ") { names[String(word)] = row.names }
    }
    return names
  }()

  /// One meaning has other names in other places, so that the first known there is taken.
  private static let rows: [(words: String, names: [String])] = [
    // Keys.
    ("listen frontend frontends", ["bind", "listeners"]),
    ("server servers", ["endpoints", "listeners"]),
    ("backend backends proxy_pass", ["upstream", "upstreams", "endpoints"]),
    ("location locations", ["path", "routes"]),
    ("uri", ["path", "url"]),
    ("server_name", ["host"]),
    ("cert crt ssl_certificate", ["certificate", "certificates", "tls"]),
    ("private_key ssl_certificate_key", ["key", "certificates", "tls"]),
    ("ssl", ["tls"]),
    ("min_version ssl_min_ver ssl_protocols", ["minimum_version"]),
    ("client_max_body_size", ["request_body", "limits"]),
    ("set_real_ip_from", ["trusted_proxies"]),
    ("worker_processes nbthread", ["workers"]),
    ("access_log", ["access", "log"]),
    ("add_header proxy_set_header", ["headers"]),
    // Words.
    ("leastconn least_conn", ["least_connections"]),
    ("roundrobin rr", ["round_robin"]),
    ("random", ["random_two"]),
    ("ip_hash source", ["hash"]),
    ("warning", ["warn"]),
    ("notice", ["info"]),
    ("crit critical fatal", ["error"]),
    ("tlsv1.2 tls1.2", ["1.2"]),
    ("tlsv1.3 tls1.3", ["1.3"]),
    ("http2 http/2", ["h2"]),
    ("self 'self'", ["same-origin"]),
    ("$host $http_host", ["preserve"]),
    ("$proxy_host", ["endpoint"]),
    ("yes true on", ["accept", "allow", "bridge", "passthrough", "required", "v1"]),
    // Units.
    ("k kb ki kib", ["KiB"]),
    ("m mb mi mib", ["MiB"]),
    ("g gb gi gib", ["GiB"]),
    ("b byte bytes", [""]),
    ("msec millis", ["ms"]),
    ("sec secs second seconds", ["s"]),
    ("min mins minute minutes", ["m"]),
    ("hr hour hours", ["h"]),
  ]
}
