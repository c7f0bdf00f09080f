"""Bearer token and CA files, read anew for each connection, and the TLS contexts made of them."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

import aiofiles
from typing_extensions import override

from exporter.errors import MappingError
from exporter.threads import Worker

_MAX_TOKEN_BYTES: Final = 64 * 1024
_MAX_CA_BYTES: Final = 4 * 1024 * 1024
_TOKEN: Final = re.compile(r"[-._~+/A-Za-z0-9]+=*")  # b64token of RFC 6750: nothing that could break out of a header
READ_SECONDS: Final = 2.0
"""How long a file may take; those of a service account lie in memory."""
_CLOSE_SECONDS: Final = 0.5

P = ParamSpec("P")
T = TypeVar("T")


class _OwnThread(Executor):
    """A daemon thread for one file: the event loop's own threads are waited for at the end of the process."""

    def __init__(self) -> None:
        self._worker = Worker("credentials")

    @override
    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        return self._worker.submit(partial(fn, *args, **kwargs))

    @override
    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._worker.close(0.0)


class TimeoutFile:
    """A file read anew each time, within a time limit: it may be on a file server that is gone."""

    def __init__(self, path: str, limit: int, *, seconds: float = READ_SECONDS) -> None:
        self.path, self.seconds = path, seconds
        self._limit = limit
        self._reading: asyncio.Task[bytes] | None = None
        self._is_late = False

    async def read(self) -> bytes:
        """Return at most ``limit`` bytes; raises ``OSError``, ``TimeoutError`` among them.

        Calls during a read share its result. While a late read hangs, calls raise ``TimeoutError`` at once.
        """
        reading = self._reading
        if reading is None or reading.done():
            self._is_late = False
            reading = self._reading = asyncio.create_task(self._read(), name=f"reading {self.path}")
        elif self._is_late:
            raise TimeoutError
        try:
            done, _ = await asyncio.wait([reading], timeout=self.seconds)
        except asyncio.CancelledError:
            # A thread that is opening the file cannot be called back, and only the reader would close what it opens.
            await asyncio.wait([reading], timeout=_CLOSE_SECONDS)
            raise
        if not done:
            self._is_late = True
            reading.add_done_callback(_discard)
            raise TimeoutError
        return reading.result()

    async def _read(self) -> bytes:
        thread = _OwnThread()
        try:
            async with aiofiles.open(self.path, "rb", executor=thread) as file:
                return await file.read(self._limit)
        finally:
            thread.shutdown(wait=False)


def _discard(reading: asyncio.Task[Any]) -> None:
    """Retrieve a late result, so that asyncio does not log it."""
    if not reading.cancelled():
        reading.exception()


class Token:
    """The bearer token in a file; projected tokens rotate about hourly."""

    def __init__(self, path: str, *, seconds: float = READ_SECONDS) -> None:
        self._file = TimeoutFile(path, _MAX_TOKEN_BYTES, seconds=seconds)

    async def read(self) -> str:
        """Return the token; raises :class:`MappingError`, ``no_token`` or ``timeout``, without quoting the file."""
        where = f"token file {self._file.path}"
        try:
            token = (await self._file.read()).decode("latin-1").strip()
        except TimeoutError as error:
            raise _late(where, self._file.seconds) from error
        except OSError as error:
            raise MappingError(f"{where}: {error.strerror}", reason="no_token") from error
        if not _TOKEN.fullmatch(token):
            raise MappingError(f"{where}: holds no bearer token", reason="no_token")
        return token


class CaBundle:
    """The CA certificates in a PEM file."""

    def __init__(self, path: str, *, seconds: float = READ_SECONDS) -> None:
        self.path = path
        self._file = TimeoutFile(path, _MAX_CA_BYTES, seconds=seconds)

    async def read(self) -> bytes:
        """Return the file's bytes; raises :class:`MappingError`, reason ``tls`` or ``timeout``."""
        try:
            return await self._file.read()
        except TimeoutError as error:
            raise _late(f"CA file {self.path}", self._file.seconds) from error
        except OSError as error:
            raise MappingError(f"CA file {self.path}: {error.strerror}", reason="tls") from error


def unusable_ca(ca: CaBundle | None) -> MappingError:
    """Return the error for a file of which OpenSSL can read no certificate."""
    where = "CA file" if ca is None else f"CA file {ca.path}"
    return MappingError(f"{where}: holds no usable certificate", reason="tls")


def _late(where: str, seconds: float) -> MappingError:
    return MappingError(f"{where}: not read within {seconds:g} s", reason="timeout")


class TlsContext:
    """The context that verifies server certificates; made anew when the CA file changes."""

    def __init__(self, ca_file: str | None, *, insecure_skip_verify: bool = False) -> None:
        self._ca = CaBundle(ca_file) if ca_file is not None else None
        self._insecure = insecure_skip_verify
        self._pem: bytes | None = None
        self._context: ssl.SSLContext | None = None

    async def context(self) -> ssl.SSLContext:
        """Return it for the next connection; raises :class:`MappingError`, reason ``tls``, for an unusable CA file."""
        if self._insecure or self._ca is None:
            if self._context is None:
                # Reading the system's own CAs blocks for some ten milliseconds.
                self._context = await asyncio.to_thread(_context, None, insecure=self._insecure)
            return self._context
        pem = await self._ca.read()
        # Compared by content: a mounted ConfigMap changes through symlinks, its times mean little.
        if self._context is None or pem != self._pem:
            try:
                self._context = _context(pem, insecure=False)
            except (ssl.SSLError, ValueError) as error:
                raise unusable_ca(self._ca) from error
            self._pem = pem
        return self._context


def _context(pem: bytes | None, *, insecure: bool) -> ssl.SSLContext:
    # Not create_default_context: from Python 3.13 it is strict about extensions that many clusters' CAs lack.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    # As Go does: any certificate of the file may end the chain, so a kubelet's own serving certificate can be pinned.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if pem is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(cadata=pem.decode("ascii", "ignore"))
    return context
