"""Plain HTTP with clients that nobody here wrote: curl, nghttp and h2load."""

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import time

import pytest

from harness import settled, wait_until
from http_backends import HTTPBackend
from http_fronts import proxy

PIECE = bytes(range(256)) * 1024


def serve(exchange):
    path, method = exchange.path, exchange.request.method
    if path == "/upload":
        digest = hashlib.sha256()
        while piece := exchange.body.piece():
            digest.update(piece)
        return exchange.answer(digest.hexdigest().encode())
    if path.startswith("/download/"):
        count = int(path.rsplit("/", 1)[1])
        exchange.head(200, [("Content-Length", count)])
        for start in range(0, count, len(PIECE)):
            exchange.send(PIECE[:count - start])
        return None
    if path == "/trailers":
        exchange.begin_chunked(fields=[("Trailer", "X-Sum")])
        exchange.chunk(b"content")
        return exchange.finish([("X-Sum", "abc")])
    if path == "/sums":
        content = exchange.read_body()
        return exchange.answer(repr((len(content), exchange.request.framing,
                                     exchange.request.trailers)).encode())
    if path == "/hints":
        exchange.head(103, [("Link", "</a.css>; rel=preload")])
    if method == "HEAD":
        return exchange.head(200, [("Content-Length", 1234)])
    return exchange.answer(exchange.read_body() or b"x" * 1024)


@pytest.fixture(scope="module")
def front():
    with HTTPBackend(serve) as backend, proxy(backend) as running:
        running.backend = backend
        yield running


def run(*command, data=None, timeout=25):
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    return subprocess.run(command, input=data, capture_output=True, timeout=timeout)


def url(front, path="/"):
    return f"http://127.0.0.1:{front.ports[0]}{path}"


WAYS = ["--http1.1", "--http2-prior-knowledge"]


def curl(*arguments, **keywords):
    done = run("curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", "20", *arguments,
               **keywords)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("way", WAYS)
def test_curl_gets_and_posts(front, way):
    assert curl(way, url(front)) == b"x" * 1024
    content = os.urandom(300_000)
    assert curl(way, "--data-binary", "@-", url(front), data=content) == content


@pytest.mark.parametrize("way", WAYS)
def test_curl_uploads_without_a_length(front, way):
    content = os.urandom(3_000_000)
    found = curl(way, "--upload-file", "-", "--header", "Expect:", url(front, "/upload"), data=content)
    assert found.decode() == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("way", WAYS)
def test_curl_waits_for_100_continue_and_gets_it(front, way):
    content = os.urandom(2_000_000)
    done = run("curl", "--silent", "--verbose", "--noproxy", "*", way, "--expect100-timeout", "15",
               "--header", "Expect: 100-continue", "--data-binary", "@-", url(front, "/upload"),
               data=content)
    assert done.stdout.decode() == hashlib.sha256(content).hexdigest()
    assert len(re.findall(rb"^< HTTP/[0-9.]+ 100", done.stderr, re.M)) == 1, done.stderr[-2000:]


@pytest.mark.parametrize("way", WAYS)
def test_curl_sees_the_head_alone(front, way):
    found = curl(way, "--head", url(front)).lower()
    assert b"\r\ncontent-length: 1234\r\n" in found
    assert found.count(b" 200") == 1


@pytest.mark.parametrize("way", WAYS)
def test_curl_sees_early_hints(front, way):
    found = curl(way, "--include", url(front, "/hints")).lower()
    assert re.match(rb"http/[0-9.]+ 103", found) and b"link: </a.css>; rel=preload" in found
    assert re.search(rb"^http/[0-9.]+ 200", found, re.M)


@pytest.mark.parametrize("way", WAYS)
def test_curl_sees_trailers(front, way, tmp_path):
    heads = tmp_path / "heads"
    content = curl(way, "--dump-header", str(heads), "--header", "TE: trailers",
                   url(front, "/trailers"))
    assert content == b"content"
    assert b"x-sum: abc" in heads.read_bytes().lower()


@pytest.mark.parametrize("way", WAYS)
def test_curl_prints_trailers_behind_the_content(front, way):
    found = curl(way, "--include", url(front, "/trailers")).lower()
    assert re.match(rb"http/[0-9.]+ 200", found)
    assert found.split(b"\r\n\r\n")[1].startswith(b"contentx-sum: abc"), found


def test_curl_uses_its_connection_again(front):
    found = curl("--http1.1", "--output", "/dev/null", "--output", "/dev/null", "--output",
                 "/dev/null", "--write-out", "%{num_connects} %{http_code}\n",
                 url(front, "/1"), url(front, "/2"), url(front, "/3"))
    assert found == b"1 200\n0 200\n0 200\n"


