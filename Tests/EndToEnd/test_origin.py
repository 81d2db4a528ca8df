"""Origin: what threats refuse and what browsers send, with `https://app.example` allowed."""

import pytest

import frames
from harness import RawBackend, gateway, raw_echo, route, wait_until

REFUSED = [
    "null", "", "https://app.example https://evil", "http://app.example",
    "https://app.example:8443", "https://app.example.evil.com", "https://evilapp.example",
    "https://app.example@evil.com", "https://evil.com#app.example", "https://app.example.",
    "https://app.example/", "https://app.example/path", "https://app.example%00.evil",
    "https://app.example:443@evil", "https://\u0430pp.example", "https://app.example:0443",
    "https://[::ffff:1.2.3.4]", "https://app.example\\evil", "https://app.example`evil",
    "https://app.example$evil", "https://app_.example", "file://", "file:///etc/passwd",
    "chrome-extension://abcdef", "app.example", "https://", "https:///app.example",
    "https://app.example:", "https://app.example:99999", "https://app.example,https://evil"]
ACCEPTED = ["https://app.example", "HTTPS://App.Example", "https://app.example:443"]


@pytest.fixture(scope="module")
def listed():
    routes = [route(origins={"allow": ["https://app.example"]})]
    with RawBackend(raw_echo) as backend, gateway([backend.port], routes) as running:
        yield backend, running


def ask(running, *origins, host="gateway.example"):
    request, _ = frames.upgrade_request(host=host)
    fields = "".join(f"Origin: {origin}\r\n" for origin in origins)
    data = request[:-2] + fields.encode("utf-8") + b"\r\n"
    wire = frames.ask(running.address, data)
    wire.close()
    return wire


@pytest.mark.parametrize("origin", REFUSED)
def test_refused(listed, origin):
    backend, running = listed
    before = len(backend.wires)
    assert ask(running, origin).status in (403, 400)
    assert len(backend.wires) == before, "the backend was reached"


def test_refused_with_403_and_a_log_line(listed):
    _, running = listed
    assert ask(running, "https://evil.example").status == 403
    wait_until(lambda: running.log_contains("https://evil.example"), what="a log line")
    line = running.wait_event(event="http", origin="https://evil.example", tls=False)
    assert line["status"] == 403 and line["protocol"] == "http/1.1"
    assert 0 < line["duration_ms"] < 1000, "an answer takes time, if little"


@pytest.mark.parametrize("origin", ACCEPTED)
def test_accepted(listed, origin):
    assert ask(listed[1], origin).status == 101


def test_two_origin_fields_are_refused(listed):
    assert ask(listed[1], "https://app.example", "https://app.example").status == 403


def test_a_missing_origin_is_refused_where_origins_are_listed(listed):
    assert ask(listed[1]).status == 403


def test_the_body_names_both_and_asks_about_tls_when_only_the_scheme_differs(listed):
    _, running = listed
    request, _ = frames.upgrade_request(fields=[("Origin", "http://app.example")])
    with frames.ask(running.address, request) as wire:
        text = wire.read(int(wire.field("Content-Length"))).decode()
        assert "http://app.example" in text and "trusted_proxies" in text


@pytest.mark.parametrize("allow, origin, status", [
    (["https://*.example.com"], "https://a.example.com", 101),
    (["https://*.example.com"], "https://example.com", 403),
    (["https://*.example.com"], "https://a.b.example.com", 403),
    (["null"], "null", 101),
    (["capacitor://localhost"], "capacitor://localhost", 101),
    (["capacitor://localhost"], "capacitor://localhost.evil", 403),
    (["any"], "https://anything.example", 101),
    (["same-origin"], "http://gateway.example", 101),
    (["same-origin"], "http://gateway.example:80", 101),
    (["same-origin"], "https://gateway.example", 403),
    (["same-origin"], "http://other.example", 403),
])
def test_words_and_patterns(allow, origin, status):
    routes = [route(origins={"allow": allow})]
    with RawBackend(raw_echo) as backend, gateway([backend.port], routes) as running:
        assert ask(running, origin).status == status


@pytest.mark.parametrize("origins, status", [
    ([], 101), (["http://gateway.example"], 101), (["http://foreign.example"], 403)])
def test_without_a_section_only_the_same_origin_or_none(origins, status):
    with RawBackend(raw_echo) as backend, gateway([backend.port]) as running:
        assert ask(running, *origins).status == status


def test_report_only_logs_and_lets_through():
    routes = [route(origins={"allow": ["https://app.example"], "report_only": True})]
    with RawBackend(raw_echo) as backend, gateway([backend.port], routes) as running:
        assert ask(running, "https://reported.example").status == 101
        wait_until(lambda: running.log_contains("https://reported.example"), what="a log line")
