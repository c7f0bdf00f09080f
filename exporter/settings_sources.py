"""Read the options from command line, environment and YAML file; the first of them that sets an option wins.

pydantic-settings refuses ``--collector.burst=false``, ignores unknown variables, and knows no line of a YAML value.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

from typing_extensions import override

from exporter.errors import ConfigError, quoted
from exporter.settings import MAX_READINGS, OPTIONS, PREFIX, Option, Settings, format_value
from exporter.values import NotQuotedError, format_duration, is_ipv6, parse_switch, yaml_errors

CLIENT_VARIABLES: Final[Mapping[str, str]] = {
    "user": f"{PREFIX}CLIENT_USER",
    "password-file": f"{PREFIX}CLIENT_PASSWORD_FILE",
    "tls.ca": f"{PREFIX}CLIENT_CA_FILE",
    "cert": f"{PREFIX}CLIENT_CERT_FILE",
    "key": f"{PREFIX}CLIENT_KEY_FILE",
}
"""By option of the commands that ask a running exporter, which read them. ``serve`` in the same pod has them, too."""
_BY_FLAG: Final = {option.flag: option for option in OPTIONS}
_BY_VARIABLE: Final = {option.variable: option for option in OPTIONS}
_SWITCH_WITH_VALUE: Final = re.compile(r"--(no-)?([^=]+)=(.*)", re.DOTALL)
_REFERENCE: Final = re.compile(r"\$(?:\((\w+)\)|\{(\w+)\})", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
# Kubernetes describes each Service of the namespace in variables named after it: one called throttle-exporter gives
# THROTTLE_EXPORTER_SERVICE_HOST and the like, which are not options.
_SERVICE_LINK: Final = re.compile(r"(?:.*_)?(?:SERVICE_HOST|SERVICE_PORT(?:_.*)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_.*)?)")
_NULL: Final = "tag:yaml.org,2002:null"


class Given(NamedTuple):
    """One value as its user wrote it."""

    text: str
    origin: str = ""  # where it was written, for messages; empty for the command line


def load(flags: Mapping[str, str], environ: Mapping[str, str]) -> Settings:
    """Return the checked settings; ``flags`` by name without dashes. Raises ``ConfigError`` for the first mistake."""
    given = _from_environment(environ) | {flag: Given(text) for flag, text in flags.items()}
    file = given.get("config.file")
    if file and _parse(_BY_FLAG["config.file"], file, environ):
        in_file = parse_file_options(Path(file.text).read_bytes(), file.text)
        given = {option.flag: found for option, found in in_file} | given
    # A default with a reference counts where the environment has what it refers to.
    defaults = {
        option.flag: Given(option.reference, "default")
        for option in OPTIONS
        if option.reference and all(environ.get(name) for name in _references(option.reference))
    }
    values: dict[str, Any] = {
        _BY_FLAG[flag].field: _parse(_BY_FLAG[flag], found, environ) for flag, found in (defaults | given).items()
    }
    settings = Settings(**values, given=frozenset(_BY_FLAG[flag].field for flag in given))
    interval = settings.sample_interval
    low, high = 2 * interval, min(MAX_READINGS * interval, 3600.0)
    if not low <= settings.sample_window <= high:
        window = given.get("sample.window", Given(format_value(settings.sample_window), "default"))
        allowed = f"between {format_duration(low)} and {format_duration(high)}"
        problem = f"must be {allowed} with --sample.interval={format_duration(interval)}"
        raise _wrong(_BY_FLAG["sample.window"], window, problem, window.text)
    return settings


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return ``, did you mean X?`` when something known resembles ``word``, else nothing."""
    from difflib import get_close_matches  # noqa: PLC0415 - only a misspelling needs it

    close = get_close_matches(word[:80], list(known), n=1)
    return f", did you mean {close[0]}?" if close else ""


def _parse(option: Option, given: Given, environ: Mapping[str, str]) -> object:
    try:
        return option.kind.parse(_expanded(given.text, environ if option.reference else None))
    except ValueError as error:
        raise _wrong(option, given, error, None if isinstance(error, NotQuotedError) else given.text) from None


