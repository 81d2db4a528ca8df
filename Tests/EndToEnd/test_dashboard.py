"""The page of the admin listener in a browser: what it shows of the gateway, and how it looks."""

import asyncio
import contextlib
import os
import threading

import pytest
from websockets.asyncio.client import connect as open_socket
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

import harness
from admin import TOKEN, administered, ask
from harness import AsyncBackend, echo, free_port, wait_until
from test_demo import CHROMIUM, browser

pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason="no Chromium (Debian package `chromium`)"),
              pytest.mark.timeout(120)]
KEEPALIVE = {"interval": "1s", "timeout": "2s", "upstream_interval": "1s", "upstream_timeout": "2s"}

# Texts with less contrast than 4.5 to what is behind them, as "ratio text". Colours with an alpha are
# laid over what is below.
CONTRAST = """(() => {
  const parse = (text) => {
    const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
    return { r, g, b, a };
  };
  const over = (top, below) => Object.fromEntries(["r", "g", "b"].map((key) =>
    [key, top[key] * top.a + below[key] * (1 - top.a)]).concat([["a", 1]]));
  const behind = (element) => {
    if (!element) return parse(getComputedStyle(document.documentElement).colorScheme === "dark"
      ? "rgb(0, 0, 0)" : "rgb(255, 255, 255)");
    const own = parse(getComputedStyle(element).backgroundColor);
    return own.a === 1 ? own : over(own, behind(element.parentElement));
  };
  const light = ({ r, g, b }) => [r, g, b].map((part) => part / 255)
    .map((part) => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
  const found = { checked: 0, poor: [] };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.data.trim();
    if (text === "" || !element.checkVisibility() || element.closest("script, option")) continue;
    const style = getComputedStyle(element);
    const below = behind(element);
    const ink = over(parse(element instanceof SVGElement ? style.fill : style.color), below);
    const [low, high] = [light(ink), light(below)].sort((a, b) => a - b);
    const ratio = (high + 0.05) / (low + 0.05);
    found.checked += 1;
    if (ratio < 4.5) found.poor.push(`${ratio.toFixed(2)} ${text}`);
  }
  return found;
})()"""

# Controls without a name, and headings that leave a level out.
STRUCTURE = """(() => {
  const found = [];
  for (const control of document.querySelectorAll("input, select, button, svg[role], [tabindex]")) {
    const named = control.getAttribute("aria-label") || control.getAttribute("aria-labelledby")
      || [...(control.labels ?? [])].some((label) => label.innerText.trim())
      || control.tagName === "BUTTON" && control.textContent.trim();
    if (!named) found.push(control.outerHTML.slice(0, 80));
  }
  let level = 0;
  for (const heading of document.querySelectorAll("h1, h2, h3, h4")) {
    const own = Number(heading.tagName[1]);
    if (own > level + 1) found.push(heading.outerHTML);
    level = own;
  }
  return found;
})()"""

# What has moved since the page was loaded, as "how much: what".
SHIFTS = """new Promise((done) => {
  const found = [];
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      const what = entry.sources.map(({ node }) => (node?.parentElement?.closest("[id]")?.id ?? "")
        + " " + (node?.textContent ?? "").slice(0, 40));
      found.push(`${entry.value.toFixed(4)}: ${what.join(", ")}`);
    }
  }).observe({ type: "layout-shift", buffered: true });
  setTimeout(() => done(found), 200);
})"""


class Sockets:
    """WebSockets in a loop of their own thread, of which each sends some messages a second."""

    def __init__(self, urls, rate=0):
        self.urls, self.rate, self.codes = urls, rate, []
        self.loop = asyncio.new_event_loop()
        self.open, self.done = threading.Semaphore(0), asyncio.Event()
        self.thread = threading.Thread(target=self.loop.run_until_complete, args=(self.run(),),
                                       daemon=True)

    async def run(self):
        await asyncio.gather(*(self.one(index, url) for index, url in enumerate(self.urls)))

    async def one(self, index, url):
        async with open_socket(url, ping_interval=None, compression=None) as socket:
            self.open.release()
            reader = asyncio.ensure_future(self.read(socket))
            done = asyncio.ensure_future(self.done.wait())
            pause = (1 + index % 5) / self.rate if self.rate else None
            while not (await asyncio.wait({reader, done}, timeout=pause,
                                          return_when=asyncio.FIRST_COMPLETED))[0]:
                with contextlib.suppress(ConnectionClosed):
                    await socket.send("hello " * (1 + index % 40))
            await socket.close()
            await reader
            done.cancel()
        self.codes.append(socket.close_code)

    async def read(self, socket):
        with contextlib.suppress(ConnectionClosed):
            async for _ in socket:
                pass

    def __enter__(self):
        self.thread.start()
        for _ in self.urls:
            assert self.open.acquire(timeout=10)
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.done.set)
        self.thread.join(timeout=15)


