"""The configurations of conf/examples as they are, with the clients they are for. Socket.IO has a file of
its own, test_socketio_cluster.py."""

import contextlib
import logging
import queue
import re
import subprocess
import urllib.error
import urllib.request

import pytest
from websockets.sync.client import connect

import signalr_hub
from certificates import Authority
from examples import local, run_example
from harness import wait_until
from http_backends import HTTPBackend
from http_fronts import HTTP1, dial, get
from signalr_hub import END, HELLO, Hub
from test_demo import CHROMIUM, page  # noqa: F401  (a fixture)


# SignalR

@contextlib.contextmanager
def two_hubs():
    with HTTPBackend(Hub(1)) as one, HTTPBackend(Hub(1)) as two:
        with run_example("signalr", APP_1=local(one.port), APP_2=local(two.port)) as running:
            yield running, [one, two]


def new_cookie(running):
    """The Cookie field of a client that has got its first page."""
    with dial(HTTP1, running) as front:
        exchange = front.request("/", "POST", body=b"")
        assert exchange.wait_head() == 404  # of the hub, which has no pages
        cookie = re.match(r"BASCULE_APP=[^;]+", exchange.field("set-cookie"))[0]
        exchange.read_all()
        return cookie


def a_cookie_of_each(running):
    """Of which server one is, is chance."""
    found = set()
    for _ in range(64):
        found.add(new_cookie(running))
        if len(found) == 2:
            return sorted(found)
    raise AssertionError(f"all of one server: {found}")


def assert_each_has_six_sessions(backends):
    """Or the cookie had nothing to do."""
    assert [len(backend.serve.sessions) for backend in backends] == [6, 6]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("transport", ["web_sockets", "server_sent_events"])
def test_a_signalr_client_stays_at_the_server_it_negotiated_with(transport):
    """The client is signalrcore; it has no place for cookies but its fields."""
    from signalrcore.hub_connection_builder import HubConnectionBuilder
    from signalrcore.types import HttpTransportType
    with two_hubs() as (running, backends):
        clients = []
        for cookie in a_cookie_of_each(running) * 6:
            heard, opened = queue.Queue(), queue.Queue()
            client = (HubConnectionBuilder().configure_logging(logging.CRITICAL)
                      .with_url(running.url("/chat", "http"), options={
                          "transport": HttpTransportType[transport],
                          "headers": {"Cookie": cookie}}).build())
            client.on("say", heard.put)
            client.on_open(lambda opened=opened: opened.put(True))
            client.start()
            assert opened.get(timeout=10)
            clients.append((client, heard))
        for turn in range(10):
            for number, (client, _) in enumerate(clients):
                client.send("say", [f"{turn} of {number}"])
        for number, (client, heard) in enumerate(clients):
            assert [heard.get(timeout=10) for _ in range(10)] == \
                [[f"{turn} of {number}"] for turn in range(10)]
        assert_each_has_six_sessions(backends)
        # Its stop() waits for the server to end what it reads.
        for client, _ in clients:
            client.send("leave", [])
        for backend in backends:
            for session in backend.serve.sessions.values():
                session.put(None)
        for client, _ in clients:
            client.stop()


@pytest.mark.timeout(60)
def test_a_signalr_poll_stays_at_the_server_it_negotiated_with():
    """As the protocol has it: no client in Python sends its cookie with a poll."""
    with two_hubs() as (running, backends):
        for number, cookie in enumerate(a_cookie_of_each(running) * 6):
            cookie = [("Cookie", cookie)]
            with dial(HTTP1, running) as front:
                path = signalr_hub.negotiate(front, cookie)
                assert signalr_hub.call(front, path, fields=cookie) == (200, "")
                signalr_hub.post(HTTP1, running, path, HELLO, cookie)
                assert signalr_hub.call(front, path, fields=cookie) == (200, "{}" + END)
                text = signalr_hub.message(number) + END
                signalr_hub.post(HTTP1, running, path, text, cookie)
                assert signalr_hub.call(front, path, fields=cookie) == (200, text)
                assert signalr_hub.call(front, path, "DELETE", fields=cookie) == (202, "")
        assert_each_has_six_sessions(backends)


# Server-Sent Events

class Feed:
    """A page, and event streams. `publish` sends to all that are open; `sever` ends them."""

    def __init__(self):
        self.streams, self.resumed = [], []

    def __call__(self, exchange):
        if not exchange.path.startswith("/events"):
            return exchange.answer(b"<!doctype html><title>Feed</title>",
                                   fields=[("Content-Type", "text/html")])
        self.resumed.append(exchange.request.field("last-event-id"))
        exchange.begin_chunked(fields=[("Content-Type", "text/event-stream")])
        exchange.chunk(b"retry: 50\n\n")
        events = queue.Queue()
        self.streams.append(events)
        while (event := events.get(timeout=30)) is not None:
            exchange.chunk(event)
        return exchange.finish()

    def publish(self, number):
        for events in self.streams:
            events.put(b"id: %d\ndata: event %d\n\n" % (number, number))

    def sever(self):
        streams, self.streams = self.streams, []
        for events in streams:
            events.put(None)


