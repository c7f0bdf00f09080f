"""From an address to sockets that listen on it."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any, Final

_BACKLOG: Final = 1024
"""Who comes when it is full is tried again by its kernel after a second: a crowd must not cost a scraper that."""


async def bind(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen on every address of ``host``, of all interfaces without one; raises ``OSError``."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    problem: OSError | None = None
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            # Port 0 is one port, not one for each address.
            chosen = sockets[0].getsockname()[1] if sockets else port
            try:
                sockets.append(_listening(family, kind, protocol, (address[0], chosen, *address[2:])))
            except OSError as error:
                if error.errno not in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}:
                    raise
                problem = error  # a node without IPv6 still resolves to it
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    if not sockets:
        raise problem or OSError(errno.EADDRNOTAVAIL, "Address not available")
    return sockets


def _listening(family: int, kind: int, protocol: int, address: tuple[Any, ...]) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setblocking(False)
        sock.bind(address)
        sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock
