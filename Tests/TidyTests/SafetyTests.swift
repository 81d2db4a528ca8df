// Where unsafe code may be, and who may talk to what.

import Testing

@Suite("Safety and module borders")
struct SafetyTests {
  /// Owned memory, system calls, OpenSSL, nghttp2 and libyaml: nothing else needs a raw pointer.
  static let unsafeFiles = [
    "Sources/Bytes/", "Sources/Kernel/", "Sources/TLS/", "Sources/Configuration/YAML.swift",
    "Sources/Wire/HTTP2/NGHTTP2",
  ]

  /// What the files of a module may import besides the modules of Package.swift, which SwiftPM
  /// checks. Only the kernel makes system calls; the executable needs `exit`.
  static let systemImports: [String: Set<String>] = [
    "Bytes": [], "Wire": ["CNghttp2"], "Kernel": ["CLinux", "Glibc"],
    "TLS": ["COpenSSL", "Synchronization"],
    "Configuration": ["CYAML"], "Telemetry": ["Synchronization"], "Gateway": ["Synchronization"],
    "bascule": ["Glibc"],
  ]

  /// Which modules of ours a module may import: nothing below Gateway knows a sibling but Bytes.
  static let ownImports: [String: Set<String>] = [
    "Bytes": [], "Wire": ["Bytes"], "Kernel": ["Bytes"], "TLS": ["Bytes"],
    "Configuration": ["Bytes"], "Telemetry": ["Bytes"],
    "Gateway": ["Bytes", "Wire", "Kernel", "TLS", "Configuration", "Telemetry"],
    "bascule": ["Bytes", "Kernel", "TLS", "Configuration", "Telemetry", "Gateway"],
  ]

  @Test("unsafe code is only where it is allowed, and every such file gives its reasons")
  func unsafeCode() {
    var findings: [Finding] = []
    var seen = 0
    for path in Tree.files("Sources", endingIn: ".swift") {
      let first = Tree.code(path).firstIndex { Source.contains($0, word: "unsafe") }
      guard let first else { continue }
      seen += 1
      if !Self.unsafeFiles.contains(where: path.hasPrefix) {
        findings.append(Finding(path, first + 1, "unsafe is not allowed here"))
      }
      if Tree.text(path)?.contains("Safety:") != true {
        findings.append(Finding(path, first + 1, "unsafe without a \"Safety:\" reason"))
      }
    }
    #expect(findings.isEmpty, "\(findings)")
    #expect(seen > 10, "the reader finds no unsafe code any more")
  }

  /// Where one owner is the only one, and a check costs as much as what it guards.
  static let unguardedFiles: Set<String> = [
    "Sources/Bytes/SharedBuffer.swift", "Sources/Gateway/Balance/WorkerUpstream.swift",
    "Sources/Gateway/Exchange.swift", "Sources/Gateway/Forwarding.swift",
    "Sources/Gateway/HTTP2/HTTP2Front.swift",
  ]

  @Test("exclusive access is checked everywhere but where it is known to go without")
  func exclusivity() {
    let found = Tree.files("Sources", endingIn: ".swift").filter { path in
      Tree.code(path).contains { Source.contains($0, word: "exclusivity") }
    }
    #expect(Set(found) == Self.unguardedFiles)
  }

  @Test("modules import what the architecture allows, and nothing else")
  func imports() {
    var findings: [Finding] = []
    for path in Tree.files("Sources", endingIn: ".swift") {
      let module = String(path.split(separator: "/")[1])
      let allowed = Self.systemImports[module]?.union(Self.ownImports[module] ?? []) ?? []
      for (index, line) in Tree.code(path).enumerated() {
        let words = line.split(separator: " ")
        guard let at = words.firstIndex(of: "import"), at + 1 < words.count else { continue }
        if !allowed.contains(String(words[at + 1])) {
          findings.append(Finding(path, index + 1, line))
        }
      }
    }
    #expect(findings.isEmpty, "\(findings)")
  }

  @Test("every Swift folder of Sources is a module that is known here")
  func modules() {
    let folders = Tree.files("Sources", endingIn: ".swift").map { $0.split(separator: "/")[1] }
    #expect(Set(folders.map(String.init)) == Set(Self.ownImports.keys))
  }
}
