"""What a snapshot and its findings say, as documents that become JSON, the status page and the terminal's text.

Pure: the same snapshot gives the same documents. Their schema is :mod:`exporter.report.schema`.
"""

from __future__ import annotations

from exporter.report.health import ErrorCount, Health, SourceHealth
from exporter.report.names import DOCS, escaped_path, unescaped_segments
from exporter.report.pain import pain
from exporter.report.report import Report
from exporter.report.schema import (
    SCHEMA,
    Container,
    ContainerDocument,
    ContainersDocument,
    Cpu,
    Exporter,
    Finding,
    Name,
    Node,
    NodeDocument,
    Series,
)

__all__ = [
    "DOCS",
    "SCHEMA",
    "Container",
    "ContainerDocument",
    "ContainersDocument",
    "Cpu",
    "ErrorCount",
    "Exporter",
    "Finding",
    "Health",
    "Name",
    "Node",
    "NodeDocument",
    "Report",
    "Series",
    "SourceHealth",
    "escaped_path",
    "pain",
    "unescaped_segments",
]