def _references(text: str) -> list[str]:
    return [name or other for name, other in _REFERENCE.findall(text)]


def _expanded(text: str, environ: Mapping[str, str] | None) -> str:
    """Return ``text`` with ``$(NAME)`` and ``${NAME}`` replaced, an IPv6 address in brackets; as it is without any."""
    if _CONTROL.search(text):
        raise ValueError("must not have control characters")
    if environ is None:
        return text
    values = {name: environ.get(name, "") for name in _references(text)}
    for name, value in values.items():
        if not value:
            raise NotQuotedError(f"needs the environment variable {name}, which is not set")
        values[name] = f"[{value}]" if is_ipv6(value) else value
    return _REFERENCE.sub(lambda match: values[match[1] or match[2]], text)


def _wrong(option: Option, given: Given, problem: object, text: str | None = None) -> ConfigError:
    origin = f" ({given.origin})" if given.origin else ""
    return ConfigError(f"--{option.flag}{origin}: {problem}{'' if text is None else f', not {quoted(text)}'}")


def _from_environment(environ: Mapping[str, str]) -> dict[str, Given]:
    found = {}
    for name, text in environ.items():
        if name in _BY_VARIABLE:
            if text:
                found[_BY_VARIABLE[name].flag] = Given(text, name)
        elif name.startswith(PREFIX) and name not in CLIENT_VARIABLES.values():
            rest = name.removeprefix(PREFIX)
            if not (_SERVICE_LINK.fullmatch(rest) or (f"_{rest}".endswith("_PORT") and "://" in text)):
                close = suggestion(name, [*_BY_VARIABLE, *CLIENT_VARIABLES.values()])
                raise ConfigError(f"{quoted(name)[1:-1]}: unknown environment variable{close}")
    return found


def parse_file_options(content: bytes, path: str) -> Iterator[tuple[Option, Given]]:
    """Yield the options that a YAML file sets, keys nested or dotted; ``path`` is only for messages."""
    import yaml  # noqa: PLC0415 - 10 ms that only a config file costs

    where = f"--config.file: {quoted(path, 200)}"
    with yaml_errors(where):
        # Not load(): a node has its line, and "off" or "1:30" is still what its author wrote.
        root: Any = yaml.compose(content, Loader=yaml.SafeLoader)
    seen: dict[str, str] = {}
    for option, node in _leaves(root, "", where):
        line = _line(node)
        if option.flag in seen:
            raise ConfigError(f"{where}{line}: {option.flag} is set a second time, first in{seen[option.flag]}")
        seen[option.flag] = line
        if option.flag == "config.file":
            raise ConfigError(f"{where}{line}: config.file cannot be set in the config file itself")
        if node.tag != _NULL:
            yield option, Given(_node_text(node, option, where), f"{quoted(path, 200)[1:-1]}{line}")


def _leaves(node: Any, name: str, where: str) -> Iterator[tuple[Option, Any]]:
    """Yield each option with its node, from the node of the key ``name``, empty for the whole document."""
    if node is None or node.tag == _NULL:
        return
    if node.id != "mapping":
        what = f"{name} must be a mapping" if name else "must be a mapping of option names to values"
        raise ConfigError(f"{where}{_line(node)}: {what}")
    for key, value in node.value:
        if key.id != "scalar":
            raise ConfigError(f"{where}{_line(key)}: a key must be the name of an option")
        flag = f"{name}.{key.value}" if name else key.value
        if flag in _BY_FLAG:
            yield _BY_FLAG[flag], value
        elif any(known.startswith(f"{flag}.") for known in _BY_FLAG):
            yield from _leaves(value, flag, where)
        else:
            raise ConfigError(f"{where}{_line(key)}: unknown option {quoted(flag)}{suggestion(flag, _BY_FLAG)}")


