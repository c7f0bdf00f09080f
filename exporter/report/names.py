"""A container's name as the path of a URL, and back; where the pages about findings are."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from exporter.model import CgroupName

DOCS: Final = "https://github.com/kube-throttle-exporter/kube-throttle-exporter/blob/main/"
"""Where the repository's pages are, for people who have no checkout; the alerts' runbooks are beside them."""
NO_NAMESPACE: Final = "-"
"""Stands for the empty namespace of a container whose pod is not known: no Kubernetes name is a lone dash."""


def escaped_path(namespace: str, pod: str, container: str) -> str:
    """``shop/checkout-x2k9p/app``, fit for a URL; what :func:`unescaped_segments` undoes after the URL's decoding."""
    return "/".join(quote(part, safe="") for part in (namespace or NO_NAMESPACE, pod, container))


def unescaped_segments(namespace: str, pod: str, container: str) -> CgroupName:
    """The name behind a path's three decoded segments."""
    return CgroupName("" if namespace == NO_NAMESPACE else namespace, pod, container)
