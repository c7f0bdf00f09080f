"""What the exporter shows the kubelet and wants to be shown: a token that rotates, a CA that may be replaced."""

from __future__ import annotations

import asyncio
import re
import ssl

import aiofiles

from exporter.errors import MappingError

_MAX_TOKEN_BYTES = 64 * 1024
_MAX_CA_BYTES = 4 * 1024 * 1024
_TOKEN = re.compile(r"[-._~+/A-Za-z0-9]+=*")  # b64token of RFC 6750: nothing that could break out of a header


async def read_token(path: str) -> str:
    """The bearer token in ``path``, read anew because projected tokens rotate about hourly.

    Raises :class:`MappingError`, reason ``no_token``; the message holds nothing of the file.
    """
    try:
        token = (await _read(path, _MAX_TOKEN_BYTES)).decode("latin-1").strip()
    except OSError as error:
        raise MappingError(f"token file {path}: {error.strerror}", reason="no_token") from error
    if not _TOKEN.fullmatch(token):
        raise MappingError(f"token file {path}: holds no bearer token", reason="no_token")
    return token


async def read_ca(path: str) -> bytes:
    """The PEM file at ``path``; raises :class:`MappingError`, reason ``tls``."""
    try:
        return await _read(path, _MAX_CA_BYTES)
    except OSError as error:
        raise MappingError(f"CA file {path}: {error.strerror}", reason="tls") from error


async def _read(path: str, limit: int) -> bytes:
    async def read() -> bytes:
        async with aiofiles.open(path, "rb") as file:
            return await file.read(limit)

    reading = asyncio.create_task(read())
    try:
        return await asyncio.shield(reading)
    except asyncio.CancelledError:
        # A thread that is opening the file cannot be called back, and only the reader would close what it opens.
        await asyncio.wait([reading])
        raise


class Trust:
    """Which server certificates are believed; follows the CA file when it changes."""

    def __init__(self, ca_file: str | None, *, insecure_skip_verify: bool = False) -> None:
        self._ca_file = ca_file
        self._insecure = insecure_skip_verify
        self._pem: bytes | None = None
        self._context: ssl.SSLContext | None = None

    async def context(self) -> ssl.SSLContext:
        """For the next connection; raises :class:`MappingError`, reason ``tls``, when the CA file cannot be used."""
        if self._insecure or self._ca_file is None:
            if self._context is None:
                # Reading the system's own CAs blocks for some ten milliseconds.
                self._context = await asyncio.to_thread(_context, None, insecure=self._insecure)
            return self._context
        pem = await read_ca(self._ca_file)
        # Compared by content: a mounted ConfigMap changes through symlinks, its times mean little.
        if self._context is None or pem != self._pem:
            try:
                self._context = _context(pem, insecure=False)
            except (ssl.SSLError, ValueError) as error:
                raise MappingError(f"CA file {self._ca_file}: holds no usable certificate", reason="tls") from error
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
