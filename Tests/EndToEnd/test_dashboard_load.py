"""The page of the admin listener in front of a gateway that carries a thousand WebSockets: what it shows,
that it keeps up, how it looks, and what it costs the gateway."""

import contextlib
import os
import pathlib

import pytest

from admin import administered
from harness import AsyncBackend, echo, route, wait_until
from test_demo import CHROMIUM
from test_dashboard import (CONTRAST, KEEPALIVE, STRUCTURE, Sockets, look, page, pause, rows, search,
                            text, tile, visit)

__all__ = ["page"]
pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason="no Chromium (Debian package `chromium`)"),
              pytest.mark.timeout(240)]
COUNT, BUSY, PINGED = 1_000, 50, 20
# Seconds of the measurement, with the page and without.
SECONDS = 24 if os.environ.get("BASCULE_LONG") else 4

# The moments at which the text of #about changed, within 6 s.
CHANGES = """new Promise((done) => {
  const found = [];
  new MutationObserver(() => found.push(performance.now()))
    .observe(document.querySelector("#about"), { childList: true, characterData: true, subtree: true });
  setTimeout(() => done(found), 6000);
})"""


@contextlib.contextmanager
def crowded():
    """A thousand WebSockets over two routes and two endpoints. The busy ones send 100 messages a second,
    and some of the idle ones are pinged each second; the pings of all would come in bursts, now and then."""
    never = {"interval": "off", "upstream_interval": "off"}
    routes = [route(path="/chat", websocket={"keepalive": never}),
              route(path="/prices", websocket={"keepalive": KEEPALIVE})]
    paths = [f"/chat/room-{number % 40}" for number in range(COUNT - BUSY - PINGED - 1)]
    paths += ["/prices/silent"] * PINGED
    with AsyncBackend(echo) as backend, AsyncBackend(echo) as other:
        with administered([backend.port, other.port], routes=routes) as (running, port):
            busy = [running.url(f"/prices/{number}") for number in range(BUSY)]
            # Each sends 4.4 a second, or a half, a third, a quarter, a fifth of that.
            with Sockets([running.url(path) for path in paths]), Sockets(busy, rate=4.4):
                with Sockets([running.url("/chat/mine")]) as mine:
                    yield running, port, mine


def nanoseconds(running):
    """What all threads have computed: finer than the 10 ms of /proc/PID/stat, of which there are few here."""
    tasks = pathlib.Path(f"/proc/{running.process.pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


def used(running, page, seconds):
    """The share of a core that the gateway used for `seconds`."""
    before = nanoseconds(running)
    pause(page, seconds)
    return (nanoseconds(running) - before) / seconds / 1e9


def test_a_thousand_websockets_are_shown_every_second_for_less_than_a_hundredth_of_a_core(page):
    look(page)
    page.call("Emulation.setScrollbarsHidden", hidden=True)
    with crowded() as (running, port, mine):
        visit(page, port)
        wait_until(lambda: tile(page, "sockets") == "1,000" and rows(page) == 100, 5, "the thousand")
        assert "there are more" in text(page, "#list-count")
        # By turns, so that what else the machine does is in both.
        shares = {True: [], False: []}
        for is_open in (False, True, False, True):
            if is_open:
                visit(page, port)
                wait_until(lambda: rows(page) == 100, 5, "the list")
            else:
                page.visit("about:blank")
            shares[is_open].append(used(running, page, SECONDS / 2))
        without, with_page = (sum(shares[key]) / 2 for key in (False, True))
        print(f"\n{100 * without:.2f} % of a core without the page, {100 * with_page:.2f} % with it")
        assert with_page - without < 0.01

        changes = page.evaluate(CHANGES)
        assert len(changes) >= 5 and max(b - a for a, b in zip(changes, changes[1:])) < 2_000
        assert page.evaluate(STRUCTURE) == []
        for scheme in ("light", "dark"):
            for width, height in ((1280, 1400), (400, 2350)):
                look(page, width, height, scheme)
                pause(page, 0.3)
                found = page.evaluate(CONTRAST)
                assert found["poor"] == [] and found["checked"] > 300
                assert page.evaluate("document.documentElement.scrollWidth") <= width
                page.picture(f"dashboard-thousand-{scheme}-{width}.png")
        look(page)
        search(page, "#text", "/chat/mine")
        wait_until(lambda: rows(page) == 1, 3, "one of a thousand")
        print(f"searching: {100 * used(running, page, SECONDS / 2):.2f} %")
        page.click("#connections button")
        page.click("#ask-yes")
        wait_until(lambda: mine.codes == [1001] and tile(page, "sockets") == "999", 5, "one less")
        with Sockets([running.url("/chat/late")] * 2):
            search(page, "#text", "/nowhere")
            wait_until(lambda: text(page, "#list-count") == "0 found in the first 1,000", 5, "a word")
            assert text(page, "#list-empty") == "Nothing matches in the first 1,000."
        search(page, "#text", "")
        wait_until(lambda: rows(page) == 100, 5, "all again")
