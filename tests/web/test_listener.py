"""Connections that arrive in large numbers at once, or while the server stops."""

from __future__ import annotations

import asyncio
import gc
import socket
from contextlib import ExitStack, suppress

import pytest

from tests.web.serving import HOST, served

GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.filterwarnings("error::ResourceWarning", "error::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("rounds", range(8))
async def test_who_comes_at_the_last_moment(rounds: int) -> None:
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
