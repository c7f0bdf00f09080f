"""Whoever knocks while the server stops is let go of, whatever it was doing at that moment."""

from __future__ import annotations

import asyncio
import gc
import socket
from contextlib import suppress

import pytest

from tests.webconfig.serving import HOST, served


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
