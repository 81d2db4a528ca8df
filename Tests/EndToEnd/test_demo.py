"""The demo in a browser: Chromium, headless, driven over its debugging protocol."""

import contextlib
import itertools
import json
import base64
import os
import pathlib
import shutil
import subprocess
import tempfile
import threading
import http.server
import urllib.request

import pytest
from websockets.sync.client import connect

from harness import ROOT, free_port, run_gateway, wait_until

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium (Debian package `chromium`)")
PICTURES = pathlib.Path(os.environ.get("BASCULE_PICTURES", ROOT / ".build/screenshots"))


class Page:
    """One tab. Certificates are not checked, as after a visitor has accepted ours."""

    def __init__(self, socket):
        self.socket, self.numbers = socket, itertools.count(1)

    def call(self, method, **parameters):
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            reply = json.loads(self.socket.recv(timeout=20))
            if reply.get("id") == number:
                assert "error" not in reply, reply
                return reply["result"]

    def evaluate(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True,
                           returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def visit(self, url):
        self.call("Page.navigate", url=url)
        wait_until(lambda: self.evaluate("document.readyState") == "complete"
                   and self.evaluate("location.href").startswith(url), 10, f"{url} to load")

    def click(self, selector):
        self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    def log(self):
        return self.evaluate("document.querySelector('#log').innerText") or ""

    def state(self):
        return self.evaluate("document.querySelector('#state').innerText") or ""

    def last_look(self):
        """How the last line of the log is dressed: `broken` is red."""
        return self.evaluate("document.querySelector('#log li:last-child .kind').classList[1]")

    def picture(self, name):
        PICTURES.mkdir(parents=True, exist_ok=True)
        data = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        (PICTURES / name).write_bytes(data)
        return data


@contextlib.contextmanager
def browser():
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bascule-chromium-", ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             "--ignore-certificate-errors", "--no-first-run", "--window-size=1000,1100",
             "--no-proxy-server", "--remote-allow-origins=*",
             f"--remote-debugging-port={port}", f"--user-data-dir={profile}", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def targets():
            with contextlib.suppress(OSError):
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=2) as got:
                    return [t for t in json.load(got) if t["type"] == "page"]
        try:
            target = wait_until(targets, 30, "Chromium")[0]
            with connect(target["webSocketDebuggerUrl"], max_size=None, ping_interval=None) as socket:
                page = Page(socket)
                page.call("Page.enable")
                yield page
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture(scope="module")
def page():
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def demo():
    plain, secure = free_port(), free_port()
    arguments = ["demo", "--http", str(plain), "--https", str(secure)]
    with run_gateway("", [plain, secure], arguments=arguments) as running:
        yield running


def converse(page, scheme, picture):
    page.evaluate(f"document.querySelector('input[name=scheme][value={scheme}]').click()")
    page.click("#connect")
    wait_until(lambda: "open" in page.log(), 10, "the socket to open")
    for text in ["first", "second"]:
        page.evaluate(f"document.querySelector('#message').value = '{text}'")
        page.click("#send")
        wait_until(lambda: page.log().count(text) >= 2, 5, f"the echo of {text}")
    data = page.picture(picture)
    assert data.startswith(b"\x89PNG") and len(data) > 10_000
    assert page.evaluate("document.querySelector('#rtt-last').innerText").strip() not in ("", "\u2013")
    page.click("#close")
    wait_until(lambda: "not connected" in page.state(), 5, "the close")
    assert "code 1000" in page.log() and page.last_look() == "close"
    page.click("#clear")


@pytest.mark.timeout(120)
def test_the_page_talks_over_ws_and_wss(page, demo):
    page.visit(f"http://127.0.0.1:{demo.ports[0]}/")
    converse(page, "ws", "demo-ws.png")
    converse(page, "wss", "demo-wss.png")


