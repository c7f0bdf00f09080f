"""Options on the command line: an ``argparse`` parser built from the table, and its help."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, NoReturn

from typing_extensions import override

from exporter.errors import ConfigError, quoted
from exporter.settings.sources import suggestion
from exporter.settings.table import OPTIONS, Row
from exporter.settings.values import parse_switch

WIDTH: Final = 80
_SWITCHES: Final = {row.flag: row for row in OPTIONS if row.is_switch}
_SWITCH_WITH_VALUE: Final = re.compile(r"--(no-)?([^=]+)=(.*)", re.DOTALL)


class Parser(argparse.ArgumentParser):
    """An ``ArgumentParser`` that never exits: a mistake becomes a ``ConfigError``, help is printed by the caller."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(add_help=False, allow_abbrev=False, formatter_class=_HelpFormatter, **keywords)

    @override
    def error(self, message: str) -> NoReturn:
        # argparse says "argument --sample.interval: expected one argument".
        one_line = " ".join(message.split())
        raise ConfigError(ascii(one_line.removeprefix("argument "))[1:-1])

    def flags(self) -> Iterator[str]:
        """Every way to spell each of this parser's options."""
        for action in self._actions:
            yield from action.option_strings


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str, **keywords: Any) -> None:
        super().__init__(prog, **keywords | {"width": WIDTH, "max_help_position": 28})


def build_parser(usage: str, description: str, epilog: str) -> Parser:
    """The parser of everything that is in the table, with one group of help for each first word."""
    parser = Parser(prog="throttle-exporter", usage=usage, description=description, epilog=epilog)
    general = parser.add_argument_group("general")
    general.add_argument("-h", "--help", action="store_true", help="show this help, or that of the given command")
    general.add_argument("--version", action="store_true", help="show the version")
    groups: dict[str, argparse._ArgumentGroup] = {}
    for row in OPTIONS:
        title = row.flag.partition(".")[0]
        group = groups.get(title) or groups.setdefault(title, parser.add_argument_group(title))
        _add(group, row)
    return parser


def parse_flags(parser: Parser, argv: Sequence[str]) -> tuple[dict[str, str], argparse.Namespace, list[str]]:
    """The table's options in ``argv`` as text by flag, the general ones, and every other word in its order.

    Raises ``ConfigError`` for an option without its value.
    """
    namespace, rest = parser.parse_known_args([_plain_switch(word) for word in argv])
    given = vars(namespace)
    return {row.flag: given[row.field] for row in OPTIONS if row.field in given}, namespace, rest


def reject_unknown(words: Sequence[str], parsers: Sequence[Parser]) -> None:
    """Raise ``ConfigError`` for the first of ``words``, which no parser knew; its value is never repeated."""
    if not words:
        return
    name = words[0].partition("=")[0]
    if name.startswith("-") and name not in {"-", "--"}:
        known = [flag for parser in parsers for flag in parser.flags()]
        raise ConfigError(f"{quoted(name)[1:-1]}: unknown option{suggestion(name, known)}")
    raise ConfigError(f"unexpected argument {quoted(words[0])}")


def _add(group: argparse._ArgumentGroup, row: Row) -> None:
    name = f"--{row.flag}"
    default = f"{'On' if row.default == 'true' else 'Off'} by default" if row.is_switch else f"Default: {row.default}"
    text = " ".join([row.meaning, default if row.default else "No default"]).replace("%", "%%")
    common: dict[str, Any] = {"dest": row.field, "default": argparse.SUPPRESS}
    if not row.is_switch:
        group.add_argument(name, metavar=row.kind.metavar, help=text, **common)
        return
    # One line of help for both: the one that changes something is shown.
    on, off = (text, argparse.SUPPRESS) if row.default == "false" else (argparse.SUPPRESS, text)
    group.add_argument(name, action="store_const", const="true", help=on, **common)
    group.add_argument(f"--no-{row.flag}", action="store_const", const="false", help=off, **common)


def _plain_switch(word: str) -> str:
    # --collector.burst=false is how templates write it; argparse takes no value for a switch.
    match = _SWITCH_WITH_VALUE.fullmatch(word)
    if match is None or match[2] not in _SWITCHES:
        return word
    try:
        value = parse_switch(match[3]) != bool(match[1])
    except ValueError as error:
        raise ConfigError(f"--{match[2]}: {error}, not {quoted(match[3])}") from error
    return f"--{match[2]}" if value else f"--no-{match[2]}"
