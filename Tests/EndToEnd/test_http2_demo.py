"""The demo over HTTP/2 in a browser: the page and its sockets on one TCP connection."""

import pathlib

import pytest

from harness import wait_until
from test_demo import converse, demo, page, pytestmark  # noqa: F401  (fixtures)


def connections(port):
    """TCP connections of clients to a local port, as the kernel lists them."""
    lines = pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]
    local = f":{port:04X}"
    return sum(1 for line in lines if line.split()[1].endswith(local) and line.split()[3] == "01")


@pytest.mark.timeout(120)
def test_the_socket_of_an_https_page_runs_over_http2(page, demo):  # noqa: F811
    page.visit(f"https://127.0.0.1:{demo.ports[1]}/")
    converse(page, "wss", "demo-h2.png")
    page.click("#connect")
    wait_until(lambda: "over HTTP/2 " in page.log(), 10, "the version in words")
    page.click("#close")
    opened = [e for e in demo.events if e.get("event") == "open"]
    assert opened and all(e["protocol"] == "h2" for e in opened), opened
    wait_until(lambda: sum(e.get("event") == "close" for e in demo.events) == len(opened))
    closed = [e for e in demo.events if e.get("event") == "close"]
    assert {(e["closed_by"], e["client_code"]) for e in closed} == {("client", 1000)}, closed


TEN = """
new Promise((done, failed) => {
  let left = 10;
  window.ten = [...Array(10).keys()].map(n => {
    const socket = new WebSocket(`wss://${location.host}/ws`);
    socket.onopen = () => socket.send(`number ${n}`);
    socket.onmessage = e => { if (e.data === `number ${n}` && --left === 0) done("all echoed"); };
    socket.onclose = e => failed(`closed ${e.code}`);
    return socket;
  });
})
"""
END = """
new Promise(done => {
  let left = 10;
  for (const socket of window.ten) {
    socket.onclose = e => { if (e.wasClean && --left === 0) done("all closed"); };
    socket.close(1000);
  }
})
"""


@pytest.mark.timeout(120)
def test_ten_sockets_of_one_page_share_one_tcp_connection(page, demo):  # noqa: F811
    page.visit(f"https://127.0.0.1:{demo.ports[1]}/")
    assert page.evaluate(TEN) == "all echoed"
    wait_until(lambda: connections(demo.ports[1]) == 1, 10, "a single connection")
    assert page.evaluate(END) == "all closed"
