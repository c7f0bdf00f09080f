"""Hostile clients on real sockets: what each of them gets, and that a scraper beside them does not notice."""

from __future__ import annotations

import asyncio
import gc
import socket
import time
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from http import HTTPStatus

import pytest
import pytest_asyncio

from exporter.web.server import Limits
from tests.web.serving import HOST, Answer, Served, served

# Hostile clients do not close their sockets.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

UNDISTURBED = 1.0
"""Seconds that a scrape may take on a busy machine; 0.1 is what is promised on an idle one."""
MEBIBYTE = 1 << 20
SHORT = Limits(request_seconds=0.3, idle_seconds=0.3, answer_seconds=1.0, stall_seconds=0.3)
GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Served]:
    async with served() as server:
        yield server


@asynccontextmanager
async def sockets(
    server: Served, number: int, first: bytes = b"", buffer: int = 0
) -> AsyncIterator[list[socket.socket]]:
    """So many connections that sent ``first``."""
    loop = asyncio.get_running_loop()
    opened: list[socket.socket] = []
    try:
        for _ in range(number):
            opened.append(sock := socket.socket())
            sock.setblocking(False)
            if buffer:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            await loop.sock_connect(sock, (HOST, server.port))
            if first:
                await loop.sock_sendall(sock, first)
        yield opened
    finally:
        for sock in opened:
            sock.close()


async def worst_scrape(server: Served, number: int = 20) -> float:
    """Seconds of the slowest of so many scrapes, each on a new connection."""
    worst = 0.0
    for _ in range(number):
        started = time.perf_counter()
        answer = await server.get()
        assert (answer.status, answer.body) == (200, server.page)
        worst = max(worst, time.perf_counter() - started)
    return worst


async def open_ones(sockets: list[socket.socket]) -> int:
    """How many of them the server has not closed."""
    number = 0
    for sock in sockets:
        try:
            number += sock.recv(1) != b""
        except BlockingIOError:
            number += 1
        except ConnectionError:
            pass
    return number


