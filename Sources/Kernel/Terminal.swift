// A terminal that shows a screen instead of lines: keys come one by one and are not shown. Whoever
// begins it ends it.

public import Bytes
import CLinux
import Glibc

public struct Terminal {
  private let before: termios

  /// Nil when standard input or output is no terminal.
  public init?() {
    guard StandardStreams.isTerminal(Descriptor(0)),
      StandardStreams.isTerminal(StandardStreams.output)
    else { return nil }
    var settings = termios()
    // Safety: tcgetattr writes one termios, tcsetattr reads one.
    guard unsafe tcgetattr(0, &settings) == 0 else { return nil }
    before = settings
    // Ctrl-C is a key, so that the terminal is as before when the program ends by it.
    settings.c_lflag &= ~tcflag_t(ICANON | ECHO | ISIG)
    guard unsafe tcsetattr(0, TCSANOW, &settings) == 0 else { return nil }
  }

  public func restore() {
    var settings = before
    // Safety: reads one termios.
    _ = unsafe tcsetattr(0, TCSANOW, &settings)
  }

  /// Lines of text it has room for.
  public var rows: Int {
    var size = winsize()
    // Safety: writes one winsize.
    let result = unsafe linux_window_size(1, &size)
    return result == 0 && size.ws_row > 0 ? Int(size.ws_row) : 24
  }

  /// The next key; nil when none comes within `patience`. The end of the input counts as a key, 0.
  public func key(within patience: TimeSpan) -> UInt8? {
    var pending = pollfd(fd: 0, events: Int16(POLLIN), revents: 0)
    // Safety: poll reads and writes one pollfd.
    guard unsafe poll(&pending, 1, CInt(clamping: patience.milliseconds)) > 0 else { return nil }
    var byte: UInt8 = 0
    // Safety: reads one byte at most.
    return unsafe read(0, &byte, 1) == 1 ? byte : 0
  }
}
