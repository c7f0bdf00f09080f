"""Which page is asked for, and where the others are. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from exporter.model import CgroupName

REFRESH_SECONDS: Final = 10
"""What the link on the page offers."""
_LEAST, _MOST = 1, 3600


@dataclass(frozen=True, slots=True)
class Places:
    """Paths of what the page links to."""

    home: str
    metrics: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """One page, as its URL asks for it."""

    name: CgroupName | None = None
    """``None`` for the node's page."""
    everything: bool = False
    """``?all``: every container in full."""
    refresh: int | None = None
    """``?refresh=10``: seconds after which the browser asks again."""

    @classmethod
    def of(cls, name: CgroupName | None, query: Mapping[str, str]) -> Wanted:
        """From a query; what it cannot mean is left out."""
        return cls(name, everything="all" in query and name is None, refresh=_refresh(query.get("refresh", "")))

    @property
    def refreshing(self) -> str:
        """The query of the same page that asks again by itself."""
        return _query(everything=self.everything, refresh=REFRESH_SECONDS)

    @property
    def resting(self) -> str:
        """The query of the same page that does not."""
        return _query(everything=self.everything, refresh=None)

    @property
    def whole(self) -> str:
        """The query of the node's page with every container in full."""
        return _query(everything=True, refresh=self.refresh)

    @property
    def part(self) -> str:
        """The query of the node's page as it is unless more is asked for."""
        return _query(everything=False, refresh=self.refresh)

    @property
    def onward(self) -> str:
        """What links to other pages keep of the query."""
        return self.part if self.refresh else ""


def _refresh(text: str) -> int | None:
    seconds = int(text) if text.isascii() and text.isdigit() and len(text) <= 4 else 0
    return seconds if _LEAST <= seconds <= _MOST else None


def _query(*, everything: bool, refresh: int | None) -> str:
    parts = ["all"] * everything + ([f"refresh={refresh}"] if refresh else [])
    return "?" + "&".join(parts)
