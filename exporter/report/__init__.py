"""What a snapshot and its findings say, as documents that become JSON, the status page and the terminal's text."""

from __future__ import annotations

from exporter.analysis.findings import Finding, Name
from exporter.report.documents import DOCS, Report, escaped_path, unescaped_segments
from exporter.report.impact import impact
from exporter.report.schema import (
    SCHEMA,
    Container,
    ContainerDocument,
    ContainersDocument,
    Cpu,
    Error,
    Exporter,
    Ledger,
    Node,
    NodeDocument,
    RecommendedLimit,
    Series,
    Source,
)

__all__ = [
    "DOCS",
    "SCHEMA",
    "Container",
    "ContainerDocument",
    "ContainersDocument",
    "Cpu",
    "Error",
    "Exporter",
    "Finding",
    "Ledger",
    "Name",
    "Node",
    "NodeDocument",
    "RecommendedLimit",
    "Report",
    "Series",
    "Source",
    "escaped_path",
    "impact",
    "unescaped_segments",
]
