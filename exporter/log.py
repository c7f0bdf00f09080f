"""Log lines in logfmt or JSON: one per event, printable ASCII, without repetitions, written by a thread of their own.

Modules log with the standard library, a constant message and their facts as fields::

    logger.warning("kubelet refused", extra=fields(status=403, path="/pods"))
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from logging.handlers import QueueHandler, QueueListener
from pathlib import PurePath
from queue import SimpleQueue
from threading import RLock
from traceback import walk_tb
from types import TracebackType
from typing import Any, Final, TextIO

from typing_extensions import override

from exporter.errors import leaves

Scalar = str | int | float | bool | None

MAX_VALUE_LENGTH: Final = 512
"""Characters of one value before escaping; the rest is cut."""
MAX_LINES: Final = 512
"""Lines that wait for the log's reader; more are dropped and counted."""
CLOSE_SECONDS: Final = 1.0
"""How long the end of the process waits for the log's reader."""
REPEAT_SECONDS: Final = 30.0
_MAX_EVENTS, _MAX_FRAMES, _MAX_CAUSES = 256, 8, 4
_LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
_LEVEL_NAMES: Final = {number: name for name, number in _LEVELS.items()}
_BARE: Final = re.compile(r"[A-Za-z0-9_./:@%+,()*-]+")


def fields(**values: object) -> dict[str, Mapping[str, object]]:
    """Return the facts of one event, for ``extra=``."""
    return {"fields": values}


def configure(level: str, form: str, stream: TextIO, now: Callable[[], float] = time.monotonic) -> logging.Handler:
    """Send this process's log to ``stream`` as ``logfmt`` or ``json``, and replace what an earlier call set up.

    ``level`` (``debug``, ``info``, ``warn`` or ``error``) holds for this package. Other packages log from ``warn`` on:
    some print the API server's answers and tokens when they debug.
    """
    root = logging.getLogger()
    for old in [one for one in root.handlers if isinstance(one.formatter, EventFormatter)]:
        root.removeHandler(old)
        old.close()
    try:
        handler: logging.Handler = LineQueue(stream.fileno())
    except (OSError, RuntimeError):  # no descriptor, or no thread can be made
        handler = logging.StreamHandler(stream)
    handler.setFormatter(EventFormatter(as_json=form == "json"))
    handler.addFilter(DuplicateFilter(now))
    root.addHandler(handler)
    root.setLevel(max(_LEVELS[level], logging.WARNING))
    logging.getLogger("exporter").setLevel(_LEVELS[level])
    logging.captureWarnings(capture=True)
    logging.raiseExceptions = False  # a log that cannot be written never stops the program
    return handler


class LineQueue(QueueHandler):
    """Hands finished lines to a thread that writes them to a descriptor; never waits for the descriptor's reader."""

    def __init__(self, descriptor: int, max_lines: int = MAX_LINES) -> None:
        """Raise ``RuntimeError`` where no thread can be made."""
        # A finalizer may log at any moment, also in the middle of put: queue.Queue would wait for its own lock then.
        self._lines: SimpleQueue[Any] = SimpleQueue()
        super().__init__(self._lines)
        self._max_lines = max_lines
        self._dropped = self._reported = 0
        self._writer = _Writer(self._lines, descriptor)
        self._writer.start()

    @property
    def lost(self) -> int:
        """Lines that were dropped or could not be written."""
        return self._dropped + self._writer.failed

    @override
    def prepare(self, record: logging.LogRecord) -> str:
        return f"{self.format(record)}\n"

    @override
    def enqueue(self, record: Any) -> None:
        if self._lines.qsize() >= self._max_lines:
            self._dropped += 1
            return
        self._lines.put(record)
        if self.lost > self._reported and self._lines.qsize() < self._max_lines // 2:
            lost, self._reported = self.lost - self._reported, self.lost
            about = logging.LogRecord("exporter.log", logging.WARNING, "", 0, "log lines were lost", (), None)
            vars(about).update(fields(lost=lost))
            self._lines.put(self.prepare(about))

    @override
    def close(self) -> None:
        self._writer.stop()
        super().close()


