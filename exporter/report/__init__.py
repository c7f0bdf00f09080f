"""Documents of a snapshot and its findings; here, what routes need before anybody asks for one."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from exporter.model import CgroupName

SCHEMA: Final = "v1"
EMPTY: Final = "-"  # in paths: an unknown pod's namespace, a whole pod's container; no name is a lone dash


def escaped_path(namespace: str, pod: str, container: str) -> str:
    """``shop/checkout-x2k9p/app``, fit for a URL; what :func:`unescaped_segments` undoes after the URL's decoding."""
    return "/".join(quote(part, safe="") for part in (namespace or EMPTY, pod, container or EMPTY))


def unescaped_segments(namespace: str, pod: str, container: str) -> CgroupName:
    """The name behind a path's three decoded segments."""
    return CgroupName("" if namespace == EMPTY else namespace, pod, "" if container == EMPTY else container)
