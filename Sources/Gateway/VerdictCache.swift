// What authorization services have let through lately. Each worker has its own. Only positive verdicts
// are kept, and never the token they were given for: only a keyed hash of it.

import Bytes
import Configuration
import TLS
import Wire

struct VerdictCache {
  static var entriesMax: Int { 1_024 }
  /// Bytes of the granted fields of one verdict. Longer ones are asked for again.
  static var grantedBytesMax: Int { 4_096 }

  struct Key: Hashable {
    /// Held, so that no other route can ever be taken for it.
    private let route: RoutePlan
    private let token: [UInt8]

    /// Nil where nothing is to be kept: the request shows no token, or more than one, so that the
    /// service could go by another one than we do.
    init?(
      _ plan: RoutePlan, _ head: RequestHead, _ settings: AuthorizeSettings, secret: [UInt8]
    ) {
      guard let by = settings.cache?.by, let range = head.token(by), !range.isEmpty else {
        return nil
      }
      route = plan
      // The same secret makes cookies, of texts that do not begin like this one.
      let text = Array("authorize ".utf8) + head.bytes[range]
      token = Digest.hmacSHA256(key: secret.span, text.span)
    }

    static func == (a: Key, b: Key) -> Bool { a.route === b.route && a.token == b.token }

    func hash(into hasher: inout Hasher) {
      hasher.combine(ObjectIdentifier(route))
      hasher.combine(token)
    }
  }

  private struct Verdict {
    let granted: [GrantedField]
    let until: MonotonicTime
  }

  private var verdicts: [Key: Verdict] = [:]

  var count: Int { verdicts.count }

  mutating func find(_ key: Key, now: MonotonicTime) -> [GrantedField]? {
    guard let verdict = verdicts[key] else { return nil }
    if now < verdict.until { return verdict.granted }
    verdicts[key] = nil
    return nil
  }

  mutating func add(
    _ key: Key, _ granted: [GrantedField], until: MonotonicTime, now: MonotonicTime
  ) {
    let bytes = granted.reduce(0) { $0 + $1.name.count + $1.value.count }
    guard bytes <= Self.grantedBytesMax else { return }
    if verdicts[key] == nil, verdicts.count >= Self.entriesMax { makeRoom(now) }
    verdicts[key] = Verdict(granted: granted, until: until)
  }

  /// What is over goes; if nothing is, what is over first.
  private mutating func makeRoom(_ now: MonotonicTime) {
    verdicts = verdicts.filter { now < $0.value.until }
    guard verdicts.count >= Self.entriesMax,
      let next = verdicts.min(by: { $0.value.until < $1.value.until })
    else { return }
    verdicts[next.key] = nil
  }
}

extension RequestHead {
  /// The only one there is. One that Connection nominates is told to nobody, and is none.
  fileprivate func token(_ key: ClientKey) -> Range<Int>? {
    switch key {
    case .address: return nil
    case .header(let name): return onlyField(name)
    case .cookie(let name):
      guard onlyField("cookie") != nil else { return nil }
      let found = cookies(named: Array(name.utf8), atMost: 2)
      return found.count == 1 ? found.first : nil
    }
  }

  private func onlyField(_ name: String) -> Range<Int>? {
    let bytes = self.bytes
    let found = fields.filter { [name].containsField(bytes.span.extracting($0.name)) }
    guard found.count == 1, let nominated = Nominations(of: self),
      !nominated.contains(bytes.span.extracting(found[0].name))
    else { return nil }
    return found[0].value
  }
}
