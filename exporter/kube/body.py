"""The body of an HTTP answer, never larger than allowed, compressed or not."""

from __future__ import annotations

import mmap
import zlib

import aiohttp

from exporter.errors import MappingError

_CHUNK_BYTES = 64 * 1024
_GZIP = 16 + zlib.MAX_WBITS


async def read_body(response: aiohttp.ClientResponse, limit: int, where: str) -> memoryview:
    """At most ``limit`` bytes after decompression.

    Needs a session with ``auto_decompress=False``: aiohttp inflates a whole chunk at once, a thousandfold at worst.
    Raises :class:`MappingError`, ``too_large`` or ``malformed``, and what aiohttp raises while it reads.
    """
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding not in {"identity", "gzip"}:
        raise MappingError(f"{where}: an encoding that was not asked for", reason="malformed")
    body = _Bounded(limit, where)
    inflate = zlib.decompressobj(_GZIP) if encoding == "gzip" else None
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        if inflate is None:
            body.append(chunk)
        else:
            _inflate(inflate, chunk, body, where)
    if inflate is not None and not inflate.eof:
        raise MappingError(f"{where}: gzip data that ends early", reason="malformed")
    return body.view()


class _Bounded:
    """Kept outside the heap: glibc would keep a block of some megabytes mapped for good, once freed and asked again."""

    def __init__(self, limit: int, where: str) -> None:
        self._limit = limit
        self._where = where
        self._size = 0
        # Pages that are never written cost nothing.
        self._map = mmap.mmap(-1, limit, flags=mmap.MAP_PRIVATE)

    @property
    def room(self) -> int:
        return self._limit - self._size

    def append(self, chunk: bytes) -> None:
        if len(chunk) > self.room:
            raise MappingError(f"{self._where}: more than {self._limit} bytes", reason="too_large")
        self._map.write(chunk)
        self._size += len(chunk)

    def view(self) -> memoryview:
        return memoryview(self._map)[: self._size]


def _inflate(inflate: zlib._Decompress, chunk: bytes, body: _Bounded, where: str) -> None:
    pending = chunk
    try:
        while pending and not inflate.eof:
            body.append(inflate.decompress(pending, _CHUNK_BYTES))
            pending = inflate.unconsumed_tail
    except zlib.error as error:
        raise MappingError(f"{where}: broken gzip data", reason="malformed") from error
    if inflate.unused_data:
        raise MappingError(f"{where}: data after the end of the gzip stream", reason="malformed")
