// The other end of the admin listener, for commands: one request, one answer.

public import Bytes
import Kernel
import Wire

public struct AdminFailure: Error {
  public let text: String

  public init(text: String) { self.text = text }
}

public struct AdminReply: Sendable {
  public let status: Int
  public let body: String
}

public struct AdminClient: Sendable {
  private let address: EndpointAddress
  private let token: String?

  public init(_ address: EndpointAddress, token: String?) {
    self.address = address
    self.token = token
  }

  /// What is sent with another method than GET is a change.
  public func ask(
    _ method: String, _ path: String, patience: TimeSpan = .seconds(3)
  ) throws(AdminFailure) -> AdminReply {
    var lines = ["\(method) \(path) HTTP/1.1", "Host: localhost", "Connection: close"]
    if method != "GET" { lines += ["X-Bascule: command", "Content-Length: 0"] }
    if let token { lines.append("Authorization: Bearer \(token)") }
    let request = lines.joined(separator: "\r\n") + "\r\n\r\n"
    let answer: [UInt8]
    let target = try socketAddress()
    do throws(Errno) {
      answer = try Correspondence.ask(target, Array(request.utf8), patience: patience)
    } catch {
      throw AdminFailure(
        text:
          "no answer from \(address): \(error.description); does it run, with that admin section?")
    }
    return try Self.reply(answer)
  }

  /// What is bound everywhere is reached through the machine itself.
  private func socketAddress() throws(AdminFailure) -> SocketAddress {
    switch address {
    case .unix(let path): return .unix(path)
    case .hostPort(let pair):
      switch pair.literal {
      case .v4(0): return .ip(.v4(0x7f00_0001), port: pair.port)
      case .v6(high: 0, low: 0): return .ip(.v6(high: 0, low: 1), port: pair.port)
      case let literal?: return .ip(literal, port: pair.port)
      case nil: break
      }
      guard let resolved = try? Resolver.resolve(pair.host).first else {
        throw AdminFailure(text: "cannot resolve \(pair.host)")
      }
      return .ip(resolved, port: pair.port)
    }
  }

  private static func reply(_ answer: [UInt8]) throws(AdminFailure) -> AdminReply {
    let limits = HeadLimits(headBytesMax: 64 << 10, fieldsMax: 100, lineBytesMax: 8 << 10)
    var parser = ResponseParser(limits: limits)
    guard case .done(let head, let consumed)? = try? parser.parse(answer.span) else {
      throw AdminFailure(text: "the answer is no HTTP")
    }
    let body = answer[consumed...]
    // Half an answer must not pass for one.
    guard case .length(let count) = head.body(toHEAD: false), Int(clamping: count) == body.count
    else { throw AdminFailure(text: "the answer is not complete") }
    return AdminReply(status: head.status, body: String(decoding: body, as: UTF8.self))
  }
}
