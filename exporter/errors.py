"""Every failure this program names, and foreign text made safe for messages, which are one line each."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import ClassVar


def quoted(text: str | bytes, limit: int = 80) -> str:
    """Return foreign text made safe for one log line: escaped, printable ASCII, at most ``limit`` characters."""
    if isinstance(text, bytes):
        text = text[: limit + 1].decode("utf-8", "backslashreplace")
    escaped = ascii(text[: limit + 1])
    return escaped if len(text) <= limit and len(escaped) <= limit * 2 else f"{escaped[:limit]}...'"


def escape_control(text: str) -> str:
    """Return ``text`` with every character that is not printable as a Python escape: one line, no terminal codes."""
    return text if text.isprintable() else "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the exceptions of a group and of the groups in it, or the exception itself."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


class ExporterError(Exception):
    """Base of all errors raised on purpose; counted by ``stage`` and ``reason``, which are from small fixed sets."""

    stage: ClassVar[str] = "internal"
    number: int = 1  # how many failures of the kind it stands for, where they come by the hundred

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class ReadError(ExporterError):
    """A file could not be read; ``path`` is the file's, ``reason`` an errno's name in lower case or ``too_large``."""

    stage: ClassVar[str] = "read"

    def __init__(self, path: str, message: str, *, reason: str) -> None:
        super().__init__(f"{path}: {message}", reason=reason)
        self.path = path

    @classmethod
    def from_os_error(cls, path: str, error: OSError) -> ReadError:
        """Return the named form of ``error``; chain it with ``from error``."""
        name = errno.errorcode.get(error.errno or 0, "unknown").lower()
        return cls(path, error.strerror or name, reason=name)


class ParseError(ReadError):
    """A file was read and its text is not what its kernel page promises; the offending ``line`` is in the message."""

    stage: ClassVar[str] = "parse"

    def __init__(self, path: str, line: str | bytes, message: str, *, reason: str = "malformed") -> None:
        super().__init__(path, f"{message}: {quoted(line)}", reason=reason)


class VanishedError(Exception):
    """The cgroup went away while it was read (ENOENT or ENODEV): an ordinary result, never counted as a failure."""


class RenderError(ExporterError):
    """A metric could not be written from what was read."""

    stage: ClassVar[str] = "render"


class MappingError(ExporterError):
    """The pods behind the cgroups could not be learned from a source; reasons: ``docs/degradation.md``."""

    stage: ClassVar[str] = "pods"


class WebError(ExporterError):
    """A client that could not be served, or a web config that could not be used; reasons: ``docs/web-config.md``."""

    stage: ClassVar[str] = "web"


class ConfigError(ExporterError):
    """A setting has a wrong value; the message names the option. Ends the start with exit code 2."""

    stage: ClassVar[str] = "config"

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="invalid")
