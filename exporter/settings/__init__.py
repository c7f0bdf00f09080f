"""Every option of the exporter and where its value comes from; ``Settings`` is the only thing most callers need."""

from __future__ import annotations

from exporter.settings.model import OPTIONS, Row, Settings
from exporter.settings.sources import load, suggestion
from exporter.settings.values import ListenAddress, format_duration, parse_duration

__all__ = ["OPTIONS", "ListenAddress", "Row", "Settings", "format_duration", "load", "parse_duration", "suggestion"]
