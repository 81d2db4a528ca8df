// The executable: what was asked for, and the exit status.

import Glibc

exit(Command.run(Array(CommandLine.arguments.dropFirst())))
