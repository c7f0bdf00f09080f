"""The root logger's handler, and how to set it up."""

from __future__ import annotations

import logging
import math
import os
import stat
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, TextIO

from typing_extensions import override

from exporter.logs.lines import EventFormatter, clipped, json_line, logfmt_line, message_of
from exporter.logs.outlet import Outlet
from exporter.logs.repeats import Key, Repeats

_LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}


def fields(**values: object) -> dict[str, Mapping[str, object]]:
    """The facts of one event, for ``extra=``."""
    return {"fields": values}


def configure(level: str, form: str, stream: TextIO, now: Callable[[], float] = time.monotonic) -> EventHandler:
    """Send this process's log to ``stream``, replacing what an earlier call set up.

    ``level`` (``debug``, ``info``, ``warn`` or ``error``) holds for this package. Other packages are heard from
    ``warn`` on at most: some print the API server's answers and tokens when they debug. ``form`` is ``logfmt`` or
    ``json``; ``now`` is monotonic, in seconds.
    """
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, EventHandler)]:
        root.removeHandler(handler)
        handler.close()
    events = EventHandler(_patient(stream), now)
    events.setFormatter(EventFormatter(json_line if form == "json" else logfmt_line))
    root.addHandler(events)
    root.setLevel(max(_LEVELS[level], logging.WARNING))
    logging.getLogger("exporter").setLevel(_LEVELS[level])
    logging.captureWarnings(capture=True)
    return events


def _patient(stream: TextIO) -> TextIO | Outlet:
    """The stream's descriptor behind an :class:`Outlet` where its reader may stand still; a file has none."""
    try:
        descriptor = stream.fileno()
        may_wait = not stat.S_ISREG(os.fstat(descriptor).st_mode)
        return Outlet(descriptor) if may_wait else stream
    except (AttributeError, OSError, ValueError):
        return stream
    except RuntimeError:  # no thread can be made; who samples and renders needs some, and says so
        return stream


class EventHandler(logging.StreamHandler[TextIO | Outlet]):
    """Writes events that are not repetitions; a log that cannot be written never stops the program."""

    def __init__(self, stream: TextIO | Outlet, now: Callable[[], float]) -> None:
        super().__init__(stream)
        self._now = now
        self._repeats = Repeats()
        self._failed = self._told = 0
        self._waiting = deque[logging.LogRecord]()
        self._is_busy = False

    @property
    def lost(self) -> int:
        """Lines that could not be written."""
        return self._failed + (self.stream.lost if isinstance(self.stream, Outlet) else 0)

    @override
    def emit(self, record: logging.LogRecord) -> None:
        # The lock keeps other threads out, and lets in a finalizer that logs while this one does.
        self._waiting.append(record)
        if not self._is_busy:
            self._is_busy = True
            try:
                self._emit_waiting()
            finally:
                self._is_busy = False

    def _emit_waiting(self) -> None:
        while self._waiting:
            self._emit(self._waiting.popleft())

    def _emit(self, record: logging.LogRecord) -> None:
        now = self._now()
        suppressed = self._repeats.admit(_key(record), clipped(message_of(record)), now)
        if suppressed is not None:
            record.suppressed = suppressed
            super().emit(record)
        self._summarise(now)
        if isinstance(self.stream, Outlet) and self.stream.lost > self._told and self.stream.is_taken:
            lost, self._told = self.stream.lost - self._told, self.stream.lost
            self._write("exporter.logs", logging.WARNING, "lines of this log were lost", lost)

    @override
    def close(self) -> None:
        self.acquire()
        self._is_busy = True
        try:
            self._summarise(math.inf)
            self._emit_waiting()
        finally:
            self._is_busy = False
            self.release()
            if isinstance(self.stream, Outlet):
                self.stream.close()
            super().close()

    @override
    def handleError(self, record: logging.LogRecord) -> None:
        self._failed += 1

    def _summarise(self, now: float) -> None:
        for (logger, level, _, _), message, suppressed in self._repeats.forget(now):
            self._write(logger, level, message, suppressed)

    def _write(self, logger: str, level: int, message: str, suppressed: int) -> None:
        record = logging.LogRecord(logger, level, "", 0, "%s", (message,), None)
        record.suppressed = suppressed
        super().emit(record)


def _key(record: logging.LogRecord) -> Key:
    error = record.exc_info[1] if record.exc_info else None
    return record.name, record.levelno, clipped(str(record.msg)), type(error).__name__
