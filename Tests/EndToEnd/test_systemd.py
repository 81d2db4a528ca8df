"""The unit of systemd: how much of the sandbox is on, and that the gateway works in the part of it that
can be had without systemd, its filter of system calls."""

import ctypes
import ctypes.util
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

import pytest

import frames
from frames import TEXT
from harness import BINARY, ROOT, RawBackend, configuration, free_port, raw_echo, wait_until

UNITS = ROOT / "conf/systemd"
UNIT = UNITS / "bascule.service"
ANALYSE = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")


def directives(path=UNIT):
    """{name: [values]}, section by section."""
    found, section = {}, None
    for line in path.read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            name, value = line.split("=", 1)
            found.setdefault(section, {}).setdefault(name, []).append(value)
    return found


@ANALYSE
def test_the_sandbox_scores_no_more_than_two():
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=20",
                           str(UNIT)], capture_output=True, text=True, timeout=30)
    score = float(re.search(r"exposure level for bascule.service: ([0-9.]+)", done.stdout)[1])
    assert score <= 2.0 and done.returncode == 0, done.stdout


@ANALYSE
def test_systemd_understands_every_line(tmp_path):
    """The program and the user need not be on this machine."""
    for unit in UNITS.glob("bascule.s*"):
        if unit.suffix in (".service", ".socket"):
            text = unit.read_text().replace("/usr/local/bin/bascule", "/bin/true")
            (tmp_path / unit.name).write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", str(tmp_path / "bascule.service"),
                           str(tmp_path / "bascule.socket")], capture_output=True, text=True,
                          timeout=30, env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"})
    ours = [line for line in done.stderr.splitlines() if "bascule" in line]
    assert ours == []


def test_what_the_unit_promises():
    unit = directives()
    service = {name: values[-1] for name, values in unit["Service"].items()}
    wanted = {"Type": "notify", "NotifyAccess": "all", "ExecReload": "/bin/kill -HUP $MAINPID",
              "Restart": "on-failure", "RestartSec": "500ms", "WatchdogSec": "10",
              "TimeoutStopSec": "45", "NoNewPrivileges": "yes", "ProtectSystem": "strict",
              "LimitCORE": "0", "LimitNOFILE": "200000", "UMask": "0077", "ReadWritePaths": "",
              "AmbientCapabilities": "CAP_NET_BIND_SERVICE",
              "CapabilityBoundingSet": "CAP_NET_BIND_SERVICE"}
    assert {name: service.get(name) for name in wanted} == wanted
    assert unit["Unit"]["StartLimitIntervalSec"] == ["0"]
    assert service["User"] not in ("root", "0")
    assert "check --running" in service["ExecStartPre"]


class SystemCallFilter:
    """What SystemCallFilter= of the unit lets through, by libseccomp, as systemd does it."""

    ALLOW = 0x7FFF0000

    def __init__(self):
        name = ctypes.util.find_library("seccomp")
        if not name or not shutil.which("systemd-analyze"):
            pytest.skip("needs libseccomp and systemd-analyze")
        self.library = ctypes.CDLL(name, use_errno=True)
        self.library.seccomp_init.restype = ctypes.c_void_p
        for function in (self.library.seccomp_rule_add, self.library.seccomp_load):
            function.argtypes = None
        allowed, denied = directives()["Service"]["SystemCallFilter"]
        assert denied.startswith("~")
        self.calls = self.members(allowed.split()) - self.members(denied[1:].split())
        assert {"recvfrom", "epoll_pwait", "accept4"} <= self.calls
        assert not {"setresuid", "capset", "mount", "setrlimit", "ptrace"} & self.calls

    def members(self, names):
        """The system calls of groups, which hold groups."""
        calls = set()
        for name in names:
            if not name.startswith("@"):
                calls.add(name)
                continue
            said = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager", name],
                                  capture_output=True, text=True, check=True).stdout
            calls |= self.members(line.strip() for line in said.splitlines()[1:]
                                  if line.strip() and not line.strip().startswith("#"))
        return calls

    def apply(self):
        """To this process, for good. What is not let through fails with EPERM."""
        context = ctypes.c_void_p(self.library.seccomp_init(0x00050001))
        for name in sorted(self.calls) + ["execve"]:
            number = self.library.seccomp_syscall_resolve_name(name.encode())
            if number >= 0:
                self.library.seccomp_rule_add(context, ctypes.c_uint32(self.ALLOW),
                                              ctypes.c_int(number), ctypes.c_uint(0))
        assert self.library.seccomp_load(context) == 0


def test_the_gateway_works_behind_the_filter(tmp_path):
    SystemCallFilter()
    with RawBackend(raw_echo) as backend:
        port = free_port()
        path = tmp_path / "bascule.yaml"
        path.write_text(configuration(port, [f"127.0.0.1:{backend.port}"]))
        command = [sys.executable, __file__, BINARY, "run", "--config", str(path)]
        if os.geteuid() == 0:
            # As the unit has it: one capability.
            command = ["setpriv", "--inh-caps=-all,+net_bind_service",
                       "--bounding-set=-all,+net_bind_service"] + command
        process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT)
        lines = []

        def wait(word):
            for line in process.stdout:
                lines.append(line)
                if word in line:
                    return
            raise AssertionError(f"no {word} in:\n" + "".join(lines))

        try:
            wait('"listening"')
            status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
            assert re.search(r"^Seccomp:\t2$", status, re.M)
            with frames.open_websocket(("127.0.0.1", port)) as client:
                client.send_frame(TEXT, b"hello")
                assert client.read_frame().payload == b"hello"
            process.send_signal(signal.SIGHUP)
            wait("configuration reloaded")
        finally:
            process.terminate()
            assert process.wait(10) == 0, lines


if __name__ == "__main__":
    SystemCallFilter().apply()
    os.execv(sys.argv[1], sys.argv[1:])
