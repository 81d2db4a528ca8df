// What this program and its libraries call themselves.

import Configuration
import TLS
import Wire

public enum Version {
  public static let text = "0.1.0"
  /// The libraries found at run time, which need not be those it was built with.
  public static var libraries: String {
    [
      OpenSSLVersion.runtime, "nghttp2 " + HTTP2Session.libraryVersion,
      "libyaml " + YAMLVersion.runtime,
    ].joined(separator: ", ")
  }
}
