public enum Errno: Sendable, Equatable { case other(Int32) }
