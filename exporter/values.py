"""Text to value and back: durations, switches, addresses, URLs and files, for options and configuration files alike.

A parser raises ``ValueError`` with what the value "must be"; the caller names the option and quotes what was given.
"""

from __future__ import annotations

import ipaddress
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar
from urllib.parse import urlsplit

from typing_extensions import override

from exporter.errors import ConfigError

_LARGE_UNITS: Final = {"y": 31_536_000_000, "w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000}
_UNITS: Final = _LARGE_UNITS | {"s": 1000, "ms": 1}  # in milliseconds, largest first
_DURATION: Final = re.compile("".join(f"(?:([0-9]+){unit})?" for unit in _UNITS))
_MAX_DURATION_LENGTH: Final = 32  # characters; keeps the sum inside a float's range
_HOSTNAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?")
_LISTEN: Final = re.compile(rf"(?:\[(?P<ipv6>[^]]+)\]|(?P<host>{_HOSTNAME.pattern})?):(?P<port>[0-9]{{1,5}})")
_TRUE: Final = frozenset({"true", "yes", "on", "1"})
_FALSE: Final = frozenset({"false", "no", "off", "0"})

T = TypeVar("T")


class NotQuotedError(ValueError):
    """A wrong value that must not be repeated in a message: it may be, or carry, a secret."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How the text of an option becomes its value."""

    unit: str  # in words for people: duration
    metavar: str
    parse: Callable[[str], object]
    limits: str = ""  # between 100ms and 60s, one of logfmt, json, or empty


class ListenAddress(NamedTuple):
    """Where a server listens."""

    host: str  # without brackets; empty for all interfaces, IPv4 and IPv6
    port: int

    @override
    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_duration(text: str) -> float:
    """Return the seconds of a Prometheus duration: ``500ms``, ``1m30s``; whole numbers, largest unit first."""
    if text == "0":
        return 0.0
    match = _DURATION.fullmatch(text) if 0 < len(text) <= _MAX_DURATION_LENGTH else None
    if match is None:
        raise ValueError("must be a duration such as 500ms, 1s or 1m30s")
    return sum(int(count or 0) * unit for count, unit in zip(match.groups(), _UNITS.values(), strict=True)) / 1000


def format_duration(seconds: float) -> str:
    """Invert :func:`parse_duration`, to the millisecond; ``90s`` but ``2m``, hours as the largest unit."""
    rest = round(seconds * 1000)
    parts: list[str] = []
    for name, least in (("h", 3_600_000), ("m", 120_000), ("s", 1000), ("ms", 1)):
        if rest >= least or parts:
            count, rest = divmod(rest, _UNITS[name])
            parts += [f"{count}{name}"] * (count > 0)
    return "".join(parts) or "0s"


def parse_switch(text: str) -> bool:
    """Return a boolean, in any spelling of YAML."""
    if text.lower() not in _TRUE | _FALSE:
        raise ValueError("must be true or false")
    return text.lower() in _TRUE


def parse_listen_address(text: str) -> ListenAddress:
    """Return the address of ``:PORT``, ``HOST:PORT``, ``IPV4:PORT`` or ``[IPV6]:PORT``."""
    match = _LISTEN.fullmatch(text)
    if match is None or int(match["port"]) > 65535 or (match["ipv6"] is not None and not is_ipv6(match["ipv6"])):
        raise ValueError("must be HOST:PORT or :PORT, an IPv6 address in brackets, the port from 0 to 65535")
    return ListenAddress(match["ipv6"] or match["host"] or "", int(match["port"]))


def parse_url(text: str) -> str:
    """Return an HTTP or HTTPS base URL, without a slash at its end and with a bare IPv6 host in brackets."""
    if "@" in text:
        raise NotQuotedError("must not carry a user name or password")
    expected = "must be a URL such as https://192.0.2.1:10250"
    scheme, separator, rest = text.partition("://")
    host, slash, path = rest.partition("/")
    try:
        parts = urlsplit(f"{scheme}{separator}{_bracketed(host)}{slash}{path}")
        name, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ValueError(expected) from error
    usable = parts.scheme in {"http", "https"} and (is_ipv6(name) or _HOSTNAME.fullmatch(name))
    if not usable or port == 0 or parts.query or parts.fragment or not re.fullmatch(r"[!-~]*", text):
        raise ValueError(expected)
    return parts.geturl().rstrip("/")


def parse_file(text: str) -> str | None:
    """Return the path of a file that can be read now, unopened: a pipe can be read only once. ``None`` for no text."""
    if not text:
        return None
    try:
        problem = "" if os.access(text, os.R_OK, effective_ids=True) else "Permission denied"
        problem = "Is a directory" if stat.S_ISDIR(os.stat(text).st_mode) else problem
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or "not a path"
    if problem:
        # A token pasted in place of its file's path must not reach a log; a service account's token has no slash.
        raise (ValueError if "/" in text else NotQuotedError)(f"must be a readable file ({problem})")
    return text


def parse_ca_file(text: str) -> str | None:
    """Return the path of a file that holds CA certificates now; ``None`` for an empty text."""
    import ssl  # noqa: PLC0415 - 10 ms that only a configured CA costs

    path = parse_file(text)
    if path is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
        except OSError as error:  # SSLError is one
            raise ValueError("must be a file of CA certificates in PEM") from error
    return path


@contextmanager
def yaml_errors(where: str) -> Iterator[None]:
    """Raise what PyYAML may raise as a ``ConfigError`` of one line, which quotes nothing of the text."""
    import yaml  # noqa: PLC0415 - 10 ms and 1.4 MB that only such a file costs

    try:
        yield
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = re.sub(r"'[^']*'?", "...", ", ".join(filter(None, (error.context, error.problem))))
        raise ConfigError(f"{where}{f' line {mark.line + 1}' if mark else ''}: not YAML: {problem[:100]}") from None
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        # The last three are for escapes beyond Unicode, and for brackets nested a thousand deep.
        raise ConfigError(f"{where}: not YAML ({type(error).__name__})") from None


def duration(low: float, high: float) -> Kind:
    """Return the kind of a duration between two bounds in seconds, both included."""
    limits = f"between {format_duration(low)} and {format_duration(high)}"
    return _limited("duration", "TIME", parse_duration, limits, lambda seconds: low <= seconds <= high)


def choice(metavar: str, *choices: str) -> Kind:
    """Return the kind of one of some words."""
    return _limited("choice", metavar, str, f"one of {', '.join(choices)}", choices.__contains__)


def _limited(unit: str, metavar: str, parse: Callable[[str], T], limits: str, is_within: Callable[[T], bool]) -> Kind:
    def checked(text: str) -> T:
        value = parse(text)
        if not is_within(value):
            raise ValueError(f"must be {limits}")
        return value

    return Kind(unit, metavar, checked, limits)


def is_ipv6(text: str) -> bool:
    """Whether the text is an IPv6 address without brackets."""
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _bracketed(host: str) -> str:
    # Kubernetes expands $(NODE_IP) in a container's arguments without brackets.
    if host.startswith("[") or host.count(":") <= 1:
        return host
    address, _, port = host.rpartition(":")
    return f"[{address}]:{port}" if is_ipv6(address) else f"[{host}]"
