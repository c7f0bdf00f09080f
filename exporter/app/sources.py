"""The pod sources, in the order the user gave."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence

from exporter.errors import ConfigError
from exporter.kube.apiserver import ApiServerSource, in_cluster_url
from exporter.kube.kubelet import KubeletSource
from exporter.kube.logdir import LogDirSource
from exporter.kube.source import FileSource, NoneSource, PodSource
from exporter.log import fields
from exporter.settings import Settings

logger = logging.getLogger(__name__)


def pod_sources(settings: Settings, environ: Mapping[str, str] = os.environ) -> Sequence[PodSource]:
    """One object for each source that can be asked here.

    A source that the user named and that cannot work is an error; one that is only in the default list is left out.
    """
    sources: list[PodSource] = []
    for name in settings.pods_sources:
        try:
            sources.append(_source(name, settings, environ))
        except ConfigError as error:
            if "pods_sources" in settings.given:
                raise
            logger.info("a pod source is left out", extra=fields(source=name, reason=str(error)))
    return sources or [NoneSource()]


def _source(name: str, settings: Settings, environ: Mapping[str, str]) -> PodSource:
    match name:
        case "kubelet":
            return KubeletSource(
                settings.kubelet_url,
                token_file=settings.kubelet_token_file,
                ca_file=settings.kubelet_ca_file,
                insecure_skip_verify=settings.kubelet_insecure_skip_verify,
                timeout_seconds=settings.kubelet_timeout,
            )
        case "apiserver":
            url = in_cluster_url(environ)
            if not settings.node_name:
                raise ConfigError("--node.name: must be set for the pod source apiserver")
            return ApiServerSource(
                url,
                node_name=settings.node_name,
                token_file=settings.apiserver_token_file,
                ca_file=settings.apiserver_ca_file,
            )
        case "logs":
            return LogDirSource(settings.path_logs)
        case _:
            return FileSource(name.removeprefix("file:"))
