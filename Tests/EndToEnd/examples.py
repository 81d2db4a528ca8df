"""Runs the configurations of conf/examples as they are: where they listen and where their backends are
comes from the environment, as it may for an operator."""

import contextlib
import os
import subprocess

from harness import BINARY, ROOT, free_port, run_gateway

SECRET = "a secret for the tests alone"


def local(port):
    return f"127.0.0.1:{port}"


def check(arguments, environment):
    """`bascule check` has nothing to say but that all is well."""
    done = subprocess.run([BINARY, "check", *arguments], capture_output=True, text=True, timeout=20,
                          stdin=subprocess.DEVNULL, env={**os.environ, **environment})
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert ": ok (" in done.stdout, done.stdout


@contextlib.contextmanager
def run_example(name, tls=None, **environment):
    """A gateway on conf/examples/NAME.yaml, checked before. With `tls`, a pair of a listener's
    configuration, a file includes the example and adds a listener: `ports[1]`."""
    ports = [free_port()]
    environment = {"LISTEN": local(ports[0]), "STICKY_SECRET": SECRET, **environment}
    path, text = ROOT / f"conf/examples/{name}.yaml", ""
    arguments = ["--config", str(path)]
    if tls:
        ports.append(free_port())
        text = (f"include: ['{path}']\nlisteners:\n  - bind: {local(ports[1])}\n"
                f"    tls: {{certificates: [{tls}]}}\n")
        arguments = None
    else:
        check(arguments, environment)
    with run_gateway(text, ports, arguments=arguments and ["run", *arguments],
                     environment=environment) as running:
        yield running
