"""Hostile clients on real sockets: what each of them gets, and that a scraper beside them does not notice."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import socket
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress

import pytest
import pytest_asyncio

from exporter.web.server import Limits
from tests.web.serving import HOST, Served, measured, served

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


# ---- Many ----


async def test_200_slow_clients(server: Served) -> None:
    loop = asyncio.get_running_loop()

    async def drip(opened: list[socket.socket]) -> None:
        while True:
            for sock in opened:
                try:
                    await loop.sock_sendall(sock, b"x")
                except ConnectionError:
                    continue
            await asyncio.sleep(0.02)

    async with sockets(server, 200, b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: ") as opened:
        dripping = asyncio.create_task(drip(opened))
        worst = await worst_scrape(server)
        dripping.cancel()
        measured("worst scrape", worst, "s")
        assert worst < UNDISTURBED
        assert 0 < await open_ones(opened) <= Limits().connections
    assert server.reasons["connection_dropped"] >= 200 - Limits().connections


async def test_2000_idle_connections(server: Served) -> None:
    async with sockets(server, 2000) as opened:
        worst = await worst_scrape(server)
        measured("worst scrape", worst, "s")
        assert worst < UNDISTURBED
        assert await open_ones(opened) <= Limits().connections


async def test_a_scraper_that_keeps_its_connection_keeps_it(server: Served) -> None:
    reader, writer = await server.connect(address="127.0.0.2")
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
        refused = await server.get(address="127.0.0.2")
        assert refused.raw == b""
        assert [answer.status for answer in await asyncio.gather(*asked)] == [200] * 3
        assert server.reasons == {"connection_refused": 1}


# ---- Slow ----


@pytest.mark.parametrize("first", [b"", b"G", b"GET /metrics HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nA: " + b"x" * 5000])
async def test_a_request_that_does_not_end(first: bytes) -> None:
    async with served(limits=SHORT) as server:
        started = time.perf_counter()
        assert (await server.ask(first)).raw == b""
        assert time.perf_counter() - started >= SHORT.request_seconds * 0.9
        assert server.reasons == {"slow_request": 1}


async def test_a_second_request_that_does_not_end() -> None:
    async with served(limits=Limits(request_seconds=0.3)) as server:
        reader, writer = await server.connect()
        writer.write(GET)
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(len(server.page))
        writer.write(b"GET /me")
        await asyncio.wait_for(reader.read(), 10)
        assert server.reasons == {"slow_request": 1}
        writer.transport.abort()


async def test_an_idle_connection_is_closed_and_not_counted() -> None:
    async with served(limits=SHORT) as server:
        answer = await server.ask(GET)
        assert (answer.status, answer.body) == (200, server.page)
        assert server.errors == []


@pytest.mark.system
async def test_an_answer_that_takes_too_long_to_make() -> None:
    async with served(limits=SHORT) as server:
        server.delay = 5.0
        assert (await server.get()).raw == b""
        assert server.reasons == {"slow_reader": 1}


@contextmanager
def traced() -> Iterator[list[int]]:
    """Bytes of Python memory that were in use at most meanwhile, beyond what was before."""
    found: list[int] = []
    gc.collect()
    tracemalloc.start()
    try:
        yield found
        found.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()


async def test_clients_that_never_read_a_page_of_10_mb() -> None:
    async with served(limits=Limits(stall_seconds=1.0)) as server:
        page, server.page = b"x" * (10 * MEBIBYTE), b"small\n"
        with traced() as peak:
            server.page = page
            async with sockets(server, 50, GET, buffer=4096) as opened:
                await asyncio.sleep(0.1)
                server.page = b"small\n"
                worst = await worst_scrape(server)
                measured("worst scrape", worst, "s")
                assert worst < UNDISTURBED
                await server.reason("slow_reader", 50)
                for sock in opened:
                    received = 0
                    with suppress(ConnectionError):
                        while part := await asyncio.get_running_loop().sock_recv(sock, MEBIBYTE):
                            received += len(part)
                    assert received < len(page) / 2
        measured("memory of all", peak[0] / MEBIBYTE, "MiB")
        assert peak[0] < 16 * MEBIBYTE, "one chunk or two for each, not one page"


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


# ---- Large ----


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + b"x" * MEBIBYTE + b"\r\n\r\n", 431),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 9000 + b"\r\n\r\n", 431),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 170_000 + b"\r\n", 431),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 100 + b"\r\n", 400),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET /" + b"x" * MEBIBYTE + b" HTTP/1.1\r\n\r\n", 431),
        (b"x" * MEBIBYTE, 431),
    ],
)
async def test_a_request_that_is_too_large(server: Served, request_: bytes, status: int) -> None:
    answer = await server.ask(request_)
    # A client that is still sending may see the reset before the answer.
    assert answer.status in ({status, 0} if len(request_) > Limits().request_bytes else {status})
    assert server.reasons == {"bad_request": 1}
    assert await worst_scrape(server, 1) < UNDISTURBED


# ---- Wrong ----


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND"])
@pytest.mark.parametrize("path", ["/metrics", "/nothing"])
async def test_another_method(server: Served, method: str, path: str) -> None:
    answer = await server.ask(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n{GET.decode()}".encode())
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
    assert answer.statuses == [405], "nothing after it is looked at"


async def test_head(server: Served) -> None:
    for page in (b"small\n", b"x" * MEBIBYTE):
        server.page = page
        answer = await server.ask(b"HEAD /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (answer.status, answer.body, int(answer.headers["content-length"])) == (200, b"", len(page))


@pytest.mark.parametrize(
    "request_",
    [
        b"\r\n\r\n",
        b"\0\1\2\3\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"GET\r\n\r\n",
        b"GETS /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\n\r\n",  # no Host
        b"GET /metrics HTTP/9.9\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\n : x\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
async def test_malformed_requests(request_: bytes) -> None:
    async with served(limits=SHORT) as server:
        answer = await server.ask(request_)
        assert answer.status in {0, 400}
        if answer.raw:
            assert answer.body == b"Bad Request\n", "nothing of the request comes back"
        assert set(server.reasons) <= {"bad_request", "slow_request"}
        assert len(server.errors) == 1


SMUGGLING = {
    "a body": b"Content-Length: 5\r\n\r\nabcde",
    "a long body": b"Content-Length: 5000000000\r\n\r\nabcde",
    "chunks": b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
    "no chunks": b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "CL.TE": b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
    "TE.CL": b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n12\r\nGPOST / HTTP/1.1\r\n\r\n0\r\n\r\n",
    "TE.TE": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "xchunked": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "space before the colon": b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"Content-Length: 0\r\nContent-Length: 5\r\n\r\nabcde",
    "a list of lengths": b"Content-Length: 0, 5\r\n\r\nabcde",
    "a negative length": b"Content-Length: -1\r\n\r\n",
    "a signed length": b"Content-Length: +5\r\n\r\nabcde",
    "a hexadecimal length": b"Content-Length: 0x5\r\n\r\nabcde",
    "a bad chunk": b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabcde\r\n0\r\n\r\n",
    "a huge chunk": b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nabc",
    "a folded line": b"X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bare line feeds": b"Transfer-Encoding: chunked\n\n0\r\n\r\n",
    "a bare carriage return": b"X: y\rTransfer-Encoding: chunked\r\n\r\n",
}


@pytest.mark.parametrize("shape", SMUGGLING)
@pytest.mark.system
async def test_smuggling(server: Served, shape: str) -> None:
    """Whatever a proxy in front makes of it, nothing after such a request is answered on this connection."""
    answer = await server.ask(b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + SMUGGLING[shape] + GET * 2)
    assert set(answer.statuses) <= {400, 413}
    assert len(answer.statuses) == 1


async def test_requests_one_behind_the_other(server: Served) -> None:
    answer = await server.ask(GET * 100 + LAST)
    assert answer.statuses == [200] * 101
    assert answer.raw.count(server.page) == 101
    assert server.errors == []


# ---- What every answer says ----


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (GET, 200),
        (b"GET /metrics\r\n\r\n", 505),
        (b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx", 413),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /broken HTTP/1.1\r\nHost: x\r\n\r\n", 500),
    ],
)
async def test_no_answer_names_the_software_or_the_defect(
    request_: bytes, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(limits=SHORT) as server:
        answer = await server.ask(request_)
        assert (answer.status, answer.headers["server"]) == (status, "kube-throttle-exporter")
        for word in (b"aiohttp", b"Python", b"Traceback", b"defect"):
            assert word not in answer.raw
        assert ("a defect of a handler" in caplog.text) is (status == 500), "but the log tells"
        assert server.reasons["internal"] == (status == 500)


# ---- Listening ----


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


async def test_without_a_free_descriptor_the_next_connection_waits(
    server: Served, caplog: pytest.LogCaptureFixture
) -> None:
    loop = asyncio.get_running_loop()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    client, spare = socket.socket(), [os.open(os.devnull, os.O_RDONLY)]
    client.setblocking(False)
    resource.setrlimit(resource.RLIMIT_NOFILE, (spare[0] + 10, hard))
    try:
        with suppress(OSError):
            while True:
                spare.append(os.open(os.devnull, os.O_RDONLY))
        await loop.sock_connect(client, (HOST, server.port))
        async with asyncio.timeout(10):
            while "out of system resource" not in caplog.text:  # noqa: ASYNC110 - asyncio logs it and tells nobody
                await asyncio.sleep(0)
    finally:
        for descriptor in spare:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    await loop.sock_sendall(client, LAST)
    assert (await asyncio.wait_for(loop.sock_recv(client, 1000), 10)).startswith(b"HTTP/1.1 200")
    client.close()


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


@pytest.mark.parametrize("idle", [100, 1000])
async def test_a_scraper_amid_idle_connections(idle: int) -> None:
    """All of them wait in the accept queue in one round of the loop; the scrapers in the middle and at the end."""
    async with served() as server:
        with ExitStack() as stack:
            silent = [stack.enter_context(socket.socket()) for _ in range(idle)]
            middle, last = stack.enter_context(socket.socket()), stack.enter_context(socket.socket())
            for client in (*silent[::2], middle, *silent[1::2], last):
                client.connect((HOST, server.port))
                client.setblocking(False)
                if client in {middle, last}:
                    client.send(GET)
            for scraper in (middle, last):
                answer = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(scraper, 100), 5.0)
                assert answer.startswith(b"HTTP/1.1 200")
