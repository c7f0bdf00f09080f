"""Every option of the exporter and where its value comes from; ``Settings`` is the only thing most callers need."""

from __future__ import annotations

from exporter.settings.model import Settings
from exporter.settings.sources import CLIENT_VARIABLES, load, suggestion
from exporter.settings.table import OPTIONS, Row
from exporter.settings.values import ListenAddress, format_duration, parse_duration

__all__ = [
    "CLIENT_VARIABLES",
    "OPTIONS",
    "ListenAddress",
    "Row",
    "Settings",
    "format_duration",
    "load",
    "parse_duration",
    "suggestion",
]
