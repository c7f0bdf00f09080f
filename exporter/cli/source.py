"""Where ``explain`` and ``top`` get their numbers: a running exporter, else samples taken in this process."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from exporter.cli.client import (
    ANONYMOUS,
    Credentials,
    NoAnswerError,
    add_credential_arguments,
    credentials_of,
    fetch_containers,
    url_of,
)
from exporter.errors import ConfigError, quoted
from exporter.report.schema import ContainersDocument
from exporter.settings import Settings
from exporter.values import format_duration, parse_duration, parse_url

if TYPE_CHECKING:  # with aiohttp and all the rest, for which a command that asks an exporter must not wait
    from exporter.app import Exporter

MAX_WATCH_SECONDS: Final = 600.0
SCAN_SECONDS: Final = 1.0
"""A short look needs its readings close together."""
_MAX_WEB_CONFIG_BYTES: Final = 1 << 20


class Answer(NamedTuple):
    """A running exporter's containers, or why there are none."""

    document: ContainersDocument | None
    url: str
    """Empty where no exporter was asked."""
    reason: str
    """One line; empty with a document."""
    credentials: Credentials = ANONYMOUS


def add_source_arguments(parser: ArgumentParser) -> None:
    """Add the options that choose the exporter."""
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


def ask(settings: Settings, args: Namespace, *, with_series: bool = False) -> Answer:
    """Return the running exporter's containers. One that ``--url`` names must answer: else ``NoAnswerError``."""
    url = _source_url(settings, args)
    if url is None:
        return Answer(None, "", "")
    credentials = credentials_of(args)
    try:
        return Answer(fetch_containers(url, credentials, with_series=with_series), url, "", credentials)
    except NoAnswerError as error:
        if args.url is not None:
            raise
        return Answer(None, url, str(error))


def sample_here(settings: Settings, seconds: float, reason: str, *, with_series: bool = False) -> ContainersDocument:
    """Return the containers after ``seconds`` of sampling, announced on standard error with the ``reason`` for it."""
    import asyncio  # noqa: PLC0415 - see TYPE_CHECKING

    why = f"{reason}: sampling" if reason else "sampling"
    print(f"throttle-exporter: {why} here for {format_duration(seconds)}", file=sys.stderr, flush=True)

    async def sample() -> ContainersDocument:
        async with sampling(settings) as exporter:
            await asyncio.gather(asyncio.sleep(seconds), exporter.directory.first_result())
            exporter.sampler.stop_waiting()
            return (await exporter.report()).containers(with_series=with_series)

    return asyncio.run(sample())


@asynccontextmanager
async def sampling(settings: Settings) -> AsyncIterator[Exporter]:
    """Run an exporter without its pages, sampling and resolving names, until the end of the block."""
    import asyncio  # noqa: PLC0415 - see TYPE_CHECKING

    from exporter.app import Exporter  # noqa: PLC0415 - see TYPE_CHECKING

    if "scan_interval" not in settings.given:
        settings = replace(settings, scan_interval=SCAN_SECONDS)
    exporter = Exporter(settings)
    tasks = [
        asyncio.create_task(exporter.loop.run(), name="sampling"),
        asyncio.create_task(exporter.directory.run(), name="pods"),
    ]
    try:
        yield exporter
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
        await exporter.close()


def watch_seconds(args: Namespace) -> float:
    """Return ``--for`` in seconds; raises ``ConfigError``."""
    return duration(args.watch, option="--for", low=1.0, high=MAX_WATCH_SECONDS)


def duration(text: str, *, option: str, low: float, high: float) -> float:
    """Return the seconds of a command's own duration option; raises ``ConfigError``."""
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise ConfigError(f"{option}: {error}, not {quoted(text)}") from error
    if not low <= seconds <= high:
        bounds = f"{format_duration(low)} and {format_duration(high)}"
        raise ConfigError(f"{option}: must be between {bounds}, not {quoted(text)}")
    return seconds


def _source_url(settings: Settings, args: Namespace) -> str | None:
    """Return the exporter to ask first, ``None`` for none; raises ``ConfigError`` for a wrong ``--url``."""
    if args.local:
        if args.url is not None:
            raise ConfigError("--url: contradicts --local")
        return None
    if args.url is None:
        address = settings.web_listen_address
        return url_of(address, tls=_serves_tls(settings)) if address.port else None
    try:
        return parse_url(args.url)
    except ValueError as error:
        raise ConfigError(f"--url: {error}") from error


def _serves_tls(settings: Settings) -> bool:
    """Whether an exporter with these settings speaks TLS; ``False`` where its file cannot be read or used."""
    if settings.web_config_file is None:
        return False
    from exporter.web.config import parse  # noqa: PLC0415 - with YAML, only where there is such a file

    try:
        with open(settings.web_config_file, "rb") as file:
            return parse(file.read(_MAX_WEB_CONFIG_BYTES), settings.web_config_file).tls_server_config is not None
    except (ConfigError, OSError):
        return False