@pytest.mark.parametrize("number", [100, 1000])
@pytest.mark.parametrize("first", [b"", b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: "])
async def test_a_scraper_amid_clients_that_send_no_request(server: Served, number: int, first: bytes) -> None:
    """All of them wait in the accept queue in one round of the loop; the scrapers in the middle and at the end."""
    with ExitStack() as stack:
        silent = [stack.enter_context(socket.socket()) for _ in range(number)]
        middle, last = stack.enter_context(socket.socket()), stack.enter_context(socket.socket())
        for client in (*silent[::2], middle, *silent[1::2], last):
            client.connect((HOST, server.port))
            client.setblocking(False)
            client.send(GET if client in {middle, last} else first)
        for scraper in (middle, last):
            answer = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(scraper, 100), 5.0)
            assert answer.startswith(b"HTTP/1.1 200")
        assert await worst_scrape(server) < UNDISTURBED
        assert await open_ones(silent) <= Limits().connections
        assert server.reasons["connection_dropped"] >= number - Limits().connections


async def test_a_scraper_that_keeps_its_connection_keeps_it(server: Served) -> None:
    reader, writer = await server.connect()
    for _ in range(5):
        writer.write(GET)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert await reader.readexactly(len(server.page)) == server.page
        async with sockets(server, 150, GET[:10]):
            pass
    writer.transport.abort()


async def test_while_all_connections_are_being_answered_one_more_is_refused() -> None:
    async with served(limits=Limits(connections=3)) as server:
        server.delay = 0.5
        asked = [asyncio.create_task(server.get()) for _ in range(3)]
        await asyncio.sleep(0.1)
        refused = await server.get()
        assert refused.raw == b""
        assert [answer.status for answer in await asyncio.gather(*asked)] == [200] * 3
        assert server.reasons == {"connection_refused": 1}


@pytest.mark.parametrize("first", [b"", b"G", b"GET /metrics HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nA: " + b"x" * 5000])
@pytest.mark.parametrize("answered", [False, True])
async def test_a_request_that_does_not_end(first: bytes, answered: bool) -> None:
    limits = Limits(request_seconds=0.2, idle_seconds=75.0 if first else 0.2)
    async with served(limits=limits) as server:
        started = time.perf_counter()
        reader, writer = await server.connect()
        if answered:
            writer.write(GET)
            await reader.readuntil(server.page)
        writer.write(first)
        assert await asyncio.wait_for(reader.read(), 10) == b""
        assert time.perf_counter() - started >= 0.18
        assert server.reasons == ({"slow_request": 1} if first or not answered else {})
        writer.transport.abort()


@pytest.mark.system
async def test_an_answer_that_takes_too_long_to_make() -> None:
    async with served(limits=SHORT) as server:
        server.delay = 5.0
        assert (await server.get()).raw == b""
        assert server.reasons == {"slow_reader": 1}


async def test_clients_that_never_read_a_page_of_10_mb() -> None:
    async with served(limits=Limits(stall_seconds=1.0)) as server:
        page = b"x" * (10 * MEBIBYTE)
        gc.collect()
        tracemalloc.start()
        server.page = page
        async with sockets(server, 50, GET, buffer=4096) as opened:
            await asyncio.sleep(0.1)
            server.page = b"small\n"
            assert await worst_scrape(server) < UNDISTURBED
            await server.reason("slow_reader", 50)
            for sock in opened:
                received = 0
                with suppress(ConnectionError):
                    while part := await asyncio.get_running_loop().sock_recv(sock, MEBIBYTE):
                        received += len(part)
                assert received < len(page) / 2
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 16 * MEBIBYTE, "one chunk or two for each, not one page"


async def test_pages_that_only_silent_clients_hold_have_a_bound() -> None:
    async with served(limits=Limits(stall_seconds=30.0, held_bytes=15 * MEBIBYTE)) as server:
        server.page = b"1" * (10 * MEBIBYTE)
        async with sockets(server, 1, GET, buffer=4096):
            await asyncio.sleep(1.2)
            server.page = b"2" * (10 * MEBIBYTE)
            async with sockets(server, 1, GET, buffer=4096):
                assert "too many pages were held" in await server.reason("slow_reader")
        assert server.reasons == {"slow_reader": 1}


async def test_a_client_that_reads_slowly_but_reads() -> None:
    async with served(limits=Limits(stall_seconds=0.5, answer_seconds=20.0)) as server:
        server.page = b"0123456789" * (400 << 10)
        reader, writer = await server.connect(limit=4096)
        writer.write(LAST)
        await reader.readuntil(b"\r\n\r\n")
        received = b""
        while part := await reader.read(200_000):
            received += part
            await asyncio.sleep(0.01)
        assert received == server.page
        assert server.errors == []
        writer.transport.abort()


def get_with(headers: bytes) -> bytes:
    return GET[:-2] + headers + b"\r\n\r\n"


TOO_LARGE = [get_with(b"X: " + b"x" * 9000), b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n"]
FAR_TOO_LARGE = [get_with(b"X: " + b"x" * MEBIBYTE), get_with(b"X: y\r\n" * 170_000), b"x" * MEBIBYTE]
MALFORMED = [
    get_with(b"X: y\r\n" * 100), get_with(b"X: a\0b"), b"\0\1\2\3\r\n\r\n", b"SSH-2.0-OpenSSH\r\n", b"GET\r\n\r\n",
    b"GET /metrics HTTP/9.9\r\n\r\n", b"GET http://[::1 HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"nonsense\r\n\r\n", b"GET /metrics HTTP/1.1\r\n\r\n",
]  # fmt: skip
METHODS = [
    f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    for method in ("POST", "OPTIONS", "TRACE", "CONNECT", "PROPFIND")
    for path in ("/metrics", "/nothing")
]
BODIES = [
    get_with(b"Content-Length: 5") + b"abcde",
    get_with(b"Content-Length: 5000000000") + b"abcde",
    get_with(b"Transfer-Encoding: chunked") + b"5\r\nabcde\r\n0\r\n\r\n",
    get_with(b"Transfer-Encoding: chunked") + b"0\r\n\r\n",
    get_with(b"Content-Length: 6\r\nTransfer-Encoding: chunked") + b"0\r\n\r\nG",
    get_with(b"Transfer-Encoding: xchunked") + b"0\r\n\r\n",
    get_with(b"Content-Length: 0\r\nContent-Length: 5") + b"abcde",
    get_with(b"Content-Length: +5") + b"abcde",
    get_with(b"X: y\r\n Transfer-Encoding: chunked") + b"0\r\n\r\n",
    GET[:-2] + b"Transfer-Encoding: chunked\n\n0\r\n\r\n",
]


@pytest.mark.parametrize(
    ("request_", "statuses", "reasons"),
    [
        *((one, {431}, {"bad_request"}) for one in TOO_LARGE),
        # A client that is still sending may see the reset before the answer.
        *((one, {431, 0}, {"bad_request"}) for one in FAR_TOO_LARGE),
        *((one, {400, 0}, {"bad_request", "slow_request"}) for one in MALFORMED),
        *((one, {405}, set[str]()) for one in METHODS),
        # Whatever a proxy in front makes of a body, nothing after it is answered on this connection.
        *((one, {400, 413}, {"bad_request"}) for one in BODIES),
    ],
)
async def test_what_is_refused_ends_the_connection(request_: bytes, statuses: set[int], reasons: set[str]) -> None:
    async with served(limits=SHORT) as server:
        answer = await server.ask(request_ + GET * 2)
        assert answer.status in statuses
        assert len(answer.statuses) == (answer.status != 0), "nothing after it is looked at"
        assert set(server.reasons) <= reasons
        assert len(server.errors) == (bool(reasons) and answer.status != 413)
        if answer.status == 405:
            assert answer.headers["allow"] == "GET, HEAD"
        if answer.raw:
            says_nothing(answer)
            assert answer.body == HTTPStatus(answer.status).phrase.encode() + b"\n", "nothing of the request comes back"


async def test_head(server: Served) -> None:
    for page in (b"small\n", b"x" * MEBIBYTE):
        server.page = page
        answer = await server.ask(b"HEAD /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (answer.status, answer.body, int(answer.headers["content-length"])) == (200, b"", len(page))


async def test_requests_one_behind_the_other(server: Served) -> None:
    answer = await server.ask(GET * 100 + LAST)
    assert answer.statuses == [200] * 101
    assert answer.raw.count(server.page) == 101
    assert server.errors == []


def says_nothing(answer: Answer) -> None:
    assert answer.headers["server"] == "kube-throttle-exporter"
    names = ("x-frame-options", "cache-control", "x-content-type-options")
    assert [answer.headers[name] for name in names] == ["DENY", "no-store", "nosniff"]
    assert not any(word in answer.raw for word in (b"aiohttp", b"Python", b"Traceback", b"defect"))


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        *(
            (LAST.replace(b"metrics", path), status)
            for path, status in ((b"metrics", 200), (b"no", 404), (b"broken", 500))
        ),
        (b"GET /metrics\r\n\r\n", 505),
    ],
)
async def test_no_answer_names_the_software_or_the_defect(
    server: Served, request_: bytes, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await server.ask(request_)
    assert answer.status == status
    says_nothing(answer)
    assert ("a defect of a handler" in caplog.text) is (status == 500), "but the log tells"
    assert server.reasons["internal"] == (status == 500)


async def test_all_interfaces_are_one_port() -> None:
    async with served(host="") as server:
        assert (await server.get()).status == 200
        if socket.has_dualstack_ipv6():
            reader, writer = await asyncio.open_connection("::1", server.port)
            writer.write(LAST)
            assert (await reader.read()).startswith(b"HTTP/1.1 200")
            writer.transport.abort()


async def test_an_address_that_is_taken_leaves_nothing_open(server: Served) -> None:
    with pytest.raises(OSError, match="in use"):
        async with served(port=server.port):
            pass


@pytest.mark.filterwarnings("error::ResourceWarning", "error::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("rounds", range(8))
async def test_connections_accepted_during_the_shutdown_are_closed(rounds: int) -> None:
    gc.collect()
    with socket.socket() as late, socket.socket() as later:
        async with served() as server:
            await asyncio.sleep(0.01)  # until it waits for somebody
            # The kernel takes both without asking anybody.
            for client in (late, later):
                client.connect((HOST, server.port))
            for _ in range(rounds):
                await asyncio.sleep(0)
        late.settimeout(5.0)
        with suppress(ConnectionResetError):
            assert late.recv(1) == b""
    gc.collect()
