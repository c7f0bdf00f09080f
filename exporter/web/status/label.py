"""Under what a container is shown, and the page that is about it."""

from __future__ import annotations

from typing import Final, NamedTuple

from exporter.report import Container, Name, escaped_path

PREFIX: Final = "/container/"


class Label(NamedTuple):
    """A container's name in its parts."""

    namespace: str
    pod: str
    container: str
    link: str
    """Its page; empty for a name that no URL can say."""

    @property
    def full(self) -> str:
        """``namespace/pod/container``; what is not known is left out."""
        return "/".join(part for part in self[:3] if part)


def label(one: Container | Name) -> Label:
    """Of a container, or of a name that a finding or a CPU refers to."""
    name = one["namespace"], one["pod"], one["container"]
    try:
        return Label(*name, PREFIX + escaped_path(*name))
    except UnicodeEncodeError:  # half a surrogate pair, from JSON or a file's name
        return Label(*name, "")
