"""Bearer token and CA files, read anew for each connection, and the TLS contexts made of them."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Final, ParamSpec, TypeVar

import aiofiles
from typing_extensions import override

from exporter.errors import MappingError
from exporter.threads import Worker

_MAX_TOKEN_BYTES: Final = 64 * 1024
_MAX_CA_BYTES: Final = 4 * 1024 * 1024
_TOKEN: Final = re.compile(r"[-._~+/A-Za-z0-9]+=*")  # b64token of RFC 6750: nothing that could break out of a header
READ_SECONDS: Final = 2.0
"""Time limit of a read; the files of a service account lie in memory."""
_CLOSE_SECONDS: Final = 0.5

P = ParamSpec("P")
T = TypeVar("T")


class _DaemonExecutor(Executor):
    """One daemon thread: at its end the process waits for the event loop's own threads, and not for this one."""

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
        self._deadline = 0.0

    async def read(self) -> bytes:
        """Return at most ``limit`` bytes; raises ``OSError``, ``TimeoutError`` among them.

        Calls during a read share its result. While a late read hangs, calls raise ``TimeoutError`` at once.
        """
        if self._reading is None or self._reading.done():
            self._deadline = asyncio.get_running_loop().time() + self.seconds
            self._reading = asyncio.create_task(self._read(), name=f"reading {self.path}")
        try:
            async with asyncio.timeout_at(self._deadline):
                return await asyncio.shield(self._reading)
        except asyncio.CancelledError:
            # Only the task closes the file that its thread may be opening just now.
            await asyncio.wait([self._reading], timeout=_CLOSE_SECONDS)
            raise

    async def _read(self) -> bytes:
        executor = _DaemonExecutor()
        try:
            async with aiofiles.open(self.path, "rb", executor=executor) as file:
                return await file.read(self._limit)
        finally:
            executor.shutdown(wait=False)


class Token:
    """The bearer token in a file; projected tokens rotate about hourly."""

    def __init__(self, path: str, *, seconds: float = READ_SECONDS) -> None:
        self._file = TimeoutFile(path, _MAX_TOKEN_BYTES, seconds=seconds)

    async def read(self) -> str:
        """Return the token; raises :class:`MappingError`, ``no_token`` or ``timeout``, without quoting the file."""
        token = (await _read(self._file, "token file", reason="no_token")).decode("latin-1").strip()
        if not _TOKEN.fullmatch(token):
            raise MappingError(f"token file {self._file.path}: holds no bearer token", reason="no_token")
        return token


class CaBundle:
    """The CA certificates in a PEM file."""

    def __init__(self, path: str, *, seconds: float = READ_SECONDS) -> None:
        self._file = TimeoutFile(path, _MAX_CA_BYTES, seconds=seconds)

    def unusable(self) -> MappingError:
        """Return the error for bytes in which OpenSSL finds no certificate."""
        return MappingError(f"CA file {self._file.path}: holds no usable certificate", reason="tls")

    async def read(self) -> bytes:
        """Return the file's bytes; raises :class:`MappingError`, reason ``tls`` or ``timeout``."""
        return await _read(self._file, "CA file", reason="tls")


async def _read(file: TimeoutFile, kind: str, *, reason: str) -> bytes:
    try:
        return await file.read()
    except TimeoutError as error:
        raise MappingError(f"{kind} {file.path}: not read within {file.seconds:g} s", reason="timeout") from error
    except OSError as error:
        raise MappingError(f"{kind} {file.path}: {error.strerror}", reason=reason) from error


class TlsContext:
    """The context that verifies server certificates; made anew when the CA file changes."""

    def __init__(self, ca_file: str | None, *, insecure_skip_verify: bool = False) -> None:
        self._ca = CaBundle(ca_file) if ca_file is not None and not insecure_skip_verify else None
        self._insecure = insecure_skip_verify
        self._pem: bytes | None = None
        self._context: ssl.SSLContext | None = None

    async def context(self) -> ssl.SSLContext:
        """Return it for the next connection; raises :class:`MappingError`, reason ``tls``, for an unusable CA file."""
        pem = None if self._ca is None else await self._ca.read()
        # Compared by content: a mounted ConfigMap changes through symlinks, its times mean little.
        if self._context is None or pem != self._pem:
            try:
                # In a thread: the system's own CAs take some ten milliseconds.
                self._context = await asyncio.to_thread(_context, pem, insecure=self._insecure)
            except (ssl.SSLError, ValueError) as error:
                if self._ca is None:
                    raise
                raise self._ca.unusable() from error
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
