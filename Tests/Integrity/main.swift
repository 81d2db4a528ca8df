// The integrity test's entry: opens the backend, says where it is, asks for the gateway, runs.

import Bytes
import Glibc
import Kernel
import TLS

func stop(_ message: String, _ status: Int32) -> Never {
  print(message)
  exit(status)
}

func literal(_ text: String) -> SocketAddress? {
  guard let parsed = HostPort(parsing: text), let address = parsed.literal else { return nil }
  return .ip(address, port: parsed.port)
}

do {
  _ = try DescriptorLimit.raise()
  var kernel = try LinuxKernel()
  guard
    let options = Options(
      arguments: Array(CommandLine.arguments.dropFirst()), seed: kernel.random() >> 16)
  else { stop(Options.usage, 64) }
  let listener = try Listening.open(.ip(.v4(0x7f00_0001), port: 0), backlog: 4_096)
  guard let backend = Listening.localAddress(of: listener) else { stop("no backend", 1) }
  print(backend)
  fflush(nil)
  guard let line = readLine(), let target = literal(line) else { stop(Options.usage, 64) }
  var contexts = Contexts()
  if options.tls {
    contexts.http1 = try TLSContext.client(ClientTLS(verify: false))
    contexts.http2 = try TLSContext.client(ClientTLS(verify: false, protocols: ["h2"]))
  }
  var driver = Driver(
    options, kernel: kernel, listener: listener, target: target, contexts: contexts)
  driver.run()
  driver.tally.report(options)
  exit(driver.tally.violations == 0 && driver.tally.delivered == options.messages ? 0 : 1)
} catch {
  stop("bascule-integrity: \(error)", 1)
}