def test_nghttp_finds_no_fault(front):
    done = run("nghttp", "--null-out", "--verbose", "--multiply=50", url(front))
    assert done.returncode == 0
    assert done.stdout.count(b":status: 200") == 50
    assert not re.search(rb"error_code=(?!NO_ERROR)", done.stdout), done.stdout


def test_nghttp_uploads(front, tmp_path):
    content = os.urandom(1_000_000)
    (tmp_path / "content").write_bytes(content)
    done = run("nghttp", f"--data={tmp_path / 'content'}", url(front, "/upload"))
    assert done.stdout.decode() == hashlib.sha256(content).hexdigest()


def test_nghttp_sees_trailers(front):
    done = run("nghttp", "--verbose", "--header=te: trailers", url(front, "/trailers"))
    assert b"x-sum: abc" in done.stdout, done.stdout
    # On a second HEADERS frame, with END_STREAM, and nothing broke off.
    assert len(re.findall(rb"recv HEADERS frame", done.stdout)) == 2
    assert not re.search(rb"recv (RST_STREAM|GOAWAY)", done.stdout), done.stdout


@pytest.mark.parametrize("count", [1, 1_000_000])
def test_nghttp_sends_trailers(front, tmp_path, count):
    (tmp_path / "content").write_bytes(os.urandom(count))
    command = ["nghttp", f"--data={tmp_path / 'content'}", "--trailer=x-sum: abc",
               "--trailer=authorization: evil", url(front, "/sums")]
    found = run(*command, "--no-content-length").stdout.decode()
    assert found == repr((count, "chunked", [("x-sum", "abc")]))
    # Behind a length HTTP/1.1 has no place for them.
    assert run(*command).stdout.decode() == repr((count, count, []))


@pytest.mark.parametrize("way", [["--h1"], ["--h1", "--max-concurrent-streams=20"],
                                 ["--max-concurrent-streams=100"]])
def test_h2load_gets_every_answer(front, way):
    """With --h1 and more than one at a time the requests are pipelined."""
    before = len(front.backend.connections)
    done = run("h2load", "--requests=3000", "--clients=3", *way, url(front))
    text = done.stdout.decode()
    assert "3000 total, 3000 started, 3000 done, 3000 succeeded" in text, text
    assert "status codes: 3000 2xx" in text, text
    # Most requests were sent on a connection that was there.
    assert len(front.backend.connections) - before < 1500


# Large bodies

SIZE = (1 << 30) if os.environ.get("BASCULE_LONG") else (64 << 20)


def digest_of(count):
    digest = hashlib.sha256()
    for start in range(0, count, len(PIECE)):
        digest.update(PIECE[:count - start])
    return digest.hexdigest()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_large_body_passes_without_growing_the_gateway(front, way, direction):
    # Of its own: memory that another test has used would hide what this one needs.
    with proxy(front.backend) as running:
        curl(way, url(running))  # what a first request costs is no growth
        running.forget_peak()
        before = running.peak_kib()
        if direction == "down":
            command = f"curl -sS --noproxy '*' {way} {url(running, f'/download/{SIZE}')} | sha256sum"
        else:
            command = (f"head -c {SIZE} /dev/zero | curl -sS --noproxy '*' {way} -H Expect: -T - "
                       f"{url(running, '/upload')}")
        found = run("sh", "-c", command, timeout=200).stdout.decode()
        wanted = digest_of(SIZE) if direction == "down" else zeros(SIZE)
        assert found.split()[0] == wanted
        assert running.peak_kib() - before < 10 * 1024


def zeros(count):
    digest = hashlib.sha256()
    for start in range(0, count, len(PIECE)):
        digest.update(bytes(min(len(PIECE), count - start)))
    return digest.hexdigest()


@pytest.mark.parametrize("way", WAYS)
def test_a_curl_that_reads_slowly_throttles_the_backend(way):
    """It takes 1 KiB a second. Within 2 s the backend can write no more, and nobody holds the rest."""
    written, count = [0], 400

    def slow(exchange):
        exchange.head(200, [("Content-Length", count * len(PIECE))])
        with contextlib.suppress(OSError):
            for _ in range(count):
                exchange.send(PIECE)
                written[0] += len(PIECE)

    with HTTPBackend(slow) as backend, proxy(backend) as running:
        running.forget_peak()
        before = running.peak_kib()
        process = subprocess.Popen(
            ["curl", "--silent", "--noproxy", "*", "--limit-rate", "1K", "--output", os.devnull, way,
             url(running)], stdin=subprocess.DEVNULL)
        try:
            wait_until(lambda: written[0], what="the first bytes")
            begun = time.monotonic()
            stopped_at = settled(lambda: written[0])
            assert time.monotonic() - begun < 2
            # What the kernel takes for two connections.
            assert 0 < stopped_at < 24 << 20 < count * len(PIECE)
            assert running.peak_kib() - before < 10 * 1024
        finally:
            process.kill()
            process.wait()
        assert backend.wait_ended()
