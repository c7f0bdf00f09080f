"""Read the options from command line, environment and YAML file; the first of them that sets an option wins.

pydantic-settings does this too, but refuses ``--collector.burst=false``, ignores unknown variables, and knows neither
the line of a YAML value nor where a wrong value was written. It would add 14 MB to a command that needs no server.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple, NoReturn

from typing_extensions import override

from exporter.errors import ConfigError, quoted
from exporter.settings import OPTIONS, PREFIX, Option, Settings, format_value
from exporter.values import NotQuotedError, is_ipv6, parse_switch

CLIENT_VARIABLES: Final[Mapping[str, str]] = {
    "user": f"{PREFIX}CLIENT_USER",
    "password-file": f"{PREFIX}CLIENT_PASSWORD_FILE",
    "tls.ca": f"{PREFIX}CLIENT_CA_FILE",
    "cert": f"{PREFIX}CLIENT_CERT_FILE",
    "key": f"{PREFIX}CLIENT_KEY_FILE",
}
"""By option of the commands that ask a running exporter, which read them. ``serve`` in the same pod has them, too."""
HELP_WIDTH: Final = 80
_BY_FLAG: Final = {option.flag: option for option in OPTIONS}
_BY_VARIABLE: Final = {option.variable: option for option in OPTIONS}
_SWITCH_WITH_VALUE: Final = re.compile(r"--(no-)?([^=]+)=(.*)", re.DOTALL)
_REFERENCE: Final = re.compile(r"\$(?:\((\w+)\)|\{(\w+)\})", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
# Kubernetes describes each Service of the namespace in variables named after it: one called throttle-exporter gives
# THROTTLE_EXPORTER_SERVICE_HOST and the like, which are not options.
_SERVICE_LINK: Final = re.compile(r"(?:.*_)?(?:SERVICE_HOST|SERVICE_PORT(?:_.*)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_.*)?)")
_SERVICE_LINK_PORT: Final = re.compile(r"(?:.*_)?PORT")
_MAX_FILE_BYTES: Final = 1 << 20
_NULL: Final = "tag:yaml.org,2002:null"


class Given(NamedTuple):
    """One value as its user wrote it."""

    text: str
    origin: str = ""
    """Where it was written, for messages; empty for the command line."""


def load(flags: Mapping[str, str], environ: Mapping[str, str]) -> Settings:
    """Return the checked settings of this start.

    ``flags`` holds the options given on the command line, by flag without dashes. Raises ``ConfigError``, one line, for
    the first thing that is wrong.
    """
    given = _from_environment(environ) | {flag: Given(text) for flag, text in flags.items()}
    config_file = given.get("config.file")
    if config_file and _parse(_BY_FLAG["config.file"], config_file, environ):
        given = {option.flag: found for option, found in _read_file(config_file.text)} | given
    values: dict[str, Any] = {}
    for option in OPTIONS:
        if option.flag in given:
            values[option.field] = _parse(option, given[option.flag], environ)
        elif option.reference:
            with suppress(LookupError):  # the fallback holds
                values[option.field] = _parse_text(option, _expanded(option.reference, environ), None)
    settings = Settings(**values, given=frozenset(_BY_FLAG[flag].field for flag in given))
    try:
        settings.verify_window()
    except ValueError as error:
        window = given.get("sample.window")
        raise _wrong(
            _BY_FLAG["sample.window"], window, error, window.text if window else settings.sample_window
        ) from None
    return settings


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return ``, did you mean X?`` when something known resembles ``word``, else nothing."""
    from difflib import get_close_matches  # noqa: PLC0415 - only a misspelling needs it

    close = get_close_matches(word[:80], list(known), n=1)
    return f", did you mean {close[0]}?" if close else ""


def _parse(option: Option, given: Given, environ: Mapping[str, str]) -> object:
    if _CONTROL.search(given.text):
        raise _wrong(option, given, "must not have control characters", given.text)
    text = given.text
    if option.reference:
        try:
            text = _expanded(text, environ)
        except LookupError as error:
            raise _wrong(option, given, f"needs the environment variable {error.args[0]}, which is not set") from None
    return _parse_text(option, text, given)


def _parse_text(option: Option, text: str, given: Given | None) -> object:
    try:
        return option.kind.parse(text)
    except NotQuotedError as error:
        raise _wrong(option, given, error) from None
    except ValueError as error:
        raise _wrong(option, given, error, text) from None


