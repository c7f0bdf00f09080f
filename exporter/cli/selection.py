"""From what a user typed to the containers that are meant. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Final

from exporter.errors import ConfigError, quoted
from exporter.report.schema import Container
from exporter.report.summary import full_name

MAX_LISTED: Final = 4
_PARTS: Final = 3


def select(containers: Sequence[Container], text: str) -> list[Container]:
    """Return the containers of ``NAMESPACE/POD[/CONTAINER]``, or of ``POD`` where one namespace has it, in order.

    Raises ``ConfigError``, one line with near matches, when there are none or more than one pod.
    """
    parts = text.split("/")
    if len(parts) > _PARTS or not all(parts[-2:]):
        raise ConfigError(f"must be NAMESPACE/POD, NAMESPACE/POD/CONTAINER or POD, not {quoted(text)}")
    if len(parts) == 1:
        found = [one for one in containers if one["pod"] == text]
        pods = sorted({_pod(one) for one in found})
        if len(pods) > 1:
            raise ConfigError(f"{quoted(text)[1:-1]} is in {len(pods)} namespaces: {_listing(pods)}")
    else:
        found = [one for one in containers if _is(one, parts)]
    if not found:
        near = _near(containers, text)
        hint = f"; near it: {_listing(near)}" if near else ""
        raise ConfigError(f"no container of this node is {quoted(text)[1:-1]}{hint}")
    return found


def _is(container: Container, parts: Sequence[str]) -> bool:
    name = (container["namespace"], container["pod"], container["container"])
    return name[: len(parts)] == tuple(parts)


def _pod(container: Container) -> str:
    return "/".join(filter(None, (container["namespace"], container["pod"])))


def _near(containers: Iterable[Container], text: str) -> list[str]:
    """Names that resemble ``text``: those that hold it, those that begin like it, those that hold its last part."""
    text = text[:200].lower()
    show = full_name if text.count("/") == _PARTS - 1 else _pod
    names = sorted({show(one) for one in containers})
    holding = [name for name in names if text in name.lower()]
    # A pod's random suffix would outweigh everything else, so as much of a name is compared as was typed.
    begins = {(name if "/" in text else name.rpartition("/")[2])[: len(text)].lower(): name for name in names}
    alike = [begins[match] for match in get_close_matches(text, begins, n=MAX_LISTED, cutoff=0.7)]
    last = text.rpartition("/")[2]
    return list(dict.fromkeys([*holding, *alike, *(name for name in names if last in name.lower())]))[:MAX_LISTED]


def _listing(names: Sequence[str]) -> str:
    shown = ", ".join(quoted(name)[1:-1] for name in names[:MAX_LISTED])
    return f"{shown}, ..." if len(names) > MAX_LISTED else shown
