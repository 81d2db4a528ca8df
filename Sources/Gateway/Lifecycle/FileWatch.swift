// Looks whether files have changed, by what stat(2) says of them. Through symbolic links, so that a whole
// directory that is swapped by one link (as Kubernetes does with its mounted volumes) counts as well.

import Bytes
import Kernel

struct FileWatch {
  private(set) var paths: Set<String> = []
  private var stamps: [String: FileStamp] = [:]
  private var isUnsettled = false

  /// From here on these files and directories; what they are now is no change.
  mutating func watch(_ paths: Set<String>) {
    self.paths = paths
    stamps = current()
    isUnsettled = false
  }

  /// True once for every change, at the first look that finds nothing more changing: what is still
  /// being written is not to be read. To be called about once a second.
  mutating func hasChanged() -> Bool {
    let now = current()
    if now != stamps {
      stamps = now
      isUnsettled = true
      return false
    }
    defer { isUnsettled = false }
    return isUnsettled
  }

  private func current() -> [String: FileStamp] {
    paths.reduce(into: [:]) { $0[$1] = Files.stamp($1) }
  }
}
