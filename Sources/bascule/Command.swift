// The commands: from arguments to an exit status. 0 fine, 1 a running gateway says no, 64 a wrong command line, 71 the system would
// not, 78 a wrong configuration (sysexits.h).

import Bytes
import Configuration
import Gateway
import Kernel

enum Command {
  static let usage: Int32 = 64
  static let system: Int32 = 71
  static let configuration: Int32 = 78

  static func run(_ words: [String]) -> Int32 {
    do throws(Arguments.Mistake) {
      return execute(try Arguments.parse(words))
    } catch {
      complain("bascule: \(error.text)")
      return usage
    }
  }

  private static func execute(_ arguments: Arguments) -> Int32 {
    switch arguments {
    case .help(let command): tell(Help.text(for: command))
    case .version: tell("bascule \(Version.text)\n\(Version.libraries)")
    case .reference(let asSchema):
      write(asSchema ? Reference.schema() : Reference.text(), to: StandardStreams.output)
    case .check(let file, let whileRunning): return check(file, whileRunning)
    case .run(let file): return start(file)
    case .echo(let port):
      return ended { () throws(StartFailure) in try Program.echo(port: port) }
    case .demo(let http, let https): return demo(http, https)
    case .health(let target): return AdminCommands.health(target)
    case .reload(let target): return AdminCommands.reload(target)
    case .drain(let target, let percent): return AdminCommands.drain(target, percent: percent)
    case .top(let target): return AdminCommands.top(target)
    }
    return 0
  }

  // MARK: Configuration

  static func load(_ file: String) -> LoadedConfiguration {
    var files: Set<String> = []
    let result = Loader.load(
      file: file, environment: { Environment.value($0) },
      readFile: { path in
        files.insert(path)
        do throws(FileFailure) {
          return .success(try Files.read(path, maxBytes: Loader.fileBytesMax + 1))
        } catch {
          return .failure(FileProblem(error))
        }
      },
      listFiles: { path in
        files.insert(path)
        do throws(FileFailure) {
          return .success(try Files.list(path))
        } catch {
          return .failure(FileProblem(error))
        }
      })
    return LoadedConfiguration(result, files: files)
  }

  private static func check(_ file: String, _ whileRunning: Bool) -> Int32 {
    switch load(file).result {
    case .failure(let problems, let readable):
      return report(problems, readable, whileRunning: whileRunning)
    case .success(let snapshot):
      let found = Program.check(snapshot, whileRunning: whileRunning)
      guard found.mistakes.isEmpty else { return report(found.mistakes) }
      show(found.warnings)
      let counts = [
        counted(snapshot.listeners.count, "listener"), counted(snapshot.routes.count, "route"),
        counted(snapshot.upstreams.count, "upstream"),
      ]
      tell("\(file): ok (\(counts.joined(separator: ", ")))")
      return 0
    }
  }

  private static func counted(_ count: Int, _ noun: String) -> String {
    "\(count) \(noun)\(count == 1 ? "" : "s")"
  }

  private static func start(_ path: String) -> Int32 {
    // The process leaves its directory, and reads everything again for a reload.
    let file = Files.absolute(path)
    let loaded = load(file)
    switch loaded.result {
    case .failure(let problems, let readable): return report(problems, readable)
    case .success(let snapshot):
      return ended { () throws(StartFailure) in
        try Program.run(snapshot, loaded.files) { load(file) }
      }
    }
  }

  private static func demo(_ http: UInt16, _ https: UInt16) -> Int32 {
    ended { () throws(StartFailure) in
      try Program.demo(httpPort: http, httpsPort: https) { http, https in
        tell(Help.demo(http: http, https: https))
      }
    }
  }

  private static func ended(_ body: () throws(StartFailure) -> Int32) -> Int32 {
    do throws(StartFailure) {
      return try body()
    } catch {
      switch error {
      case .problems(let problems): return report(problems)
      case .system(let text):
        complain("bascule: \(text)")
        return system
      }
    }
  }

  // MARK: Output

  /// Mistakes of the file, and those of what it names as far as it could be read.
  private static func report(
    _ problems: [Diagnostic], _ readable: Snapshot?, whileRunning: Bool = false
  ) -> Int32 {
    let more = readable.map { Program.check($0, whileRunning: whileRunning).mistakes } ?? []
    return report((problems + more).sorted())
  }

  private static func report(_ problems: [Diagnostic]) -> Int32 {
    show(problems)
    return configuration
  }

  private static func show(_ diagnostics: [Diagnostic]) {
    let useColour =
      StandardStreams.isTerminal(StandardStreams.error) && Environment.value("NO_COLOR") == nil
    for diagnostic in diagnostics {
      let line = diagnostic.description
      complain(useColour ? Help.coloured(line, isWarning: diagnostic.isWarning) : line)
    }
  }

  static func tell(_ text: String) { write(text + "\n", to: StandardStreams.output) }
  static func complain(_ text: String) { write(text + "\n", to: StandardStreams.error) }

  static func write(_ text: String, to stream: Descriptor) {
    let bytes = Array(text.utf8)
    _ = Files.write(bytes.span, to: stream)
  }
}

extension FileProblem {
  fileprivate init(_ failure: FileFailure) {
    self =
      switch failure {
      case .failed(.notFound): .notFound
      case .failed(.permissionDenied): .permissionDenied
      case .tooLarge: .tooLarge
      case .isDirectory: .isDirectory
      case .failed(let errno): .other(errno.description)
      }
  }
}
