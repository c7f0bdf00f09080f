"""A terminal that is taken over and given back: the alternate screen, or lines that scroll where there is none."""

from __future__ import annotations

import os
import sys
import termios
import tty
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

from rich.console import Console, ConsoleDimensions
from rich.live import Live
from rich.text import Text

from exporter.cli.terminal.table import Line, plain

FALLBACK: Final = os.terminal_size((80, 24))


class Screen(Protocol):
    """Where lines are drawn."""

    def enter(self) -> None:
        """Take the terminal over."""

    def leave(self) -> None:
        """Give it back as it was, whatever happened; may be called twice."""

    def size(self) -> os.terminal_size:
        """Columns and lines, as of now."""

    def draw(self, lines: Sequence[Line], *, news: bool) -> None:
        """Show the lines; ``news`` when the numbers are new, and not only the view of them."""


def screen_for(environ: Mapping[str, str] = os.environ) -> Screen:
    """Of standard output: what its terminal can do."""
    return Scroll() if environ.get("TERM", "dumb") in {"", "dumb", "unknown"} else FullScreen()


class Keyboard:
    """Standard input, one key at a time and not shown; without a terminal there are no keys."""

    def __init__(self) -> None:
        self.descriptor = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
        self._before: list[Any] | None = None

    def enter(self) -> None:
        """Keys come at once; Ctrl-C and Ctrl-Z stay signals."""
        if self.descriptor is not None and self._before is None:
            self._before = termios.tcgetattr(self.descriptor)
            tty.setcbreak(self.descriptor, termios.TCSANOW)

    def leave(self) -> None:
        """As it was."""
        if self.descriptor is not None and self._before is not None:
            with suppress(termios.error):  # the terminal may be gone
                termios.tcsetattr(self.descriptor, termios.TCSANOW, self._before)
            self._before = None


class FullScreen:
    """The alternate screen, redrawn in place."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, markup=False, emoji=False, soft_wrap=False)
        self._live: Live | None = None

    def enter(self) -> None:
        """Switch to the alternate screen."""
        self._live = Live(
            console=self._console,
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )
        self._live.start()

    def leave(self) -> None:
        """Switch back; the cursor is shown again."""
        if self._live is not None:
            live, self._live = self._live, None
            with suppress(OSError):  # the terminal may be gone
                live.stop()

    def size(self) -> os.terminal_size:
        """Asked of the terminal each time: COLUMNS and LINES of the environment never change."""
        return _size()

    def draw(self, lines: Sequence[Line], *, news: bool) -> None:
        """All of it."""
        del news
        if self._live is not None:
            self._console.size = ConsoleDimensions(*self.size())
            text = Text(no_wrap=True, overflow="crop", end="")
            for number, line in enumerate(lines):
                text.append("\n" * (number > 0))
                for cell in line:
                    text.append(cell.text, cell.style or None)
            self._live.update(text, refresh=True)


class Scroll:
    """For terminals that cannot redraw: new numbers are printed below the old ones."""

    def enter(self) -> None:
        """Nothing is taken over."""

    def leave(self) -> None:
        """So nothing is given back."""

    def size(self) -> os.terminal_size:
        """Of the terminal, if it says."""
        return _size()

    def draw(self, lines: Sequence[Line], *, news: bool) -> None:
        """Only what is new, without the blank lines that fill a screen."""
        if news:
            print("\n".join(text for line in lines if (text := plain(line))), end="\n\n", flush=True)


def _size() -> os.terminal_size:
    with suppress(OSError, ValueError):
        found = os.get_terminal_size(sys.stdout.fileno())
        if found.columns > 0 and found.lines > 0:  # a serial line says 0
            return found
    return FALLBACK
