"""The web config as it holds now: follows its files, and keeps the last good one when a new one is wrong."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from exporter.errors import ConfigError, ExporterError, quoted
from exporter.threads import TimedCall
from exporter.web.config.document import Document, parse
from exporter.web.config.failures import WebError
from exporter.web.config.tls import PemError, read_pem, server_context

CHECK_SECONDS: Final = 1.0
"""Between two looks at the files: four small ones, compared by content, since a mounted Secret changes through
symlinks and its times mean little."""
_READ_SECONDS: Final = 5.0
"""How long the files may take: a file server may be gone, and nobody waits for it."""
_LARGEST: Final = 1 << 20
_TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class Loaded:
    """One state of the files, taken over as a whole."""

    document: Document = field(default_factory=Document)
    context: ssl.SSLContext | None = None
    """``None`` for plain HTTP."""
    contents: tuple[bytes, ...] = field(default=(), repr=False)


class LiveConfig:
    """What the web config file says, by :attr:`current`; without a file, plain HTTP for everybody."""

    def __init__(
        self, path: str | None, on_error: Callable[[ExporterError], None], *, seconds: float = _READ_SECONDS
    ) -> None:
        self.current = Loaded()
        self._path, self._on_error = path, on_error
        self._first = TimedCall(lambda: _load(path or ""), seconds)
        self._again = TimedCall(lambda: _load(path or "", self.current), seconds)

    async def load(self) -> None:
        """The first time: raises ``ConfigError`` with one line that names file and key."""
        if self._path is None:
            return
        try:
            self.current = await self._first.awaited()
        except TimeoutError as error:
            raise ConfigError(f"--web.config.file: {self._late()}") from error

    async def run(self) -> None:
        """Look at the files for ever."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            await self.check()

    async def check(self) -> None:
        """Take over what changed, or keep what there is and report why."""
        if self._path is None:
            return
        try:
            found = await self._again.awaited()
        except TimeoutError:
            self._on_error(WebError(f"{self._late()}; the last one stays in use", reason="bad_config"))
        except PemError as error:
            self._on_error(WebError(f"{error}; the last one stays in use", reason="bad_certificate"))
        except ConfigError as error:
            self._on_error(WebError(f"{error}; the last one stays in use", reason="bad_config"))
        else:
            self.current = found

    def _late(self) -> str:
        return f"{quoted(self._path or '', 200)} and its files: not read within {self._again.seconds:g} s"


def _load(path: str, last: Loaded | None = None) -> Loaded:
    """The state of the files now; ``last`` itself when nothing changed."""
    document, contents = _read(path)
    for _ in range(_TRIES):
        if last is not None and contents == last.contents:
            return last
        # A certificate and its key that are replaced at this moment may not belong together yet.
        before, (document, contents) = contents, _read(path)
        if contents == before:
            break
    context = None
    if last is not None and (document.tls is None) is not (last.context is None):
        raise ConfigError("--web.config.file: TLS cannot be turned on or off without a restart")
    if document.tls is not None:
        _, certificate, key, *client_ca = contents
        context = server_context(document.tls, certificate, key, client_ca[0] if client_ca else None)
    return Loaded(document, context, contents)


def _read(path: str) -> tuple[Document, tuple[bytes, ...]]:
    try:
        with open(path, "rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise ConfigError(f"--web.config.file: {quoted(path, 200)}: {error.strerror}") from error
    if len(content) > _LARGEST:
        raise ConfigError(f"--web.config.file: {quoted(path, 200)} has more than {_LARGEST} bytes")
    document = parse(content, path)
    tls = document.tls
    if tls is None:
        return document, (content,)
    pems = (tls.certificate, tls.key, *([tls.client_ca] if tls.client_ca else ()))
    return document, (content, *map(read_pem, pems))