def _node_text(node: Any, option: Option, where: str) -> str:
    items = node.value if option.kind.unit == "list" and node.id == "sequence" else [node]
    if any(item.id != "scalar" for item in items):
        raise ConfigError(f"{where}{_line(node)}: {option.flag} must be a {option.kind.unit}")
    return ",".join(str(item.value) for item in items)


def _line(node: Any) -> str:
    return f" line {node.start_mark.line + 1}"


class Parser(argparse.ArgumentParser):
    """An ``ArgumentParser`` that never exits: a mistake becomes a ``ConfigError``, help is printed by the caller."""

    def __init__(self, **keywords: Any) -> None:
        formatter = partial(argparse.RawDescriptionHelpFormatter, width=80, max_help_position=28)
        super().__init__(add_help=False, allow_abbrev=False, formatter_class=formatter, **keywords)

    @override
    def error(self, message: str) -> NoReturn:
        # argparse says "argument --sample.interval: expected one argument".
        raise ConfigError(ascii(" ".join(message.split()).removeprefix("argument "))[1:-1])


def build_parser(usage: str, description: str, epilog: str) -> Parser:
    """Return the parser of every option, with one group of help for each first word."""
    parser = Parser(prog="throttle-exporter", usage=usage, description=description, epilog=epilog)
    general = parser.add_argument_group("general")
    general.add_argument("-h", "--help", action="store_true", help="show this help, or that of the given command")
    general.add_argument("--version", action="store_true", help="show the version")
    for title, options in groupby(OPTIONS, lambda option: option.flag.partition(".")[0]):
        group = parser.add_argument_group(title)
        for option in options:
            _add(group, option)
    return parser


def _add(group: argparse._ArgumentGroup, option: Option) -> None:
    common: dict[str, Any] = {"dest": option.flag, "default": argparse.SUPPRESS}
    text = option.meaning.replace("%", "%%")
    if not option.is_switch:
        shown = f"Default: {option.default}" if option.default else "No default"
        group.add_argument(f"--{option.flag}", metavar=option.kind.metavar, help=f"{text} {shown}", **common)
        return
    # One line of help for both: the one that changes something is shown.
    text += " On by default" if option.default == "true" else " Off by default"
    for prefix, value in (("", "true"), ("no-", "false")):
        shown = argparse.SUPPRESS if value == option.default else text
        group.add_argument(f"--{prefix}{option.flag}", action="store_const", const=value, help=shown, **common)


def parse_flags(parser: Parser, argv: Sequence[str]) -> tuple[dict[str, str], argparse.Namespace, list[str]]:
    """Return the options in ``argv`` as text by flag, all that was parsed, and every other word in its order."""
    namespace, rest = parser.parse_known_args([_plain_switch(word) for word in argv])
    return {flag: text for flag, text in vars(namespace).items() if flag in _BY_FLAG}, namespace, rest


def _plain_switch(word: str) -> str:
    # --collector.burst=false is how templates write it; argparse takes no value for a switch.
    match = _SWITCH_WITH_VALUE.fullmatch(word)
    if match is None or match[2] not in _BY_FLAG or not _BY_FLAG[match[2]].is_switch:
        return word
    try:
        value = parse_switch(match[3]) != bool(match[1])
    except ValueError as error:
        raise _wrong(_BY_FLAG[match[2]], Given(match[3]), error, match[3]) from error
    return f"--{match[2]}" if value else f"--no-{match[2]}"


def reject_unknown(words: Sequence[str], parsers: Sequence[Parser]) -> None:
    """Raise ``ConfigError`` for the first of ``words``, which no parser knew; its value is never repeated."""
    for word in words:
        name = word.partition("=")[0]
        if not name.startswith("-") or name in {"-", "--"}:
            raise ConfigError(f"unexpected argument {quoted(word)}")
        known = [flag for parser in parsers for flag in parser._option_string_actions]  # noqa: SLF001 - argparse has no other list of them
        raise ConfigError(f"{quoted(name)[1:-1]}: unknown option{suggestion(name, known)}")
