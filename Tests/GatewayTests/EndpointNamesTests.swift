// What the endpoints of an upstream come to when names resolve, change and fail.

import Bytes
import Configuration
import Kernel
import Synchronization
import Testing

@testable import Gateway

/// A name server that a test can change.
private final class Answers: Sendable {
  private let answers = Mutex<[String: [UInt32]]>([:])

  func set(_ name: String, _ addresses: [UInt32]?) {
    answers.withLock { $0[name] = addresses }
  }

  func lookup(_ name: String) throws(ResolveFailure) -> [IPAddress] {
    guard let found = answers.withLock({ $0[name] }) else { throw .temporary }
    return found.map { .v4($0) }
  }
}

@Suite("The names of endpoints")
struct EndpointNamesTests {
  private func settings(_ endpoints: String...) -> UpstreamSettings {
    var settings = UpstreamSettings(name: "chat")
    settings.endpoints = endpoints.compactMap { EndpointAddress(parsing: $0) }
      .map { EndpointSettings(address: $0) }
    return settings
  }

  @Test("every address of a name is an endpoint, once, and in an order that does not change")
  func addresses() {
    let answers = Answers()
    var names = EndpointNames(lookup: answers.lookup)
    answers.set("a.test", [2, 1])
    let settings = settings("a.test:80", "0.0.0.1:80", "0.0.0.9:80")
    let plans = names.endpoints(of: settings)
    #expect(plans.map(\.address.description) == ["0.0.0.1:80", "0.0.0.2:80", "0.0.0.9:80"])
    answers.set("a.test", [1, 2])
    #expect(names.endpoints(of: settings) == plans)
  }

  @Test("a name that fails keeps its last answer, and the others change")
  func failure() {
    let answers = Answers()
    var names = EndpointNames(lookup: answers.lookup)
    let settings = settings("a.test:80", "b.test:80")
    answers.set("a.test", [1])
    #expect(names.endpoints(of: settings).map(\.address.port) == [80])
    #expect(names.failures.map(\.name) == ["b.test"])
    answers.set("a.test", nil)
    answers.set("b.test", [2])
    #expect(
      names.endpoints(of: settings).map(\.address.description) == ["0.0.0.1:80", "0.0.0.2:80"])
    #expect(names.failures.map(\.name) == ["a.test"])
  }

  @Test("only names can change")
  func watched() {
    #expect(EndpointNames.areIn(settings("0.0.0.1:80", "a.test:80")))
    #expect(!EndpointNames.areIn(settings("0.0.0.1:80", "unix:/run/a.sock")))
  }
}
