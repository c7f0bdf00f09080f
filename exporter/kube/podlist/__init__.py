"""Bytes of a v1 PodList -> :class:`exporter.model.PodList`. Pure; the only place of ``kube`` that knows pydantic."""

from exporter.kube.podlist.identity import ALERT_ANNOTATION, THRESHOLD_ANNOTATION
from exporter.kube.podlist.parse import parse_pod_list, read_list
from exporter.kube.podlist.store import PodStore

__all__ = ["ALERT_ANNOTATION", "THRESHOLD_ANNOTATION", "PodStore", "parse_pod_list", "read_list"]
