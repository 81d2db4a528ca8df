// Stand-ins so that this module compiles before Bytes has the real types. Deleted with their arrival.
import Bytes

public enum EndpointAddress: Sendable, Hashable {
  case unix(String)
  public init?(parsing text: String) { self = .unix(text) }
}
public struct AddressBlock: Sendable, Hashable {
  public init?(parsing text: String) {}
}
public struct OriginPattern: Sendable, Hashable {
  public init?(parsing text: String) {}
}
public struct OriginPolicy: Sendable, Equatable {
  public var patterns: [OriginPattern] = []
  public var allowsAny = false
  public var allowsSameOrigin = true
  public var allowsMissing = true
  public var reportOnly = false
  public init() {}
}