@pytest.fixture(scope="module")
def page():
    with browser() as opened:
        yield opened


def look(page, width=1280, height=1250, scheme="light"):
    page.call("Emulation.setDeviceMetricsOverride", width=width, height=height, mobile=False,
              deviceScaleFactor=1)
    page.call("Emulation.setEmulatedMedia",
              features=[{"name": "prefers-color-scheme", "value": scheme}])


def text(page, selector):
    return page.evaluate(f"document.querySelector({selector!r})?.innerText ?? ''").strip()


def tile(page, key):
    return page.evaluate(f"tiles.get('{key}').number.textContent")


def rows(page, body="connections"):
    return page.evaluate(f"document.querySelectorAll('#{body} tr').length")


def search(page, selector, value):
    page.evaluate(f"(() => {{ const field = document.querySelector({selector!r});"
                  f"field.value = {value!r};"
                  "field.dispatchEvent(new Event('input', {bubbles: true})); })()")


def pause(page, seconds):
    page.evaluate(f"new Promise((done) => setTimeout(done, {seconds * 1000}))")


def visit(page, port):
    page.visit(f"http://127.0.0.1:{port}/")
    wait_until(lambda: text(page, "#state") == "live", 10, "the page to be live")


@contextlib.contextmanager
def busy(paths, rate=0, dead=False, **keywords):
    """A gateway with two routes, sockets on `paths`, and an endpoint that is out if `dead`."""
    routes = [harness.route(path="/chat", websocket={"keepalive": KEEPALIVE}),
              harness.route(path="/prices", websocket={"keepalive": KEEPALIVE})]
    with AsyncBackend(echo) as backend, AsyncBackend(echo) as other:
        endpoints = [backend.port, other.port] + ([free_port()] if dead else [])
        with administered(endpoints, routes=routes, **keywords) as (running, port):
            with Sockets([running.url(path) for path in paths], rate) as sockets:
                yield running, port, sockets


def test_it_is_one_page_that_loads_nothing_and_needs_no_token():
    with AsyncBackend(echo) as backend, administered([backend.port], {"token": TOKEN}) as (_, port):
        answer = ask(port, "/")
        assert answer.status == 200 and answer.fields["content-type"].startswith("text/html")
        policy = answer.fields["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "'sha256-" in policy
        assert "http://" not in answer.text.replace("http://www.w3.org/2000/svg", "")
        assert "https://" not in answer.text and "src=" not in answer.text
        assert ask(port, "/", host="evil.example").status == 403
        assert ask(port, "/", "HEAD").body == b""
        assert ask(port, "/", "POST", token=TOKEN).status == 405


def test_it_shows_what_is_open_and_follows(page):
    look(page)
    paths = ["/chat/one", "/chat/two", "/prices/three"]
    with busy(paths) as (running, port, _):
        visit(page, port)
        wait_until(lambda: tile(page, "sockets") == "3" and rows(page) == 3, 5, "three sockets")
        assert rows(page, "routes") == 2 and rows(page, "endpoints") == 2
        assert text(page, "#endpoints .pill") == "up"
        # Only what is silent is pinged.
        wait_until(lambda: "ms" in text(page, "#trips-legend"), 10, "a round trip")
        assert page.evaluate("document.querySelectorAll('#messages-chart .line').length") == 2
        with Sockets([running.url("/chat/four")], rate=20):
            wait_until(lambda: tile(page, "messages") not in ("0", "\u2013"), 5, "messages")
            wait_until(lambda: tile(page, "sockets") == "4" and rows(page) == 4, 5, "the fourth")
        wait_until(lambda: tile(page, "sockets") == "3" and rows(page) == 3, 5, "three again")


def test_it_searches_and_closes(page):
    look(page)
    paths = [f"/chat/{number}" for number in range(8)] + ["/prices/gold"]
    with busy(paths) as (_, port, sockets):
        visit(page, port)
        wait_until(lambda: rows(page) == 9, 5, "all")
        for selector, value, count in [("#text", "GOLD", 1), ("#text", "127.0.0.9", 0),
                                       ("#text", "127.0.0.1", 9), ("#text", "", 9),
                                       ("#route", "*/prices", 1), ("#route", "", 9)]:
            search(page, selector, value)
            wait_until(lambda: rows(page) == count, 5, f"{count} for {value!r}")
        search(page, "#text", "gold")
        wait_until(lambda: rows(page) == 1, 5, "the one")
        page.click("#connections button")
        assert "/prices/gold" in text(page, "#ask-what")
        page.click("#ask-no")
        assert page.evaluate("!document.querySelector('#ask').open") and not sockets.codes
        page.click("#connections button")
        search(page, "#ask-code", "1012")
        page.click("#ask-yes")
        wait_until(lambda: sockets.codes == [1012], 5, "the close code")
        wait_until(lambda: "Nothing matches" in text(page, "#list-empty"), 5, "an empty list")
        search(page, "#text", "")
        wait_until(lambda: rows(page) == 8, 5, "the others")


def test_more_than_a_hundred_are_found_by_searching(page):
    look(page)
    with busy([f"/chat/{number}" for number in range(130)]) as (_, port, _):
        visit(page, port)
        wait_until(lambda: rows(page) == 100 and "more" in text(page, "#list-count"), 5, "a hundred")
        search(page, "#text", "/chat/12")
        wait_until(lambda: rows(page) == 11, 5, "/chat/12 and /chat/120 to 129")


def test_it_asks_for_the_token_and_keeps_it_nowhere(page):
    look(page)
    with busy(["/chat"], admin={"token": TOKEN}) as (_, port, _):
        page.visit(f"http://127.0.0.1:{port}/")
        wait_until(lambda: text(page, "#state") == "needs a token", 5, "the question")
        for value, shown in [("wrong-wrong-wrong", "That is not the token."), (TOKEN, "")]:
            page.evaluate(f"document.querySelector('#token').value = '{value}'")
            page.click("#login-form button")
            wait_until(lambda: text(page, "#state") == "live" if not shown
                       else text(page, "#login-error") == shown, 5, shown or "the board")
        wait_until(lambda: rows(page) == 1, 5, "the socket")
        kept = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie,"
                             "location.href, document.documentElement.outerHTML])")
        assert TOKEN not in kept


