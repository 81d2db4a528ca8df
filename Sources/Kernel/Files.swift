// Files and standard streams, for start and for the log thread. Everything here may block; no
// worker calls it.

public import Bytes
import CLinux
import Glibc

public enum FileFailure: Error, Sendable, Equatable {
  case tooLarge
  case isDirectory
  case failed(Errno)
}

extension FileFailure: CustomStringConvertible {
  public var description: String {
    switch self {
    case .tooLarge: "file too large"
    case .isDirectory: "is a directory"
    case .failed(let errno): errno.description
    }
  }
}

/// What tells one content of a path from another: the file it leads to, its size and its last change.
public struct FileStamp: Sendable, Equatable {
  var device: UInt64
  var number: UInt64
  var size: Int64
  var seconds: Int64
  var nanoseconds: Int64
}

public enum Files {
  /// Of what `path` leads to, through symbolic links; nil when there is nothing.
  public static func stamp(_ path: String) -> FileStamp? {
    var status = stat()
    // Safety: the path is NUL-terminated for the call, which fills one structure.
    guard unsafe stat(path, &status) == 0 else { return nil }
    return FileStamp(
      device: UInt64(status.st_dev), number: UInt64(status.st_ino), size: Int64(status.st_size),
      seconds: Int64(status.st_mtim.tv_sec), nanoseconds: Int64(status.st_mtim.tv_nsec))
  }

  /// The whole content of a file of at most `maxBytes`.
  public static func read(_ path: String, maxBytes: Int) throws(FileFailure) -> [UInt8] {
    // A NUL would cut the path short and open another file.
    guard !path.utf8.contains(0) else { throw .failed(.notFound) }
    // Safety: the path is NUL-terminated for the call.
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY)
    guard descriptor >= 0 else { throw .failed(Errno(errno)) }
    defer { Glibc.close(descriptor) }
    var content: [UInt8] = []
    while true {
      let step = try readStep(descriptor, into: &content)
      if step == 0 { return content }
      if content.count > maxBytes { throw .tooLarge }
    }
  }

  private static func readStep(
    _ descriptor: CInt, into content: inout [UInt8]
  ) throws(FileFailure) -> Int {
    var code: CInt = 0
    let chunk = 16 << 10
    let more = unsafe [UInt8](unsafeUninitializedCapacity: chunk) { room, count in
      // Safety: read writes at most `chunk` bytes, and says how many.
      let result = unsafe Glibc.read(descriptor, room.baseAddress, chunk)
      if result < 0 { code = errno }
      count = max(result, 0)
    }
    switch code {
    case 0: break
    case EINTR: return try readStep(descriptor, into: &content)
    case EISDIR: throw .isDirectory
    default: throw .failed(Errno(code))
    }
    content.append(contentsOf: more)
    return more.count
  }

  /// The permission bits of a file; nil when nothing can be told.
  public static func permissions(_ path: String) -> UInt32? {
    guard !path.utf8.contains(0) else { return nil }
    var status = stat()
    // Safety: the path is NUL-terminated for the call, which writes one stat.
    guard unsafe stat(path, &status) == 0 else { return nil }
    return status.st_mode & 0o777
  }

  /// Whether something is there that this process may not read.
  public static func isBarred(_ path: String) -> Bool {
    // Safety: the path is NUL-terminated for both calls.
    unsafe access(path, F_OK) == 0 && access(path, R_OK) != 0
  }

  /// `path` from the root, as seen from the working directory of now.
  public static func absolute(_ path: String) -> String {
    if path.hasPrefix("/") { return path }
    // Safety: getcwd allocates what it returns when it is given nothing, NUL-terminated; freed here.
    guard let directory = unsafe getcwd(nil, 0) else { return path }
    defer { unsafe free(directory) }
    let text = unsafe String(cString: directory)
    return text == "/" ? text + path : "\(text)/\(path)"
  }

  /// The names in a directory, sorted by bytes, without `.` and `..`.
  public static func list(_ path: String) throws(FileFailure) -> [String] {
    // Safety: the stream is closed below and used in between only; an entry and its name are valid
    // until the next readdir.
    guard !path.utf8.contains(0), let stream = unsafe opendir(path) else {
      throw .failed(path.utf8.contains(0) ? .notFound : Errno(errno))
    }
    defer { unsafe closedir(stream) }
    var names: [String] = []
    while let entry = unsafe readdir(stream) {
      let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) {
        unsafe String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
      }
      if name != ".", name != ".." { names.append(name) }
    }
    return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
  }

  /// How many names a directory holds, `.` and `..` not counted; nil when it cannot be read.
  public static func count(_ path: String) -> Int? {
    // Safety: the stream is closed below and used in between only.
    guard !path.utf8.contains(0), let stream = unsafe opendir(path) else { return nil }
    defer { unsafe closedir(stream) }
    var count = -2
    while unsafe readdir(stream) != nil { count += 1 }
    return max(count, 0)
  }

  /// Writes all of `bytes`, however long the reader takes. Returns why it could not.
  public static func write(_ bytes: Span<UInt8>, to descriptor: Descriptor) -> Errno? {
    var written = 0
    return write(bytes, to: descriptor, written: &written)
  }

  /// The same; `written` is how many of them have been written in any case.
  public static func write(
    _ bytes: Span<UInt8>, to descriptor: Descriptor, written: inout Int
  ) -> Errno? {
    written = 0
    while written < bytes.count {
      let rest = bytes.extracting(written..<bytes.count)
      // Safety: write reads the bytes of the span, which outlives the call.
      let count = unsafe rest.withUnsafeBufferPointer {
        unsafe Glibc.write(descriptor.number, $0.baseAddress, $0.count)
      }
      if count >= 0 {
        written += count
        continue
      }
      switch errno {
      case EINTR: continue
      case EAGAIN: waitUntilWritable(descriptor)
      case let code: return Errno(code)
      }
    }
    return nil
  }

  /// Another process may have made the pipe we were given non-blocking.
  private static func waitUntilWritable(_ descriptor: Descriptor) {
    var pending = pollfd(fd: descriptor.number, events: Int16(POLLOUT), revents: 0)
    // Safety: poll reads and writes one pollfd.
    _ = unsafe poll(&pending, 1, -1)
  }
}

