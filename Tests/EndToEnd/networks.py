"""Networks of their own, in network namespaces: hosts with addresses, links and a switch between them.
The kernel takes one away when nothing has it open, so none is left behind, even by a test that is killed."""

import contextlib
import ctypes
import os
import shutil
import subprocess

import pytest

NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


def call(function, *arguments):
    if function(*arguments):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def current():
    """A descriptor of the namespace this thread is in."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY)


@contextlib.contextmanager
def staying():
    """Back in this thread's namespace at the end."""
    own = current()
    try:
        yield
    finally:
        call(LIBC.setns, own, NEWNET)
        os.close(own)


class Host:
    """One namespace."""

    def __init__(self):
        with staying():
            call(LIBC.unshare, NEWNET)
            self.descriptor = current()

    @contextlib.contextmanager
    def inside(self):
        """The sockets this thread opens are the host's, and so are those of the threads and the
        processes it starts."""
        with staying():
            call(LIBC.setns, self.descriptor, NEWNET)
            yield

    def ip(self, *commands):
        with self.inside():
            subprocess.run(["ip", "-batch", "-"], input="\n".join(commands), text=True, check=True)


class Switch(Host):
    """A host that others are plugged into; its own addresses are `addresses`."""

    def __init__(self, addresses):
        super().__init__()
        self.hosts = []
        self.ip("link set lo up", "link add name lan type bridge", "link set lan up",
                *(f"address add {address}/24 dev lan" for address in addresses))

    def plug(self, address):
        """A new host with a link to this one."""
        host = Host()
        self.hosts.append(host)
        port = f"port{len(self.hosts)}"
        self.ip(f"link add name {port} type veth peer name eth0 "
                f"netns /proc/{os.getpid()}/fd/{host.descriptor}",
                f"link set {port} master lan", f"link set {port} up")
        host.ip("link set lo up", f"address add {address}/24 dev eth0", "link set eth0 up")
        return host


@contextlib.contextmanager
def switch(addresses):
    """A network; skips the test where none can be made."""
    if shutil.which("ip") is None:
        pytest.skip("ip is not installed (Debian package `iproute2`)")
    with contextlib.ExitStack() as stack:
        try:
            made = Switch(addresses)
            stack.callback(lambda: [os.close(host.descriptor) for host in [*made.hosts, made]])
            # Whether links can be made too.
            made.plug("10.77.0.254")
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no network namespaces here: {error}")
        yield made
