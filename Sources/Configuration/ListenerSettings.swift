// One entry of `listeners`: where clients connect, and how.
public import Bytes

/// A bound socket.
public struct ListenerSettings: Sendable, Equatable {
  public enum ApplicationProtocol: Sendable, Equatable { case http11 }

  public var bind: EndpointAddress
  /// Pending connections the kernel may queue; it caps this at net.core.somaxconn.
  public var backlog = 4096
  /// nil: plain TCP.
  public var tls: TLSSettings?
  /// In the order of preference.
  public var protocols = [ApplicationProtocol.http11]
  public var location = SourceLocation()

  public init(bind: EndpointAddress) { self.bind = bind }
}
