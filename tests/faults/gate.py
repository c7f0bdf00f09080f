"""A port in front of a server, through which faults are made: nobody listens, nobody speaks, nonsense is spoken."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Literal, Self
from urllib.parse import urlsplit

State = Literal["open", "shut", "silent", "nonsense"]
_HTML = b"<html>back soon</html>"
_NONSENSE = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(_HTML), _HTML)
_PIECE = 65536


class Gate:
    """Listens on a port of its own from the moment it is entered, which it keeps while it is shut."""

    def __init__(self, url: str, state: State = "open") -> None:
        self._target = urlsplit(url).port
        self._state: State = state
        self._server: asyncio.Server | None = None
        self._flows = asyncio.Event()
        self._connections: set[asyncio.Task[None]] = set()
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        await self._listen()
        await self.turn(self._state)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.turn("shut")

    async def turn(self, state: State) -> None:
        """From now on. A silent gate keeps its connections, the others begin anew."""
        self._state = state
        if state == "open":
            self._flows.set()
        else:
            self._flows.clear()
        if state in {"shut", "nonsense"}:
            for task in (connections := list(self._connections)):
                task.cancel()
            await asyncio.gather(*connections, return_exceptions=True)
        if state == "shut" and self._server is not None:
            self._server.close()
            self._server = None
        elif state != "shut" and self._server is None:
            await self._listen()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            raise AssertionError("a connection is a task")
        self._connections.add(task)
        try:
            with suppress(OSError, asyncio.CancelledError):
                await self._serve(reader, writer)
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._state == "nonsense":
            await reader.readuntil(b"\r\n\r\n")
            writer.write(_NONSENSE)
            await writer.drain()
            return
        await self._flows.wait()
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            async with asyncio.TaskGroup() as ways:
                tasks = [
                    ways.create_task(self._pass_on(reader, inner_writer)),
                    ways.create_task(self._pass_on(inner_reader, writer)),
                ]
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    task.cancel()
        finally:
            inner_writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(_PIECE):
            await self._flows.wait()
            writer.write(piece)
            await writer.drain()
