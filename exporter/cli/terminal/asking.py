"""Where ``explain`` and ``top`` get their numbers: options they share, and whom they ask."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from typing import Final, NamedTuple

from exporter.cli.terminal.client import NoAnswerError, fetch_containers, url_of
from exporter.cli.terminal.credentials import (
    ANONYMOUS,
    Credentials,
    add_credential_arguments,
    credentials_of,
)
from exporter.errors import ConfigError, quoted
from exporter.report.schema import ContainersDocument
from exporter.settings import Settings
from exporter.values import format_duration, parse_duration, parse_url

LONGEST_WATCH: Final = 600.0
_LARGEST_WEB_CONFIG: Final = 1 << 20


class Answer(NamedTuple):
    """What a running exporter said, or why it is not asked."""

    document: ContainersDocument | None
    url: str
    """Empty where nobody was asked."""
    reason: str
    """One line; empty with a document."""
    credentials: Credentials = ANONYMOUS
    """What was shown."""


def add_source_arguments(parser: ArgumentParser) -> None:
    """Whom to ask."""
    parser.add_argument("--url", help="base URL of the exporter to ask (the one of this node, by --web.listen-address)")
    add_credential_arguments(parser)
    parser.add_argument("--local", action="store_true", help="ask no exporter: sample here and now")
    parser.add_argument(
        "--for",
        dest="watch",
        default="5s",
        metavar="DURATION",
        help="how long to sample where no exporter answers, at most 10m (5s)",
    )


def source_url(settings: Settings, args: Namespace) -> str | None:
    """The exporter to ask first; ``None`` for nobody. Raises ``ConfigError`` for a wrong ``--url``."""
    if args.local:
        if args.url is not None:
            raise ConfigError("--url: contradicts --local")
        return None
    if args.url is None:
        return (
            url_of(settings.web_listen_address, tls=_serves_tls(settings)) if settings.web_listen_address.port else None
        )
    try:
        return parse_url(args.url)
    except ValueError as error:
        raise ConfigError(f"--url: {error}") from error


def _serves_tls(settings: Settings) -> bool:
    """Whether an exporter with these settings speaks TLS. A file that cannot be read or used says nothing."""
    if settings.web_config_file is None:
        return False
    from exporter.web.config import parse  # noqa: PLC0415 - with YAML, for who has such a file

    try:
        with open(settings.web_config_file, "rb") as file:
            return parse(file.read(_LARGEST_WEB_CONFIG), settings.web_config_file).tls_server_config is not None
    except (ConfigError, OSError):
        return False


def ask(settings: Settings, args: Namespace, *, with_series: bool = False) -> Answer:
    """The running exporter's containers. An exporter that the user named must answer: else :class:`NoAnswerError`."""
    url = source_url(settings, args)
    if url is None:
        return Answer(None, "", "")
    credentials = credentials_of(args)
    try:
        return Answer(fetch_containers(url, credentials, with_series=with_series), url, "", credentials)
    except NoAnswerError as error:
        if args.url is not None:
            raise
        return Answer(None, url, str(error))


def sampled_here(settings: Settings, seconds: float, reason: str, *, with_series: bool = False) -> ContainersDocument:
    """The containers after a look of our own, which is announced on standard error with the ``reason`` for it."""
    import asyncio  # noqa: PLC0415 - aiohttp and all the rest, for which the usual case must not wait

    from exporter.cli.terminal.sampling import sampled_containers  # noqa: PLC0415 - the same

    why = f"{reason}: sampling" if reason else "sampling"
    print(f"throttle-exporter: {why} here for {format_duration(seconds)}", file=sys.stderr, flush=True)
    return asyncio.run(sampled_containers(settings, seconds, with_series=with_series))


def watch_seconds(args: Namespace) -> float:
    """``--for``, in seconds; raises ``ConfigError``."""
    return duration(args.watch, "--for", 1.0, LONGEST_WATCH)


def duration(text: str, option: str, low: float, high: float) -> float:
    """Seconds of a command's own duration option; raises ``ConfigError``."""
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise ConfigError(f"{option}: {error}, not {quoted(text)}") from error
    if not low <= seconds <= high:
        bounds = f"{format_duration(low)} and {format_duration(high)}"
        raise ConfigError(f"{option}: must be between {bounds}, not {quoted(text)}")
    return seconds
