"""What a snapshot and its findings say, as documents that become JSON, the status page and the terminal's text.

Here is what routes need before anybody asks for a document.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from exporter.model import CgroupName

SCHEMA: Final = "v1"
EMPTY: Final = "-"
"""Stands in paths for the namespace of an unknown pod and the container of a whole pod: no name is a lone dash."""


def escaped_path(namespace: str, pod: str, container: str) -> str:
    """``shop/checkout-x2k9p/app``, fit for a URL; what :func:`unescaped_segments` undoes after the URL's decoding."""
    return "/".join(quote(part, safe="") for part in (namespace or EMPTY, pod, container or EMPTY))


def unescaped_segments(namespace: str, pod: str, container: str) -> CgroupName:
    """The name behind a path's three decoded segments."""
    return CgroupName("" if namespace == EMPTY else namespace, pod, "" if container == EMPTY else container)
