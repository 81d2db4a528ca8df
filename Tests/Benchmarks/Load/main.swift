// The load generator's entry: reads the command line, starts the echo backend and drives a proxy.

import Bytes
import Glibc
import Kernel
import TLS

func stop(_ message: String, _ status: Int32) -> Never {
  print(message)
  exit(status)
}

/// The proxy's certificate is made for the run: its name is of no interest here.
func clientContext(http2: Bool) throws(TLSSetupFailure) -> TLSContext {
  try TLSContext.client(ClientTLS(verify: false, protocols: http2 ? ["h2"] : []))
}

guard let options = Options(arguments: Array(CommandLine.arguments.dropFirst())) else {
  stop(Options.usage, 64)
}
do {
  _ = try DescriptorLimit.raise()
  var driver = Driver(
    options, kernel: try LinuxKernel(),
    tlsContext: options.tls ? try clientContext(http2: options.streams != nil) : nil)
  if let address = options.backend {
    driver.listen(try Listening.open(address, backlog: 4_096))
  }
  let succeeded = driver.run()
  stop(driver.results.json(options), succeeded ? 0 : 1)
} catch {
  stop("bascule-load: \(error)", 1)
}