@pytest.fixture
def feed(tmp_path):
    certificate, key = Authority(tmp_path).issue("localhost", "127.0.0.1")
    with HTTPBackend(Feed()) as backend:
        with run_example("server-sent-events", FEED_ADDRESS=local(backend.port),
                         TLS_CERTIFICATE=certificate, TLS_KEY=key) as running:
            yield running, backend.serve
            backend.serve.sever()


OPEN_STREAMS = """
window.heard = []; window.opened = 0;
window.sources = Array.from({length: %d}, (_, number) => {
  const source = new EventSource("/events/" + number);
  source.onopen = () => opened++;
  source.onmessage = event => heard.push(number + ": " + event.data);
  return source;
});
"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium (Debian package `chromium`)")
@pytest.mark.timeout(90)
def test_a_browser_has_more_event_streams_than_http1_would_let_it(page, feed):  # noqa: F811
    """Twelve in one page, each event at once in all of them; and when the backend ends them, they go
    on behind the last event."""
    running, server = feed
    count = 12
    page.visit(running.url("/", "https"))
    page.evaluate(OPEN_STREAMS % count)
    for begun in (0, 5):
        wait_until(lambda: len(server.streams) == count, 15, "all streams")
        for number in range(begun, begun + 5):
            server.publish(number)
            wanted = {f"{n}: event {number}" for n in range(count)}
            wait_until(lambda: wanted <= set(page.evaluate("heard")), 10, f"event {number}")
        server.sever()
    wait_until(lambda: len(server.streams) == count, 15, "all streams again")
    page.evaluate("sources.forEach(source => source.close())")
    assert len(page.evaluate("heard")) == 10 * count
    assert server.resumed == [None] * count + ["4"] * count + ["9"] * count
    lines = [running.wait_event(event="http", path=f"/events/{n}") for n in range(count)]
    assert {line["protocol"] for line in lines} == {"h2"}


@pytest.mark.parametrize("way", ["--http1.1", "--http2"])
def test_curl_hears_each_event_at_once(feed, way):
    running, server = feed
    process = subprocess.Popen(
        ["curl", "--silent", "--insecure", "--noproxy", "*", "--no-buffer", "--max-time", "20", way,
         running.url("/events", "https")], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        wait_until(lambda: server.streams, what="the stream")
        assert [process.stdout.readline() for _ in range(2)] == [b"retry: 50\n", b"\n"]
        for number in range(100):
            # The next one is written when this one has been read.
            server.publish(number)
            assert [process.stdout.readline() for _ in range(3)] == \
                [b"id: %d\n" % number, b"data: event %d\n" % number, b"\n"]
        server.sever()
        assert process.wait(timeout=10) == 0
    finally:
        process.kill()
        process.stdout.close()


# A page of its own

def application(exchange):
    if exchange.request.has_token("upgrade", "websocket"):
        return Hub(1).web_socket(exchange)
    return exchange.answer(exchange.path.encode())


@pytest.fixture
def fallback():
    with HTTPBackend(application) as backend:
        with run_example("fallback-page", APP_ADDRESS=local(backend.port)) as running:
            yield running, backend


def test_the_application_has_its_paths_and_its_websockets(fallback):
    running, _ = fallback
    for path in ("/app", "/app/", "/app/page?x=1"):
        assert get(HTTP1, running, path) == (200, path.encode())
    with connect(running.url("/app/socket")) as socket:
        socket.send("hello")
        assert socket.recv(timeout=5) == "hello"


def test_the_bare_address_leads_to_the_application(fallback):
    running, backend = fallback
    with urllib.request.urlopen(running.url("/", "http"), timeout=5) as got:
        assert (got.status, got.read(), got.url) == (200, b"/app/", running.url("/app/", "http"))
    assert len(backend.requests) == 1


def test_everything_else_gets_the_page_and_no_backend_is_asked(fallback):
    running, backend = fallback
    for path in ("/other", "/application", "/aliveness", "/index.html"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(running.url(path, "http"), timeout=5)
        answer = refused.value
        assert answer.code == 404 and b'<a href="/app/">' in answer.read()
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert answer.headers["Cache-Control"] == "no-store"
    assert backend.requests == []


def test_the_gateway_is_alive_when_the_application_is_not():
    with HTTPBackend(application) as backend:
        address = local(backend.port)
    with run_example("fallback-page", APP_ADDRESS=address) as running:
        assert get(HTTP1, running, "/alive") == (200, b"alive\n")
        assert get(HTTP1, running, "/app/")[0] == 503
