"""Log lines: one per event, logfmt or JSON, nothing foreign unescaped, repeated events summarised.

Modules log with the standard library, a constant message and their facts as fields::

    log.warning("kubelet refused", extra=fields(status=403, path="/pods"))

Two events are the same when logger, level, message template and class of exception are, whatever their fields. The
same event is written at most once in 30 s; how often it was left out is told as ``suppressed=N`` by the next one
written, or by a line of its own when none follows.
"""

from __future__ import annotations

from exporter.logs.handler import EventHandler, configure, fields

__all__ = ["EventHandler", "configure", "fields"]