@pytest.mark.timeout(120)
def test_only_a_close_that_went_wrong_is_red(page, demo):
    page.visit(f"http://127.0.0.1:{demo.ports[0]}/")
    colour = "getComputedStyle(document.querySelector('#log li:last-child .kind')).color"
    seen = {}
    for name, code, clean in [("fine", 1000, True), ("gone", 1006, False), ("wrong", 1002, True)]:
        page.click("#connect")
        wait_until(lambda: page.state() == "connected", 10, "the socket to open")
        page.evaluate(f"(() => {{ const s = socket; s.onclose(new CloseEvent('close', {{code: {code},"
                      f" wasClean: {str(clean).lower()}}})); s.onclose = null; s.close(); }})()")
        seen[name] = page.evaluate(colour)
    assert seen["gone"] == seen["wrong"] != seen["fine"]


@pytest.mark.timeout(120)
def test_a_failure_asks_about_the_certificate_only_when_that_can_be_the_reason(page):
    ports = [free_port(), free_port()]
    arguments = ["demo", "--http", str(ports[0]), "--https", str(ports[1])]
    with run_gateway("", ports, arguments=arguments):
        page.visit(f"http://127.0.0.1:{ports[0]}/")
        page.evaluate("document.querySelector('input[value=wss]').click()")
        real = page.evaluate("(() => { const url = urls.wss; urls.wss = 'wss://127.0.0.1:1/'; return url; })()")
        page.click("#connect")
        wait_until(lambda: "accepted the certificate" in page.log(), 10, "the question")
        page.click("#clear")
        page.evaluate(f"urls.wss = '{real}'")
    page.click("#connect")
    wait_until(lambda: "does not answer" in page.log(), 10, "the explanation")
    assert "certificate" not in page.log()


@pytest.mark.timeout(120)
@pytest.mark.skipif("BASCULE_PICTURES" not in os.environ, reason="needs BASCULE_PICTURES, a directory")
def test_the_picture_in_the_readme(page):
    with run_gateway("", [8080, 8443], arguments=["demo"]):
        page.call("Emulation.setDeviceMetricsOverride", width=1000, height=960, mobile=False,
                  deviceScaleFactor=1)
        page.call("Emulation.setScrollbarsHidden", hidden=True)
        page.visit("http://localhost:8080/")
        page.click("#connect")
        for text in ["Hello, backend", "How are you?"]:
            wait_until(lambda: page.state() == "connected", 10, "the socket to open")
            page.evaluate(f"document.querySelector('#message').value = '{text}'")
            page.click("#send")
            wait_until(lambda: page.log().count(text) == 2, 5, f"the echo of {text}")
        wait_until(lambda: "1 ping" in page.log(), 20, "a ping")
        page.click("#close")
        wait_until(lambda: page.state() == "not connected", 5, "the close")
        page.picture("demo.png")
        page.call("Emulation.clearDeviceMetricsOverride")


@pytest.mark.timeout(120)
def test_the_page_works_from_its_https_address(page, demo):
    page.visit(f"https://127.0.0.1:{demo.ports[1]}/")
    assert "accept the" not in page.evaluate("document.body.innerText")
    page.evaluate("document.querySelector('input[name=scheme][value=wss]').click()")
    page.click("#connect")
    wait_until(lambda: "open" in page.log(), 10, "the socket to open")
    page.click("#close")


@pytest.mark.timeout(120)
def test_a_page_of_a_foreign_origin_is_refused(page, demo):
    handler = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {
        "log_message": lambda *_: None,
        "do_GET": lambda self: (self.send_response(200), self.send_header("Content-Length", "2"),
                                self.end_headers(), self.wfile.write(b"hi"))})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page.visit(f"http://localhost:{server.server_port}/")
        outcome = page.evaluate(
            "new Promise(done => { const s = new WebSocket('ws://127.0.0.1:%d/ws');"
            "s.onopen = () => done('open'); s.onclose = e => done('closed ' + e.code); })"
            % demo.ports[0])
        server.shutdown()
    assert outcome == "closed 1006"
    wait_until(lambda: demo.log_contains(f"http://localhost:{server.server_port}"), what="a log line")
