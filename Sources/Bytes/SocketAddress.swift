public enum SocketAddress: Sendable, Hashable { case unix(String) }
