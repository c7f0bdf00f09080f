"""The commands: one row each. A command's module is imported only when it is chosen.

It has ``add_arguments(parser)``, for options beside those of ``Settings``, and ``run(settings, args)``, which returns
the exit code and raises ``ExporterError`` for what the user can mend.
"""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Final, Literal

from exporter.errors import quoted
from exporter.values import NotQuotedError


@dataclass(frozen=True)
class Command:
    """One row."""

    name: str
    help: str
    log_level: Literal["info", "warn"] = "warn"
    """Unless the user says otherwise: a terminal belongs to the command's own output."""

    def load(self) -> ModuleType:
        """Import the module of the same name in this package."""
        return import_module(f"{__name__}.{self.name}")


DEFAULT: Final = "serve"
COMMANDS: Final = (
    Command("serve", "serve the metrics of this node's containers (the default)", log_level="info"),
    Command("once", "write one page of metrics to standard output or a file"),
    Command("explain", "say why a container is slow, with numbers and advice"),
    Command("top", "show the containers of this node in a live table, worst first"),
    Command("stress", "cause throttling on purpose and compare it with what is expected"),
    Command("demo", "run a whole node in one process and serve its metrics", log_level="info"),
)


def argument(parse: Callable[[str], object]) -> Callable[[str], object]:
    """Return one of the parsers of :mod:`exporter.values` as an argument's ``type``, with whole error messages."""

    def checked(text: str) -> object:
        try:
            return parse(text)
        except ValueError as error:
            shown = "" if isinstance(error, NotQuotedError) else f", not {quoted(text)}"
            raise ArgumentTypeError(f"{error}{shown}") from error

    return checked
