"""Clients of HTTP/2 that nobody here wrote: curl, nghttp and h2load."""

import re
import shutil
import subprocess

import pytest


def run(*command, text=None):
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=20)


def url(front, way, path="/"):
    scheme, port = ("https", 1) if way == "TLS" else ("http", 0)
    return f"{scheme}://127.0.0.1:{front.running.ports[port]}{path}"


CURL = ["curl", "--silent", "--insecure", "--noproxy", "*", "--output", "/dev/null", "--write-out",
        "%{http_version} %{http_code}", "--header", "Host: gateway.example"]


@pytest.mark.parametrize("way, flag, version", [
    ("plain", "--http2-prior-knowledge", "2"), ("TLS", "--http2", "2"), ("TLS", "--http1.1", "1.1"),
    ("plain", "--http2", "1.1"), ("plain", "--http1.1", "1.1")])
def test_curl_gets_the_version_it_asks_for(front, way, flag, version):
    done = run(*CURL, flag, url(front, way))
    assert done.stdout == f"{version} 404", done.stderr


def test_curl_posts_a_body_that_nobody_reads(front):
    done = run(*CURL, "--http2-prior-knowledge", "--data-binary", "@-", url(front, "plain"),
               text="x" * 50_000)
    assert done.stdout == "2 404", done.stderr


@pytest.mark.parametrize("way", ["plain", "TLS"])
def test_nghttp_finds_no_fault(front, way):
    done = run("nghttp", "--null-out", "--verbose", "--no-verify-peer", "--multiply=20",
               "--header=:authority: gateway.example", url(front, way))
    assert done.returncode == 0
    assert done.stdout.count(":status: 404") == 20
    assert "error_code=NO_ERROR" in done.stdout
    assert not re.search(r"error_code=(?!NO_ERROR)", done.stdout), done.stdout


@pytest.mark.parametrize("way", ["plain", "TLS"])
def test_h2load_gets_every_answer(front, way):
    done = run("h2load", "--requests=5000", "--clients=5", "--max-concurrent-streams=50",
               "--header=:authority: gateway.example", url(front, way))
    assert "5000 total, 5000 started, 5000 done" in done.stdout, done.stdout
    assert re.search(r"status codes: 0 2xx, 0 3xx, 5000 4xx, 0 5xx", done.stdout), done.stdout
