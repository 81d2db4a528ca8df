// swift-tools-version: 6.3
import PackageDescription

// No package dependencies: system libraries only (Sources/README.md says which and why).
let strict: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .strictMemorySafety(),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .unsafeFlags(["-cross-module-optimization"], .when(configuration: .release)),
]
// Everything the dynamic linker writes is read-only before the first of our code runs.
let sealed: [LinkerSetting] = [
  .unsafeFlags(["-Xlinker", "-z", "-Xlinker", "relro", "-Xlinker", "-z", "-Xlinker", "now"])
]
// Tests may use Foundation and unsafe helpers; they keep the language mode only.
let relaxed: [SwiftSetting] = [.swiftLanguageMode(.v6)]

let package = Package(
  name: "bascule",
  products: [.executable(name: "bascule", targets: ["bascule"])],
  targets: [
    .systemLibrary(name: "CLinux"),
    .systemLibrary(
      name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
    .systemLibrary(
      name: "CNghttp2", pkgConfig: "libnghttp2", providers: [.apt(["libnghttp2-dev"])]),
    .systemLibrary(name: "CYAML", pkgConfig: "yaml-0.1", providers: [.apt(["libyaml-dev"])]),

    .target(name: "Bytes", swiftSettings: strict),
    .target(name: "Kernel", dependencies: ["Bytes", "CLinux"], swiftSettings: strict),
    .target(name: "Wire", dependencies: ["Bytes", "CNghttp2"], swiftSettings: strict),
    .target(name: "TLS", dependencies: ["Bytes", "COpenSSL"], swiftSettings: strict),
    .target(name: "Configuration", dependencies: ["Bytes", "CYAML"], swiftSettings: strict),
    .target(name: "Telemetry", dependencies: ["Bytes"], swiftSettings: strict),
    .target(
      name: "Gateway",
      dependencies: ["Bytes", "Kernel", "Wire", "TLS", "Configuration", "Telemetry"],
      swiftSettings: strict),
    .executableTarget(
      name: "bascule", dependencies: ["Gateway", "Configuration", "Kernel", "TLS", "Telemetry"],
      swiftSettings: strict, linkerSettings: sealed),

    .target(
      name: "Endpoint", dependencies: ["Bytes", "Kernel", "TLS", "CNghttp2"],
      path: "Tests/Endpoint", swiftSettings: strict),
    .executableTarget(
      name: "bascule-load", dependencies: ["Bytes", "Kernel", "TLS", "Endpoint"],
      path: "Tests/Benchmarks/Load", swiftSettings: strict),
    .executableTarget(
      name: "bascule-integrity",
      dependencies: ["Bytes", "Kernel", "TLS", "Wire", "Endpoint", "Support"],
      path: "Tests/Integrity", exclude: ["README.md", "run.py"], swiftSettings: strict),

    .target(
      name: "Support", dependencies: ["Bytes", "Kernel"], path: "Tests/Support",
      swiftSettings: relaxed),
    .testTarget(
      name: "BytesTests", dependencies: ["Bytes", "Support"], swiftSettings: relaxed),
    .testTarget(
      name: "KernelTests", dependencies: ["Kernel", "Support"], swiftSettings: relaxed),
    .testTarget(
      name: "WireTests", dependencies: ["Wire", "Support"], exclude: ["Vectors"],
      swiftSettings: relaxed),
    .testTarget(name: "TLSTests", dependencies: ["TLS", "Support"], swiftSettings: relaxed),
    .testTarget(
      name: "ConfigurationTests", dependencies: ["Configuration", "Support"], exclude: ["Golden"],
      swiftSettings: relaxed),
    .testTarget(
      name: "TelemetryTests", dependencies: ["Telemetry", "Support"], swiftSettings: relaxed),
    .testTarget(
      name: "GatewayTests", dependencies: ["Gateway", "Support"], swiftSettings: relaxed),
    .testTarget(
      name: "SimulationTests",
      dependencies: [
        "Bytes", "Configuration", "Gateway", "Kernel", "Support", "TLS", "Telemetry", "Wire",
      ],
      swiftSettings: relaxed),
    .testTarget(
      name: "TidyTests", dependencies: ["Configuration", "bascule"], swiftSettings: relaxed),
  ]
)
