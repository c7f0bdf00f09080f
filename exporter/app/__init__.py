"""The composition root: the only reader of ``Settings``, the only place that names concrete classes."""

from exporter.app.exporter import Exporter
from exporter.app.server import run

__all__ = ["Exporter", "run"]
