// One entry of `upstreams`: a named set of endpoints.
public import Bytes

/// A named set of endpoints that serve the same.
public struct UpstreamSettings: Sendable, Equatable {
  public enum Balance: Sendable, Equatable { case roundRobin }

  public var name: String
  /// At least one. A name stands for every address it resolves to.
  public var endpoints: [EndpointSettings] = []
  public var balance = Balance.roundRobin
  /// nil: plain TCP.
  public var tls: UpstreamTLSSettings?

  public init(name: String) { self.name = name }
}

/// One address of an upstream.
public struct EndpointSettings: Sendable, Equatable {
  public var address: EndpointAddress
  public var location: SourceLocation

  public init(address: EndpointAddress, location: SourceLocation = SourceLocation()) {
    self.address = address
    self.location = location
  }
}

/// TLS towards an upstream.
public struct UpstreamTLSSettings: Sendable, Equatable {
  /// The name to send as SNI and to verify; nil: the endpoint's host.
  public var serverName: String?
  public var verify = true
  /// Path of a PEM file of authorities; nil: the system's.
  public var ca: String?
  public var location = SourceLocation()

  public init() {}
}
