"""Text on a terminal: foreign names made harmless, colours only where they are seen, lines that fit."""

from __future__ import annotations

import os
import shutil
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TextIO, TypeVar, cast

NARROWEST: Final = 40
WIDEST_PROSE: Final = 110
"""Beyond, a line of prose is hard to follow."""
PLAIN_WIDTH: Final = 80
_CODES: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
SEVERITY_STYLE: Final = {"critical": "red", "warning": "yellow", "info": "cyan"}

Document = TypeVar("Document")


def harmless(text: str) -> str:
    """Without anything that a terminal would obey: control characters and the like become their escapes."""
    return text if text.isprintable() else "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def made_harmless(document: Document) -> Document:
    """A copy of a JSON document in which every text is :func:`harmless`, keys included."""
    return cast("Document", _harmless(document))


def _harmless(value: object) -> object:
    if isinstance(value, str):
        return harmless(value)
    if isinstance(value, dict):
        return {harmless(key): _harmless(one) for key, one in value.items()}
    return [_harmless(one) for one in value] if isinstance(value, list) else value


@dataclass(frozen=True, slots=True)
class Look:
    """How wide the output is, and whether it has colours and more than ASCII."""

    width: int = PLAIN_WIDTH
    colours: bool = False
    symbols: bool = True
    """Whether block characters can be written."""

    @classmethod
    def of(cls, stream: TextIO, environ: Mapping[str, str] = os.environ) -> Look:
        """Of an output: colours on a terminal only, and not where NO_COLOR or a dumb terminal forbids them."""
        terminal = stream.isatty()
        width = shutil.get_terminal_size((PLAIN_WIDTH, 24)).columns if terminal else PLAIN_WIDTH
        colours = terminal and not environ.get("NO_COLOR") and environ.get("TERM", "dumb") != "dumb"
        symbols = (stream.encoding or "ascii").lower().replace("-", "") == "utf8"
        return cls(max(NARROWEST, width), colours=colours, symbols=symbols)

    @property
    def prose(self) -> int:
        """Width of a paragraph."""
        return min(self.width, WIDEST_PROSE)

    def paint(self, text: str, *styles: str) -> str:
        """``text`` in these styles, where they are seen."""
        codes = ";".join(_CODES[style] for style in styles if style)
        return f"\x1b[{codes}m{text}\x1b[0m" if self.colours and codes and text else text

    def wrap(self, text: str, label: str = "", indent: int = 0) -> list[str]:
        """A paragraph, indented; its further lines are below its first one's text, which stands behind ``label``."""
        before = " " * indent + label
        lines = textwrap.wrap(
            text, self.prose, initial_indent=before, subsequent_indent=" " * len(before), break_on_hyphens=False
        )
        return lines or [before.rstrip()]


def shortened(text: str, width: int) -> str:
    """At most ``width`` characters: the middle goes, since a name's ends say most."""
    if len(text) <= width:
        return text
    if width <= 1:
        return text[:width]
    head = (width - 1) // 2
    return f"{text[:head]}~{text[len(text) - (width - 1 - head) :]}"
