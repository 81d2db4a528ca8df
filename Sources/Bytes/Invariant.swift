// Checks of our own logic. A failed invariant ends the process, which is an outage for every
// connection, so it guards memory and nothing that a peer or a file can bring about.

/// Ends the process with `message` when `condition` is false, in debug and release builds alike.
@inline(always)
public func invariant(
  _ condition: Bool, _ message: StaticString, file: StaticString = #fileID, line: UInt = #line
) {
  if !condition { unreachable(message, file: file, line: line) }
}

/// Marks a place that the program's logic excludes.
@inline(never)
public func unreachable(
  _ message: StaticString, file: StaticString = #fileID, line: UInt = #line
) -> Never {
  fatalError("invariant broken: \(message)", file: file, line: line)
}
