// The access log as a file: opened before anything is given up, opened again when somebody has moved it
// away and says so, and exchanged by a reload. The error log is always standard error.

import Configuration
import Kernel
import Telemetry

extension LogSettings {
  /// A failure to open the file that `access` names, as a mistake of the configuration.
  func mistake(_ failure: LogFileFailure) -> Diagnostic {
    var path = ""
    if case .file(let named) = access { path = named }
    return Diagnostic(accessLocation, "cannot write to \(path): \(failure.description)")
  }

  /// The file that is to be written to; nil when it is none.
  fileprivate func openAccessFile(
    owner: ProcessAccount? = nil
  ) throws(LogFileFailure) -> Descriptor? {
    guard case .file(let path) = access else { return nil }
    return try Files.openLog(path, owner: owner)
  }
}

extension Supervisor {
  /// A file that is made here belongs to whom the process becomes, who may then open it again.
  static func openAccessFile(_ prepared: Prepared) throws(StartFailure) -> Descriptor? {
    let log = prepared.snapshot.log
    let owner = ProcessAccount.current.isRoot ? prepared.identity : nil
    do throws(LogFileFailure) {
      return try log.openAccessFile(owner: owner)
    } catch {
      throw .problems([log.mistake(error)])
    }
  }

  /// For a reload: nil where nothing changes, or where the next log is no file.
  func openNextAccessFile(_ next: LogSettings) throws(LogFileFailure) -> Descriptor? {
    next.access == running.log.access ? nil : try next.openAccessFile()
  }

  /// `file`: of `next`, when it is another one. A file that nothing is written to any more stays open, for
  /// the lines of workers that do not know yet.
  func turnAccessLog(to next: LogSettings, _ file: Descriptor?) {
    if let file { return access.turn(to: file) }
    if next.access == .stdout { access.turn(to: StandardStreams.output) }
  }

  /// SIGUSR1: whoever rotates logs has moved the file away.
  mutating func reopenAccessFile() {
    guard case .file(let path) = running.log.access else {
      return logIgnored("SIGUSR1: there is no log file to reopen")
    }
    let (now, wall) = (kernel.now(), kernel.wallClock())
    do throws(LogFileFailure) {
      access.turn(to: try Files.openLog(path))
      log.write(.logReopened, now: now, wall: wall) { $0.field("path", path) }
    } catch {
      log.write(.logNotReopened, now: now, wall: wall) { line in
        line.field("path", path)
        line.field("reason", error.description)
      }
    }
  }

  /// Counts and tells what the writers could not write. To be called about once a second.
  mutating func reportLosses() {
    report(access.takeLoss(), of: "access")
    report(errors.takeLoss(), of: "error")
  }

  private mutating func report(_ loss: LogLoss?, of name: StaticString) {
    guard let loss else { return }
    metrics.add(.logLinesDropped, loss.lines)
    log.write(.logDropped, now: kernel.now(), wall: kernel.wallClock()) { line in
      line.field("log", word: name)
      line.field("dropped", loss.lines)
      line.field("reason", loss.reason.description)
    }
  }
}
