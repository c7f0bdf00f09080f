"""From one snapshot, what was found in it and the exporter's health to the documents of the API."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from math import isfinite

from exporter.analysis.findings import Finding
from exporter.model import CgroupName, CgroupRow, Snapshot
from exporter.report import schema
from exporter.report.containers import container_document
from exporter.report.health import Health
from exporter.report.node import name_document, node_document
from exporter.report.numbers import rounded
from exporter.report.pain import pain, rank


class Report:
    """All documents of one moment, each made when first asked for."""

    def __init__(self, snapshot: Snapshot, findings: Sequence[Finding], health: Health) -> None:
        """``snapshot`` is a detailed one."""
        self.snapshot, self.health = snapshot, health
        self._findings: dict[CgroupName | None, list[schema.Finding]] = {}
        for finding in sorted(findings, key=lambda finding: rank(finding.severity)):
            self._findings.setdefault(finding.subject, []).append(finding_document(finding))

    def containers(self, *, with_series: bool = True) -> schema.ContainersDocument:
        """Every container, what hurts most first; without their series where only numbers are wanted."""
        found = [self._container(row, with_series=with_series) for row in self.snapshot.containers]
        return schema.ContainersDocument(
            schema=schema.SCHEMA,
            taken_at=self._taken_at,
            containers=sorted(found, key=pain),
            node_findings=self._found(None),
            exporter=self.exporter,
        )

    def container(self, name: CgroupName) -> schema.ContainerDocument | None:
        """One container; ``None`` where no such is on the node."""
        row = next((row for row in self.snapshot.containers if row[:3] == name), None)
        if row is None:
            return None
        return schema.ContainerDocument(
            schema=schema.SCHEMA,
            taken_at=self._taken_at,
            container=self._container(row, with_series=True),
            node_findings=self._found(None),
            exporter=self.exporter,
        )

    def node(self) -> schema.NodeDocument:
        """The node."""
        return schema.NodeDocument(
            schema=schema.SCHEMA,
            taken_at=self._taken_at,
            node=node_document(self.snapshot.node, self.health.node_name, self._found(None)),
            exporter=self.exporter,
        )

    @cached_property
    def exporter(self) -> schema.Exporter:
        """The exporter's own health."""
        return self.health.document(dict(self.snapshot.cgroups))

    @cached_property
    def _pods(self) -> dict[str, CgroupRow]:
        return {row.ref.pod_path: row for row in self.snapshot.pods}

    @property
    def _taken_at(self) -> float:
        return rounded(self.snapshot.taken_at)

    def _found(self, subject: CgroupName | None) -> list[schema.Finding]:
        return self._findings.get(subject, [])

    def _container(self, row: CgroupRow, *, with_series: bool) -> schema.Container:
        name = CgroupName(row.namespace, row.pod, row.container or "")
        pod_row = self._pods.get(row.ref.pod_path)
        return container_document(row, pod_row, self._found(name), with_series=with_series)


def finding_document(finding: Finding) -> schema.Finding:
    """One finding."""
    return schema.Finding(
        name=finding.name,
        severity=finding.severity,
        subject=None if finding.subject is None else name_document(finding.subject),
        summary=finding.summary,
        advice=finding.advice,
        reason=finding.reason,
        evidence={key: value for key, value in finding.evidence.items() if isinstance(value, str) or isfinite(value)},
        docs=f"docs/findings/{finding.name}.md",
    )
