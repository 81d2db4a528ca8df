import Configuration
import Telemetry
import Testing
import Wire

@testable import Gateway

/// A row of the behaviour page, section 8: status, Close to the client, Close to the backend.
private struct Expected {
  var faults: [Fault]
  var status: UInt16?
  var toClient: UInt16?
  var toBackend: UInt16?
}

private let page: [Expected] = [
  Expected(faults: [.malformedRequest, .malformedHandshake], status: 400),
  Expected(faults: [.noRoute], status: 404),
  Expected(faults: [.originRefused], status: 403),
  Expected(faults: [.methodNotAllowed], status: 405),
  Expected(faults: [.headTooSlow, .bodyTooSlow], status: 408),
  Expected(faults: [.lineTooLong], status: 414),
  Expected(faults: [.headTooLarge], status: 431),
  Expected(faults: [.bodyTooLarge], status: 413),
  Expected(faults: [.httpVersion], status: 505),
  Expected(faults: [.http2NotEnabled], status: 400),
  Expected(faults: [.notImplemented], status: 501),
  Expected(faults: [.webSocketVersion], status: 426),
  Expected(faults: [.misdirected], status: 421),
  Expected(faults: [.expectationFailed], status: 417),
  Expected(faults: [.noEndpoint, .connectFailed, .limitReached, .refusingWork], status: 503),
  Expected(faults: [.memoryShort], status: 503),
  Expected(faults: [.authorizationFailed], status: 503),
  Expected(faults: [.backendTLSFailed], status: 503, toClient: 1014),
  Expected(faults: [.backendSilent], status: 504),
  Expected(faults: [.backendAnswerBroken], status: 502),
  Expected(faults: [.clientProtocolError], toClient: 1002, toBackend: 1001),
  Expected(faults: [.clientMessageTooBig], toClient: 1009, toBackend: 1001),
  Expected(faults: [.clientBadUTF8], toClient: 1007, toBackend: 1001),
  Expected(faults: [.clientPingRate], toClient: 1008, toBackend: 1001),
  Expected(faults: [.backendProtocolError], toClient: 1014, toBackend: 1002),
  Expected(faults: [.backendMessageTooBig], toClient: 1014, toBackend: 1009),
  Expected(faults: [.backendBadUTF8], toClient: 1014, toBackend: 1007),
  Expected(faults: [.clientVanished, .clientTimedOut, .clientWriteStalled], toBackend: 1001),
  Expected(faults: [.backendVanished], status: 502, toClient: 1014),
  Expected(faults: [.backendTimedOut], toClient: 1014),
  Expected(faults: [.backendWriteStalled], status: 504, toClient: 1014),
  Expected(faults: [.clientCloseTimedOut, .backendCloseTimedOut, .tunnelIdle]),
  Expected(faults: [.drain, .routeChanged, .operatorClose], toClient: 1001, toBackend: 1001),
  Expected(faults: [.superseded], toClient: 1012, toBackend: 1001),
  Expected(faults: [.gatewayFault], status: 500, toClient: 1011, toBackend: 1011),
]

@Suite("The fault table")
struct FaultTests {
  @Test("every reason has the status and close codes of the behaviour page")
  func table() {
    for row in page {
      for fault in row.faults {
        #expect(fault.status == row.status, "\(fault)")
        #expect(fault.closeToClient == row.toClient, "\(fault)")
        #expect(fault.closeToBackend == row.toBackend, "\(fault)")
      }
    }
    let covered = page.flatMap(\.faults)
    #expect(covered.count == Fault.allCases.count)
    #expect(Set(covered) == Set(Fault.allCases))
  }

  @Test("words are unique and fit a log field")
  func words() {
    let words = Fault.allCases.map { $0.word.description }
    #expect(Set(words).count == words.count)
    #expect(
      words.allSatisfy { $0.allSatisfy { ("a"..."z").contains($0) || "_0123456789".contains($0) } })
  }

  @Test("no close code is one that may not be sent")
  func codes() {
    for fault in Fault.allCases {
      for code in [fault.closeToClient, fault.closeToBackend].compactMap({ $0 }) {
        #expect([1001, 1002, 1007, 1008, 1009, 1011, 1012, 1014].contains(code))
      }
    }
  }

  @Test("the limit that a line about a flood names is a key of the configuration")
  func limitKeys() {
    let reference = Reference.text()
    let keys = HTTP2Violation.allCases.compactMap { $0.limitKey?.description }
    #expect(keys.count == 6)
    for key in keys {
      #expect(key.hasPrefix("limits."))
      #expect(reference.contains("\n  \(key.dropFirst(7)): "), "\(key)")
    }
    for violation in HTTP2Violation.allCases where violation.limitKey != nil {
      #expect(violation.isFlood, "\(violation)")
    }
    #expect(!HTTP2Violation.badPreface.isFlood && HTTP2Violation.pingFlood.isFlood)
  }

  @Test("nobody who is gone is owed a Close")
  func gone() {
    for fault in Fault.allCases {
      if fault.closedBy == .client { #expect(fault.closeToClient == nil, "\(fault)") }
      if fault.closedBy == .backend { #expect(fault.closeToBackend == nil, "\(fault)") }
    }
  }

  @Test("a request's violation becomes the fault with its status")
  func requestViolations() {
    for violation in HTTPViolation.allCases {
      #expect(Fault.of(violation).status == UInt16(violation.status), "\(violation)")
    }
    #expect(Fault.of(HTTPViolation.bareLineEnd) == .malformedRequest)
  }

  @Test("a frame's violation closes its sender with the violation's code")
  func frameViolations() {
    for violation in WebSocketViolation.allCases {
      let client = Fault.of(violation, by: .client)
      #expect(client.closeToClient == violation.closeCode && client.closeToBackend == 1001)
      let backend = Fault.of(violation, by: .backend)
      #expect(backend.closeToBackend == violation.closeCode && backend.closeToClient == 1014)
    }
  }
}
