"""Log lines in logfmt or JSON: one per event, printable ASCII, no repetitions, written by their own thread."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener
from pathlib import PurePath
from queue import SimpleQueue
from threading import RLock
from traceback import walk_tb
from typing import Any, Final, TextIO

from typing_extensions import override

from exporter.errors import leaves

MAX_VALUE_LENGTH: Final = 512  # characters before escaping; the rest is cut
MAX_LINES: Final = 512  # that wait for the log's reader; more are dropped and counted
CLOSE_SECONDS: Final = 1.0  # that the end of the process waits for the log's reader
REPEAT_SECONDS: Final = 30.0
_MAX_EVENTS: Final = 256
_LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
_BARE: Final = re.compile(r"[A-Za-z0-9_./:@%+,()*-]+")


def fields(**values: object) -> dict[str, Mapping[str, object]]:
    """Return the facts of one event: ``logger.warning("refused", extra=fields(status=403))``, the message constant."""
    return {"fields": values}


def configure(level: str, form: str, stream: TextIO) -> logging.Handler:
    """Send this process's log to ``stream``, in place of what an earlier call set up; ``level`` is this package's."""
    root = logging.getLogger()
    for old in [one for one in root.handlers if isinstance(one.formatter, EventFormatter)]:
        root.removeHandler(old)
        old.close()
    try:
        handler: logging.Handler = LineQueue(stream.fileno())
    except (OSError, RuntimeError):  # no descriptor, or no thread can be made
        handler = logging.StreamHandler(stream)
    handler.setFormatter(EventFormatter(as_json=form == "json"))
    handler.addFilter(DuplicateFilter(time.monotonic))
    root.addHandler(handler)
    root.setLevel(max(_LEVELS[level], logging.WARNING))  # some packages print tokens when they debug
    logging.getLogger("exporter").setLevel(_LEVELS[level])
    logging.captureWarnings(capture=True)
    logging.raiseExceptions = False  # a log that cannot be written never stops the program
    return handler


class LineQueue(QueueHandler):
    """Hands finished lines to a thread that writes them to a descriptor; never waits for the descriptor's reader."""

    def __init__(self, descriptor: int, max_lines: int = MAX_LINES) -> None:
        # A finalizer may log at any moment, also in the middle of put: queue.Queue would wait for its own lock then.
        self._lines: SimpleQueue[Any] = SimpleQueue()
        super().__init__(self._lines)
        self._max_lines = max_lines
        self.lost = 0  # lines since the last one that said so
        self._writer = _Writer(self._lines, descriptor)
        self._writer.start()

    @override
    def prepare(self, record: logging.LogRecord) -> str:
        return f"{self.format(record)}\n"

    @override
    def emit(self, record: logging.LogRecord) -> None:
        if self._lines.qsize() >= self._max_lines:
            self.lost += 1
            return
        record.lost, self.lost = self.lost, 0
        super().emit(record)

    @override
    def close(self) -> None:
        self._writer.stop()
        super().close()


class _Writer(QueueListener):
    """Writes past the interpreter's own stream, whose lock a thread that hangs would keep at the end of the process."""

    def __init__(self, lines: SimpleQueue[Any], descriptor: int) -> None:
        super().__init__(lines)
        self._descriptor = descriptor

    @override
    def handle(self, record: Any) -> None:
        view = memoryview(record.encode("ascii", "backslashreplace"))
        with suppress(OSError):  # nobody reads any more
            while view:
                view = view[os.write(self._descriptor, view) :]

    @override
    def stop(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            self.enqueue_sentinel()
            thread.join(CLOSE_SECONDS)


class DuplicateFilter(logging.Filter):
    """Lets the same event, whatever its fields, pass once in 30 s; ``suppressed`` counts those left out before it."""

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__()
        self._now, self._lock = now, RLock()
        # When each event passed last, oldest first, and how often it was left out since.
        self._passed: OrderedDict[tuple[object, ...], tuple[float, int]] = OrderedDict()

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        key = record.name, record.levelno, _clipped(str(record.msg)), record.exc_info and record.exc_info[0]
        with self._lock:
            now = self._now()
            last, suppressed = self._passed.get(key, (-math.inf, 0))
            if now - last < REPEAT_SECONDS:
                self._passed[key] = last, suppressed + 1
                return False
            self._passed[key] = now, 0
            self._passed.move_to_end(key)
            if len(self._passed) > _MAX_EVENTS:
                self._passed.popitem(last=False)
        record.suppressed = suppressed
        return True


class EventFormatter(logging.Formatter):
    """Writes time, level, message, logger, the event's own fields, its exception, and how many were left out before."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    @override
    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        facts: dict[str, object] = {
            "ts": when.replace("+00:00", "Z"),
            "level": "warn" if record.levelno == logging.WARNING else record.levelname.lower(),
            "msg": record.getMessage(),
            "logger": record.name.removeprefix("exporter."),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            facts |= _exception(record.exc_info[1])
        facts |= {name: number for name in ("suppressed", "lost") if (number := getattr(record, name, 0))}
        event = {key: _scalar(value) for key, value in facts.items()}
        if self._as_json:
            return json.dumps(event, separators=(",", ":"))
        return " ".join(f"{key}={_logfmt_value(value)}" for key, value in event.items())


def _exception(error: BaseException) -> dict[str, object]:
    """Return type and first line, and the frames, innermost first: ``sampler/sampler.py:120 tick < app.py:33 run``."""
    frames = [
        f"{'/'.join(PurePath(frame.f_code.co_filename).parts[-2:])}:{line} {frame.f_code.co_name}"
        for frame, line in walk_tb(error.__traceback__)
    ]
    facts: dict[str, object] = {"err": _summary(error), "at": " < ".join(reversed(frames))}
    causes = []
    while inner := error.__cause__ or (None if error.__suppress_context__ else error.__context__):
        causes.append(_summary(inner))
        error = inner
    return facts | ({"cause": " < ".join(causes)} if causes else {})


def _summary(error: BaseException) -> str:
    # Only the first line: pydantic and the kubernetes client quote their input, a pod's spec or a body, below it.
    is_group = isinstance(error, BaseExceptionGroup)
    text = "; ".join(map(_summary, leaves(error))) if is_group else str(error).partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _scalar(value: object) -> str | float | None:
    if value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return _clipped(str(value))


def _clipped(text: str) -> str:
    return text if len(text) <= MAX_VALUE_LENGTH else f"{text[:MAX_VALUE_LENGTH]}..."


def _logfmt_value(value: str | float | None) -> str:
    return value if isinstance(value, str) and _BARE.fullmatch(value) else json.dumps(value)
