"""The bench's own client of HTTP, and the cAdvisor that it asks with it: a stand-in here."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.bench.cadvisor import cadvisor
from tests.bench.peers import Speed
from tests.bench.results import Cadvisor
from tests.bench.scraping import Scraper


@contextmanager
def answering(*answers: bytes) -> Iterator[int]:
    """A port that gives these answers, one to each request, all on one connection."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            for answer in answers:
                connection.recv(4096)
                connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def test_the_scraper_knows_where_an_answer_ends() -> None:
    body = b"x" * 3_000_000
    plain = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    chunk = b"2dc6c0\r\n%s\r\n" % body
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%s0\r\n\r\n" % chunk
    refused = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
    with answering(plain, chunked, plain, refused) as port:
        scraper = Scraper(port)
        first, last = scraper.scrape()
        assert 0 < first <= last
        assert scraper.bytes == len(body)
        scraper.scrape()
        assert len(body) <= scraper.bytes < len(body) + 100
        scraper.scrape()
        assert scraper.bytes == len(body)
        with pytest.raises(OSError, match="503"):
            scraper.scrape()
        scraper.close()


FAKE_CADVISOR = """#!{python}
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
options = dict(word.lstrip("-").partition("=")[::2] for word in sys.argv[1:])
if "version" in options:
    sys.exit("cAdvisor version v0.0.1 (fake)")
if {broken}:
    sys.exit("F1128 no cgroup | today")
class Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"4\\r\\na 1\\n\\r\\n0\\r\\n\\r\\n")
HTTPServer((options["listen_ip"], int(options["port"])), Page).serve_forever()
"""


def fake_cadvisor(folder: Path, monkeypatch: pytest.MonkeyPatch, *, broken: bool) -> Cadvisor:
    program = folder / "cadvisor"
    program.write_text(FAKE_CADVISOR.format(python=sys.executable, broken=broken))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    found = cadvisor(0.5, 1, Speed(lambda: 54.0))
    assert found is not None
    assert found.version == "cAdvisor v0.0.1"
    return found


def test_a_cadvisor_on_the_path_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = fake_cadvisor(tmp_path, monkeypatch, broken=False)
    assert found.why_not == ""
    assert found.running is not None
    assert found.running.rss_mb > 1
    assert found.scrapes is not None
    assert len(found.scrapes.last_ms) == 1


def test_a_cadvisor_that_fails_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = fake_cadvisor(tmp_path, monkeypatch, broken=True)
    assert found.scrapes is None
    assert found.why_not == "ended before it answered; exit code 1; F1128 no cgroup   today"