def _expanded(text: str, environ: Mapping[str, str]) -> str:
    """``$(NAME)`` and ``${NAME}`` replaced, an IPv6 address in brackets (RFC 3986); raises ``LookupError(NAME)``."""

    def value_of(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if not (value := environ.get(name, "")):
            raise LookupError(name)
        return f"[{value}]" if is_ipv6(value) else value

    return _REFERENCE.sub(value_of, text)


def _wrong(option: Option, given: Given | None, problem: object, value: object = None) -> ConfigError:
    origin = f" ({given.origin})" if given and given.origin else ""
    shown = "" if value is None else f", not {'' if given else 'its default '}{quoted(format_value(value))}"
    return ConfigError(f"--{option.flag}{origin}: {problem}{shown}")


# ---- Environment ----


def _from_environment(environ: Mapping[str, str]) -> dict[str, Given]:
    """The options that the environment sets, by flag; an empty variable sets nothing."""
    found = {}
    for name, text in environ.items():
        if name in _BY_VARIABLE:
            if text:
                found[_BY_VARIABLE[name].flag] = Given(text, name)
        elif name.startswith(PREFIX) and name not in CLIENT_VARIABLES.values():
            rest = name.removeprefix(PREFIX)
            if not (_SERVICE_LINK.fullmatch(rest) or (_SERVICE_LINK_PORT.fullmatch(rest) and "://" in text)):
                close = suggestion(name, [*_BY_VARIABLE, *CLIENT_VARIABLES.values()])
                raise ConfigError(f"{quoted(name)[1:-1]}: unknown environment variable{close}")
    return found


# ---- Config file ----


def _read_file(path: str) -> Iterable[tuple[Option, Given]]:
    try:
        with open(path, "rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"--config.file: must be a readable file ({error.strerror}), not {quoted(path)}") from error
    if len(content) > _MAX_FILE_BYTES:
        raise ConfigError(f"--config.file: {quoted(path, 200)} has more than {_MAX_FILE_BYTES} bytes")
    return parse_file_options(content, path)


def parse_file_options(content: bytes, path: str) -> Iterator[tuple[Option, Given]]:
    """Yield the options that a YAML file sets, keys nested or dotted; a null sets nothing.

    Raises ``ConfigError`` naming file, line and key; ``path`` is only for messages.
    """
    root = _compose(content, path)
    if root is None or root.tag == _NULL:
        return
    if root.id != "mapping":
        raise _wrong_node(path, root, "must be a mapping of option names to values")
    seen: dict[str, int] = {}
    for option, node in _leaves(root, "", path):
        line = node.start_mark.line + 1
        if option.flag in seen:
            raise _wrong_node(path, node, f"{option.flag} is set a second time, first in line {seen[option.flag]}")
        seen[option.flag] = line
        if option.flag == "config.file":
            raise _wrong_node(path, node, "config.file cannot be set in the config file itself")
        if node.tag != _NULL:
            yield option, Given(_node_text(node, option, path), f"{quoted(path, 200)[1:-1]} line {line}")


def _compose(content: bytes, path: str) -> Any:
    """The ``yaml.Node`` of a document: it has its line, and ``off`` or ``1:30`` is still what its author wrote."""
    import yaml  # noqa: PLC0415 - 10 ms that only a config file costs

    try:
        return yaml.compose(content, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f" line {mark.line + 1}" if mark else ""
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError(
            f"--config.file: {quoted(path, 200)}{line}: not YAML: {quoted(problem, 200)[1:-1]}"
        ) from error
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        # PyYAML lets the last three through: for escapes beyond Unicode, and for brackets nested a thousand deep.
        raise ConfigError(f"--config.file: {quoted(path, 200)}: not YAML ({type(error).__name__})") from error


def _leaves(mapping: Any, prefix: str, path: str) -> Iterator[tuple[Option, Any]]:
    for key, value in mapping.value:
        if key.id != "scalar":
            raise _wrong_node(path, key, "a key must be the name of an option")
        name = f"{prefix}{key.value}"
        if name in _BY_FLAG:
            yield _BY_FLAG[name], value
        elif not any(flag.startswith(f"{name}.") for flag in _BY_FLAG):
            raise _wrong_node(path, key, f"unknown option {quoted(name)}{suggestion(name, _BY_FLAG)}")
        elif value.id == "mapping":
            yield from _leaves(value, f"{name}.", path)
        elif value.tag != _NULL:
            raise _wrong_node(path, value, f"{name} must be a mapping")


def _node_text(node: Any, option: Option, path: str) -> str:
    if node.id == "scalar":
        return str(node.value)
    if option.kind.unit == "list" and node.id == "sequence" and all(item.id == "scalar" for item in node.value):
        return ",".join(str(item.value) for item in node.value)
    raise _wrong_node(path, node, f"{option.flag} must be a {option.kind.unit}")


def _wrong_node(path: str, node: Any, message: str) -> ConfigError:
    return ConfigError(f"--config.file: {quoted(path, 200)} line {node.start_mark.line + 1}: {message}")


# ---- Command line ----


class Parser(argparse.ArgumentParser):
    """An ``ArgumentParser`` that never exits: a mistake becomes a ``ConfigError``, help is printed by the caller."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(add_help=False, allow_abbrev=False, formatter_class=_HelpFormatter, **keywords)

    @override
    def error(self, message: str) -> NoReturn:
        """Raise ``ConfigError``."""
        # argparse says "argument --sample.interval: expected one argument".
        one_line = " ".join(message.split())
        raise ConfigError(ascii(one_line.removeprefix("argument "))[1:-1])

    def flags(self) -> Iterator[str]:
        """Every way to spell each of this parser's options."""
        for action in self._actions:
            yield from action.option_strings


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str, **keywords: Any) -> None:
        super().__init__(prog, **keywords | {"width": HELP_WIDTH, "max_help_position": 28})


def build_parser(usage: str, description: str, epilog: str) -> Parser:
    """Return the parser of every option, with one group of help for each first word."""
    parser = Parser(prog="throttle-exporter", usage=usage, description=description, epilog=epilog)
    general = parser.add_argument_group("general")
    general.add_argument("-h", "--help", action="store_true", help="show this help, or that of the given command")
    general.add_argument("--version", action="store_true", help="show the version")
    groups: dict[str, argparse._ArgumentGroup] = {}
    for option in OPTIONS:
        title = option.flag.partition(".")[0]
        _add(groups.get(title) or groups.setdefault(title, parser.add_argument_group(title)), option)
    return parser


def parse_flags(parser: Parser, argv: Sequence[str]) -> tuple[dict[str, str], bool, list[str]]:
    """Return the options in ``argv`` as text by flag, whether help is asked for, and every other word in its order.

    Raises ``ConfigError`` for an option without its value.
    """
    namespace, rest = parser.parse_known_args([_plain_switch(word) for word in argv])
    return {flag: text for flag, text in vars(namespace).items() if flag in _BY_FLAG}, namespace.help, rest


def reject_unknown(words: Sequence[str], parsers: Sequence[Parser]) -> None:
    """Raise ``ConfigError`` for the first of ``words``, which no parser knew; its value is never repeated."""
    if not words:
        return
    name = words[0].partition("=")[0]
    if name.startswith("-") and name not in {"-", "--"}:
        known = [flag for parser in parsers for flag in parser.flags()]
        raise ConfigError(f"{quoted(name)[1:-1]}: unknown option{suggestion(name, known)}")
    raise ConfigError(f"unexpected argument {quoted(words[0])}")


def _add(group: argparse._ArgumentGroup, option: Option) -> None:
    is_on = option.default == "true"
    default = f"{'On' if is_on else 'Off'} by default" if option.is_switch else f"Default: {option.default}"
    text = " ".join([option.meaning, default if option.default else "No default"]).replace("%", "%%")
    common: dict[str, Any] = {"dest": option.flag, "default": argparse.SUPPRESS}
    if not option.is_switch:
        group.add_argument(f"--{option.flag}", metavar=option.kind.metavar, help=text, **common)
        return
    # One line of help for both: the one that changes something is shown.
    for prefix, value in (("", "true"), ("no-", "false")):
        shown = argparse.SUPPRESS if value == option.default else text
        group.add_argument(f"--{prefix}{option.flag}", action="store_const", const=value, help=shown, **common)


def _plain_switch(word: str) -> str:
    # --collector.burst=false is how templates write it; argparse takes no value for a switch.
    match = _SWITCH_WITH_VALUE.fullmatch(word)
    if match is None or match[2] not in _BY_FLAG or not _BY_FLAG[match[2]].is_switch:
        return word
    try:
        value = parse_switch(match[3]) != bool(match[1])
    except ValueError as error:
        raise ConfigError(f"--{match[2]}: {error}, not {quoted(match[3])}") from error
    return f"--{match[2]}" if value else f"--no-{match[2]}"
