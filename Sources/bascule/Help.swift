// What the commands say about themselves.

enum Help {
  static func text(for command: String?) -> String {
    switch command {
    case "run":
      """
      bascule run [--config FILE]

      Runs the gateway in the foreground.

      SIGTERM   lets every WebSocket end politely and ends; a second one ends at once
      SIGHUP    reads the configuration again; a mistake leaves everything as it is
      SIGUSR1   opens the file of the access log anew, which has been moved away
      SIGUSR2   starts the program that lies in this one's place, hands it all listening sockets, and
                ends politely when it serves

      --config FILE   the configuration; without this flag \(Arguments.defaultConfig)
      """
    case "check":
      """
      bascule check [--config FILE] [--running]

      Checks everything a start needs: the file, certificates, names, addresses, ports. Prints every
      mistake as FILE:LINE:COLUMN: error: ... and exits with 78, or with 0 when there is none. A
      line with "warning:" stops no start, and is probably not what was meant.

      --config FILE   the configuration; without this flag \(Arguments.defaultConfig)
      --running       for a new file of a gateway that runs: its ports are in use, and not tried
      """
    case "demo":
      """
      bascule demo [--http PORT] [--https PORT]

      The gateway in front of an echo backend, with a web page to try it. Everything is on this
      machine only (127.0.0.1).

      --http PORT    for the page over http:// and WebSockets over ws://; without this flag 8080
      --https PORT   for the page over https:// and WebSockets over wss://; without this flag 8443
      """
    case "echo":
      """
      bascule echo [--port PORT]

      A WebSocket echo backend on 127.0.0.1, to try a configuration with.

      --port PORT   where it listens; without this flag 9000, and 0 is a free port, told in the log
      """
    case "reference":
      """
      bascule reference [--schema]

      Prints the complete configuration, every key with its default and what it does.

      --schema   the same as a JSON Schema (draft-07), with which editors complete and check a file
      """
    case "health":
      """
      bascule health [--config FILE | --admin ADDRESS]

      Exits with 0 when the running gateway answers, and with 1 and a line when it does not. For a
      HEALTHCHECK.

      \(adminFlags)
      """
    case "reload":
      """
      bascule reload [--config FILE | --admin ADDRESS]

      Asks the running gateway to read its configuration again. With a mistake in it the running one
      stays: every mistake is printed, and the exit status is 1.

      \(adminFlags)
      """
    case "drain":
      """
      bascule drain [--percent N] [--config FILE | --admin ADDRESS]

      Does what SIGTERM does: every WebSocket ends politely, then the gateway ends. The command does
      not wait for that.

      --percent N       only a part of the WebSockets, rounded up per worker; the gateway goes on
      \(adminFlags)
      """
    case "top":
      """
      bascule top [--config FILE | --admin ADDRESS]

      Shows what the running gateway does, once a second, until q or Ctrl-C. Where the output is no
      terminal it is told once.

      \(adminFlags)
      """
    default:
      """
      bascule: a WebSocket gateway

        bascule run [--config FILE]                  run the gateway
        bascule check [--config FILE] [--running]    check a configuration, all of it
        bascule demo [--http PORT] [--https PORT]    try it, with nothing to set up
        bascule echo [--port PORT]                   a WebSocket echo backend
        bascule reference [--schema]                 every configuration key, explained
        bascule health                               is the running gateway well?
        bascule top                                  what it does, as it does it
        bascule reload                               let it read its configuration again
        bascule drain [--percent N]                  let its WebSockets end
        bascule --version

      bascule COMMAND --help tells more.
      """
    }
  }

  private static var adminFlags: String {
    """
    --config FILE     the configuration that says where the admin listener is and what its token is;
                      without this flag \(Arguments.defaultConfig)
    --admin ADDRESS   the admin listener, HOST:PORT or unix:/PATH; its token from BASCULE_ADMIN_TOKEN
    """
  }

  static func demo(http: UInt16, https: UInt16) -> String {
    """

      The demo is running. Open the page in a browser:

        http://localhost:\(http)/      WebSocket over plain HTTP
        https://localhost:\(https)/     WebSocket over TLS: accept the certificate here first,
                                    it was made a moment ago and nobody vouches for it

      Ctrl-C ends it. What happens is logged below, one line per event.

    """
  }

  /// "error:" in red and "warning:" in yellow, for terminals.
  static func coloured(_ line: String, isWarning: Bool) -> String {
    let (word, colour) = isWarning ? ("warning:", 33) : ("error:", 31)
    guard let range = firstRange(of: " \(word) ", in: line) else { return line }
    return line[..<range.lowerBound] + " \u{1b}[1;\(colour)m\(word)\u{1b}[0m "
      + line[range.upperBound...]
  }

  private static func firstRange(of part: String, in line: String) -> Range<String.Index>? {
    var start = line.startIndex
    while start < line.endIndex {
      if line[start...].hasPrefix(part) {
        return start..<line.index(start, offsetBy: part.count)
      }
      start = line.index(after: start)
    }
    return nil
  }
}
