"""Interface of a pod source, and what sources share: reasons, backoff, files, credentials, HTTP failures and bodies."""

from __future__ import annotations

import asyncio
import contextlib
import mmap
import os
import re
import ssl
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol, TypeVar

import aiofiles
import aiohttp

from exporter.errors import MappingError
from exporter.identities import PodList
from exporter.kube.podlist import parse_pod_list
from exporter.threads import Worker

MAX_BYTES: Final = 32 * 1024 * 1024  # of a list of pods
_CHUNK_BYTES: Final = 64 * 1024
_CLOSE_SECONDS: Final = 0.5
_TOKEN: Final = re.compile(r"[-._~+/A-Za-z0-9]+=*")  # b64token of RFC 6750: nothing that could break out of a header

T = TypeVar("T")


class PodSource(Protocol):
    """Lists the pods of this node."""

    name: str  # kubelet, apiserver, logs, file or none

    async def pods(self) -> PodList:
        """Return the whole list as of now; raises :class:`exporter.errors.MappingError`."""
        ...


def full_jitter(failures: int, first: float, last: float, jitter: Callable[[], float]) -> float:
    """Return the seconds to wait after ``failures`` in a row: up to ``first`` x 2^(failures-1), at most ``last``."""
    # From a fifth of that on, so that no draw, from [0, 1), makes a tight loop.
    ceiling = min(last, first * 2.0 ** min(failures - 1, 30))
    return ceiling * (0.2 + 0.8 * jitter())


def file_reason(error: OSError) -> str:
    """Return why a file or directory cannot be read: ``not_found`` or ``unreadable``."""
    return "not_found" if isinstance(error, FileNotFoundError) else "unreadable"


class TimedFile:
    """A file read anew each time, within a time limit: it may be on a file server that is gone."""

    def __init__(self, path: str, kind: str, reason: str = "", *, seconds: float = 2.0, most: int = 4 << 20) -> None:
        """``kind`` names it in messages; ``reason`` is that of failures but timeouts, empty for the errno's."""
        self.where, self._path, self._reason = f"{kind} {path}", path, reason
        self._seconds, self._most = seconds, most
        self._reading: asyncio.Task[bytes] | None = None

    def unusable(self, why: str, reason: str = "") -> MappingError:
        """Return the error for a file of no use; ``why`` does not quote it."""
        return MappingError(f"{self.where}: {why}", reason=self._reason or reason)

    async def read(self) -> bytes:
        """Return its bytes, to all who call meanwhile; raises :class:`MappingError`."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read(), name=f"reading {self._path}")
        try:
            async with asyncio.timeout(self._seconds):
                content = await asyncio.shield(self._reading)
        except asyncio.CancelledError:
            await asyncio.wait([self._reading], timeout=_CLOSE_SECONDS)  # only it closes a file that is being opened
            raise
        except TimeoutError as error:
            raise MappingError(f"{self.where}: not read within {self._seconds:g} s", reason="timeout") from error
        except OSError as error:
            raise self.unusable(str(error.strerror), file_reason(error)) from error
        if len(content) > self._most:
            raise self.unusable(f"more than {self._most} bytes", "too_large")
        return content

    async def _read(self) -> bytes:
        # A daemon thread: at its end the process waits for the event loop's own threads, and not for this one.
        thread: Any = Worker("file")  # no Executor, of which asyncio uses submit(function) only
        try:
            async with aiofiles.open(self._path, "rb", executor=thread) as file:
                return await file.read(self._most + 1)
        finally:
            thread.close(0.0)


class Credentials:
    """Token and CA file with which one server is asked, read anew for each connection."""

    def __init__(self, token_file: str | None, ca_file: str | None) -> None:
        self._token = None if token_file is None else TimedFile(token_file, "token file", "no_token")
        self._ca = None if ca_file is None else TimedFile(ca_file, "CA file", "tls")

    async def headers(self) -> dict[str, str]:
        """Return the ``Authorization`` header; raises :class:`MappingError`, ``no_token`` or ``timeout``."""
        if self._token is None:
            return {}
        token = (await self._token.read()).decode("latin-1").strip()
        if not _TOKEN.fullmatch(token):
            raise self._token.unusable("holds no bearer token")
        return {"Authorization": f"Bearer {token}"}

    async def with_ca(self, make: Callable[[str | None], T]) -> T:
        """Return what ``make`` makes of the CA certificates (PEM); raises :class:`MappingError`."""
        # A comment may be in any encoding.
        pem = None if self._ca is None else (await self._ca.read()).decode("ascii", "ignore")
        try:  # in a thread: the system's own certificates take some ten ms
            return await asyncio.to_thread(make, pem)
        except (ssl.SSLError, ValueError) as error:
            if self._ca is None:
                raise
            raise self._ca.unusable("holds no usable certificate") from error


def verifying_context(pem: str | None) -> ssl.SSLContext:
    """Return the context that verifies by these CA certificates, or by the system's."""
    # Not create_default_context: from Python 3.13 it is strict about extensions that many clusters' CAs lack.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # As Go does: any certificate of the file may end the chain, so a kubelet's own serving certificate can be pinned.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if pem is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(cadata=pem)
    return context