class _Writer(QueueListener):
    """Writes past the interpreter's own stream, whose lock a thread that hangs would keep at the end of the process."""

    def __init__(self, lines: SimpleQueue[Any], descriptor: int) -> None:
        super().__init__(lines)
        self._descriptor = descriptor
        self.failed = 0

    @override
    def handle(self, record: Any) -> None:
        view = memoryview(record.encode("ascii", "backslashreplace"))
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError:
            self.failed += 1

    @override
    def stop(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            self.enqueue_sentinel()
            thread.join(CLOSE_SECONDS)


class DuplicateFilter(logging.Filter):
    """Lets the same event pass once in 30 s, with the number of those left out before it as ``suppressed``.

    Events are the same when logger, level, message template and class of exception are, whatever their fields.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__()
        self._now, self._lock = now, RLock()
        self._seen: OrderedDict[tuple[str, int, str, str], list[float]] = OrderedDict()

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        key = record.name, record.levelno, _clipped(str(record.msg)), type(error).__name__
        with self._lock:
            now = self._now()
            seen = self._seen.get(key)
            if seen is not None and now - seen[0] < REPEAT_SECONDS:
                seen[1] += 1
                return False
            self._seen[key] = [now, 0]
            self._seen.move_to_end(key)
            if len(self._seen) > _MAX_EVENTS:
                self._seen.popitem(last=False)
        record.suppressed = int(seen[1]) if seen else 0
        return True


class EventFormatter(logging.Formatter):
    """Writes time, level, message, logger, the event's own fields, its exception, and how many were suppressed."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    @override
    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        event: dict[str, Scalar] = {
            "ts": when.replace("+00:00", "Z"),
            "level": _LEVEL_NAMES.get(record.levelno, record.levelname.lower()),
            "msg": _message(record),
            "logger": _clipped(record.name.removeprefix("exporter.")),
        }
        own = getattr(record, "fields", None)
        for name, value in own.items() if isinstance(own, Mapping) else ():
            key = re.sub(r"[^A-Za-z0-9_]", "_", _clipped(str(name)))
            event[f"{key}_" if key in event else key] = _scalar(value)
        if record.exc_info and record.exc_info[1] is not None:
            event |= _exception(record.exc_info[1])
        if suppressed := getattr(record, "suppressed", 0):
            event["suppressed"] = suppressed
        if self._as_json:
            return json.dumps(event, separators=(",", ":"))
        return " ".join(f"{key}={_logfmt_value(value)}" for key, value in event.items())


def _message(record: logging.LogRecord) -> str:
    try:
        return _clipped(record.getMessage())
    except Exception:  # noqa: BLE001 - a wrong log call must not become the caller's failure
        return _clipped(f"{record.msg} (arguments do not fit)")


def _exception(error: BaseException) -> dict[str, Scalar]:
    event: dict[str, Scalar] = {"err": _summary(error), "at": _clipped(_location(error.__traceback__))}
    if causes := [_summary(cause) for cause in islice(_causes(error), _MAX_CAUSES)]:
        event["cause"] = _clipped(" < ".join(causes))
    return event


def _causes(error: BaseException) -> Iterator[BaseException]:
    inner = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if inner is not None:
        yield inner
        yield from _causes(inner)


def _summary(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        inner = "; ".join(_summary(leaf) for leaf in islice(leaves(error), _MAX_CAUSES))
        return _clipped(f"{type(error).__name__}: {inner}")
    # Only the first line: pydantic and the kubernetes client quote their input, a pod's spec or a body, below it.
    first = str(_scalar(error)).split("\n", 1)[0]
    return _clipped(f"{type(error).__name__}: {first}" if first else type(error).__name__)


def _location(traceback: TracebackType | None) -> str:
    """Innermost frame first: ``sampler/core.py:120 tick < app.py:33 run``."""
    frames = [(f.f_code, line) for f, line in walk_tb(traceback) if not f.f_code.co_filename.startswith("<frozen ")]
    shown = frames[: -_MAX_FRAMES - 1 : -1]
    return " < ".join(f"{'/'.join(PurePath(x.co_filename).parts[-2:])}:{line} {x.co_name}" for x, line in shown)


def _scalar(value: object) -> Scalar:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, int) and -(2**63) < value < 2**64:
        return value
    try:
        return _clipped(str(value))
    except Exception:  # noqa: BLE001 - a value that cannot be shown must not become the caller's failure
        return f"({type(value).__name__} that cannot be shown)"


def _clipped(text: str) -> str:
    return text if len(text) <= MAX_VALUE_LENGTH else f"{text[:MAX_VALUE_LENGTH]}..."


def _logfmt_value(value: Scalar) -> str:
    return value if isinstance(value, str) and _BARE.fullmatch(value) else json.dumps(value)
