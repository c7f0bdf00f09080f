"""One event as one line of printable ASCII, logfmt or JSON, whatever foreign text it holds."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from pathlib import PurePath
from types import TracebackType
from typing import Final

from typing_extensions import override

Scalar = str | int | float | bool | None

LONGEST_VALUE: Final = 512
"""Characters of one value before escaping; the rest is cut."""
_FRAMES: Final = 8
_CAUSES: Final = 4
_LEVEL_NAMES: Final = {logging.DEBUG: "debug", logging.INFO: "info", logging.WARNING: "warn", logging.ERROR: "error"}
_BARE: Final = re.compile(r"[A-Za-z0-9_./:@%+,()*-]+")
_NOT_IN_KEY: Final = re.compile(r"[^A-Za-z0-9_]")


class EventFormatter(logging.Formatter):
    """Time, level, message, logger, the event's own fields, its exception, and how often it was left out."""

    def __init__(self, line: Callable[[Mapping[str, Scalar]], str]) -> None:
        super().__init__()
        self._line = line

    @override
    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, Scalar] = {
            "ts": _timestamp(record.created),
            "level": _LEVEL_NAMES.get(record.levelno, record.levelname.lower()),
            "msg": clipped(message_of(record)),
            "logger": clipped(record.name.removeprefix("exporter.")),
        }
        own = getattr(record, "fields", None)
        for name, value in own.items() if isinstance(own, Mapping) else ():
            key = _NOT_IN_KEY.sub("_", clipped(str(name)))
            event[f"{key}_" if key in event else key] = _scalar(value)
        if record.exc_info and record.exc_info[1] is not None:
            event |= _exception(record.exc_info[1])
        if suppressed := getattr(record, "suppressed", 0):
            event["suppressed"] = suppressed
        return self._line(event)


def logfmt_line(event: Mapping[str, Scalar]) -> str:
    """``key=value`` pairs; printable ASCII whatever the values hold."""
    return " ".join(f"{key}={_logfmt_value(value)}" for key, value in event.items())


def json_line(event: Mapping[str, Scalar]) -> str:
    """One JSON object; printable ASCII whatever the values hold."""
    return json.dumps(event, separators=(",", ":"))


def message_of(record: logging.LogRecord) -> str:
    """The event's message with its arguments put in."""
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - a wrong log call must not become the caller's failure
        return f"{record.msg} (arguments do not fit)"


def _exception(error: BaseException) -> dict[str, Scalar]:
    causes: list[str] = []
    inner = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    while inner is not None and len(causes) < _CAUSES:
        causes.append(_told(inner))
        inner = inner.__cause__ or (None if inner.__suppress_context__ else inner.__context__)
    event: dict[str, Scalar] = {"err": _told(error), "at": clipped(_location(error.__traceback__))}
    if causes:
        event["cause"] = clipped(" < ".join(causes))
    return event


def _told(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        inner = "; ".join(_told(leaf) for leaf in islice(_leaves(error), _CAUSES))
        return clipped(f"{type(error).__name__}: {inner}")
    # Only the first line: pydantic and the kubernetes client quote their input, a pod's spec or a body, below it.
    lines = _scalar(error)
    first = lines.split("\n", 1)[0] if isinstance(lines, str) else ""
    return clipped(f"{type(error).__name__}: {first}" if first else type(error).__name__)


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _location(traceback: TracebackType | None) -> str:
    """Innermost frame first: ``sampler/core.py:120 tick < app.py:33 run``."""
    frames = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        file = "/".join(PurePath(code.co_filename).parts[-2:])
        if not file.startswith("<frozen "):  # importlib's own
            frames.append(f"{file}:{traceback.tb_lineno} {code.co_name}")
        traceback = traceback.tb_next
    return " < ".join(frames[: -_FRAMES - 1 : -1])


def _scalar(value: object) -> Scalar:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, int) and -(2**63) < value < 2**64:
        return value
    try:
        return clipped(str(value))
    except Exception:  # noqa: BLE001 - a value that cannot be shown must not become the caller's failure
        return f"({type(value).__name__} that cannot be shown)"


def clipped(text: str) -> str:
    """At most :data:`LONGEST_VALUE` characters of a text, and a mark where some are missing."""
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."


def _logfmt_value(value: Scalar) -> str:
    if isinstance(value, str) and _BARE.fullmatch(value):
        return value
    return json.dumps(value)


def _timestamp(seconds: float) -> str:
    """RFC 3339, UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