extension Files {
  /// Takes a unix socket's file away after its listener has been closed.
  public static func removeSocket(_ path: String) {
    // Safety: the path is NUL-terminated for the call.
    _ = unsafe unlink(path)
  }

  /// Makes a unix socket's file another's, who may then take it away.
  public static func giveSocket(_ path: String, to owner: ProcessAccount) throws(Errno) {
    // Safety: the path is NUL-terminated for the call.
    try check(unsafe lchown(path, owner.user, owner.group))
  }
}

/// For threads that have to wait for another one for a short while. Never on a worker.
public enum Pause {
  public static func sleep(_ span: TimeSpan) {
    var request = timespec(
      tv_sec: Int(span.nanoseconds / 1_000_000_000),
      tv_nsec: Int(span.nanoseconds % 1_000_000_000))
    // Safety: nanosleep reads one timespec. An interrupted sleep is short, which callers allow for.
    _ = unsafe nanosleep(&request, nil)
  }
}

public enum StandardStreams {
  public static var output: Descriptor { Descriptor(1) }
  public static var error: Descriptor { Descriptor(2) }

  /// Opens /dev/null on those of 0, 1 and 2 that are closed: otherwise the first sockets would get
  /// these numbers, and log lines would go to a peer. To be called before anything is opened.
  public static func ensureOpen() {
    // open takes the lowest free number.
    while true {
      // Safety: the path is a literal.
      let number = unsafe open("/dev/null", O_RDWR)
      if number > 2 { _ = close(number) }
      if number > 2 || number < 0 { return }
    }
  }

  public static func contain(_ descriptor: Descriptor) -> Bool { 0...2 ~= descriptor.number }

  public static func isTerminal(_ descriptor: Descriptor) -> Bool { isatty(descriptor.number) == 1 }
}

public enum Environment {
  /// The value of a variable, nil when it is not set. Nothing in this process sets variables.
  public static func value(_ name: String) -> String? {
    // Safety: getenv returns a NUL-terminated string that lives as long as nobody calls setenv.
    guard let value = unsafe getenv(name) else { return nil }
    return unsafe String(cString: value)
  }
}