def test_a_gateway_that_is_gone_is_told(page):
    look(page)
    with busy(["/chat"]) as (_, port, _):
        visit(page, port)
    wait_until(lambda: text(page, "#state") == "no answer", 10, "the word")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_in_both_schemes_and_on_a_phone(page, scheme):
    paths = [f"/chat/room-{number}" for number in range(9)] + ["/prices/gold"] * 4
    with busy(paths, rate=0.2, dead=True) as (_, port, _):
        look(page, scheme=scheme)
        visit(page, port)
        wait_until(lambda: rows(page) == 13 and "ms" in text(page, "#trips-legend"), 10, "the board")
        pause(page, 4)
        shifts = page.evaluate(SHIFTS)
        assert sum(float(shift.partition(":")[0]) for shift in shifts) < 0.005, shifts
        assert page.evaluate(STRUCTURE) == []
        for width in (1280, 400):
            look(page, width, scheme=scheme)
            found = page.evaluate(CONTRAST)
            assert found["poor"] == [] and found["checked"] > 80
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            for name in ("connections", "routes", "endpoints"):
                box = f"document.querySelector('#{name}').closest('.scroll')"
                assert page.evaluate(f"{box}.scrollWidth - {box}.clientWidth") <= 0, (width, name)
        look(page, scheme=scheme)
        page.click("#connections button")
        assert page.evaluate(CONTRAST)["poor"] == []
        page.click("#ask-no")


@pytest.mark.skipif("BASCULE_PICTURES" not in os.environ, reason="needs BASCULE_PICTURES, a directory")
@pytest.mark.timeout(300)
def test_dashboard_pictures(page):
    """Both schemes, on a desk and on a phone, after two minutes of traffic (BASCULE_PICTURE_SECONDS)."""
    paths = [f"/chat/room-{number % 12}" for number in range(34)] + ["/prices/gold"] * 12
    seconds = int(os.environ.get("BASCULE_PICTURE_SECONDS", "125"))
    page.call("Emulation.setScrollbarsHidden", hidden=True)
    look(page)
    with busy(["/chat/lobby"] * 3, dead=True) as (running, port, _), Sockets(
            [running.url(path) for path in paths], rate=12):
        visit(page, port)
        for part in range(5):
            with Sockets([running.url("/prices/silver")] * (10 * part % 30 + 1), rate=9):
                pause(page, seconds / 10)
            with Sockets([running.url("/prices/tin")] * 5):
                with pytest.raises(InvalidStatus):
                    connect(running.url("/nowhere"))
                pause(page, seconds / 10)
        for scheme in ("light", "dark"):
            for width, height in ((1280, 1400), (400, 2350)):
                look(page, width, height, scheme)
                pause(page, 0.3)
                page.picture(f"dashboard-{scheme}-{width}.png")