def http_error(where: str, status: int, forbidden_advice: str) -> MappingError:
    """Return the error for any status but 200. The body is not read: it may name users and resources."""
    unauthorized = "the token is not accepted (audience, expiry, or the kubelet's webhook authentication is off)"
    redirect = ": redirects are not followed" if 300 <= status < 400 else ""
    message, reason = {
        401: (f"401 unauthorized: {unauthorized}", "unauthorized"),
        403: (f"403 forbidden: {forbidden_advice}", "forbidden"),
        404: ("404 not found: is this the right port?", "not_found"),
    }.get(status, (f"status {status}{redirect}", "http_status"))
    return MappingError(f"{where}: {message}", reason=reason)


@contextlib.contextmanager
def mapping_errors(where: str, timeout_seconds: float, ca_advice: str) -> Iterator[None]:
    """Raise what a connection may raise as a :class:`MappingError` of one line."""
    try:
        yield
    except TimeoutError as error:
        raise MappingError(f"{where}: no answer within {timeout_seconds:g} s", reason="timeout") from error
    except aiohttp.ClientConnectorCertificateError as error:
        cause = getattr(error.certificate_error, "verify_message", "") or "not valid"
        raise MappingError(f"{where}: certificate: {cause} ({ca_advice})", reason="tls") from error
    except aiohttp.ClientSSLError as error:
        cause = getattr(error.os_error, "reason", None) or "no handshake"
        raise MappingError(f"{where}: TLS failed: {cause}", reason="tls") from error
    except aiohttp.ClientConnectorDNSError as error:
        raise MappingError(f"{where}: the host name does not resolve", reason="unreachable") from error
    except OSError as error:
        refused = isinstance(getattr(error, "os_error", error), ConnectionRefusedError)
        cause = "connection refused" if refused else os.strerror(error.errno) if error.errno else "connection lost"
        raise MappingError(f"{where}: {cause}", reason="refused" if refused else "unreachable") from error
    except aiohttp.ClientResponseError as error:
        raise MappingError(f"{where}: the answer is not HTTP", reason="malformed") from error
    except aiohttp.ClientError as error:
        raise MappingError(f"{where}: the connection broke off", reason="unreachable") from error


async def read_body(response: aiohttp.ClientResponse, limit: int, where: str) -> memoryview:
    """Return the body, at most ``limit`` bytes, of a request for ``identity`` in a session that does not decompress."""
    # aiohttp inflates a whole chunk at once, a thousandfold at worst.
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise MappingError(f"{where}: an encoding that was not asked for", reason="malformed")
    # Outside the heap, where glibc would keep a freed block of some megabytes for good. Untouched pages cost nothing.
    body = mmap.mmap(-1, limit, flags=mmap.MAP_PRIVATE)
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        if body.tell() + len(chunk) > limit:
            raise MappingError(f"{where}: more than {limit} bytes", reason="too_large")
        body.write(chunk)
    return memoryview(body)[: body.tell()]


class FileSource:
    """A PodList in a JSON file, read again at each refresh: ``kubectl get pods -A -o json``, or a kubelet's answer."""

    name = "file"

    def __init__(self, path: str) -> None:
        self._file = TimedFile(path, "file", seconds=10.0, most=MAX_BYTES)

    async def pods(self) -> PodList:
        """Raises :class:`MappingError`: ``not_found``, ``unreadable``, ``too_large``, ``malformed`` or ``timeout``."""
        return await asyncio.to_thread(parse_pod_list, await self._file.read(), self._file.where)


class NoneSource:
    """An empty list: rows are labelled by pod uid and container id."""

    name = "none"

    async def pods(self) -> PodList:
        """Return no pods."""
        return PodList(pods={})
