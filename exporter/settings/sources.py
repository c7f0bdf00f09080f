"""From flags, environment and config file to checked settings: the first of them that sets an option wins."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from pydantic import ValidationError

from exporter.errors import ConfigError, quoted
from exporter.settings.model import Settings
from exporter.settings.table import OPTIONS, Row, format_value
from exporter.settings.values import NotQuotedError, expand_references

PREFIX: Final = "THROTTLE_EXPORTER_"
CLIENT_VARIABLES: Final[Mapping[str, str]] = {
    "user": f"{PREFIX}CLIENT_USER",
    "password-file": f"{PREFIX}CLIENT_PASSWORD_FILE",
    "tls.ca": f"{PREFIX}CLIENT_CA_FILE",
    "cert": f"{PREFIX}CLIENT_CERT_FILE",
    "key": f"{PREFIX}CLIENT_KEY_FILE",
}
"""By option of the commands that ask a running exporter, which read them. ``serve`` in the same pod has them, too."""
_BY_FIELD: Final = {row.field: row for row in OPTIONS}
_BY_VARIABLE: Final = {row.variable: row for row in OPTIONS}
_SERVICE_LINK: Final = re.compile(r"(?:.*_)?(?:SERVICE_HOST|SERVICE_PORT(?:_.*)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_.*)?)")
_SERVICE_LINK_PORT: Final = re.compile(r"(?:.*_)?PORT")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


class Given(NamedTuple):
    """One value as its user wrote it."""

    text: str
    origin: str = ""
    """Where it was written, for messages; empty for the command line."""


def load(flags: Mapping[str, str], environ: Mapping[str, str]) -> Settings:
    """The settings of this start.

    ``flags`` holds the options given on the command line, by flag without dashes; ``environ`` is the environment.
    Raises ``ConfigError``, one line, for the first thing that is wrong.
    """
    given = {row.field: Given(flags[row.flag]) for row in OPTIONS if row.flag in flags}
    given = from_environment(environ) | given
    config_file = given.get("config_file")
    if config_file and config_file.text:
        given = _from_file(config_file) | given
    values = {field: _expanded(_BY_FIELD[field], value, environ) for field, value in given.items()}
    for row in OPTIONS:
        if row.option.from_environment and row.field not in given:
            values |= _default_from_environment(row, environ)
    return _checked(values, given)


def from_environment(environ: Mapping[str, str]) -> dict[str, Given]:
    """The options the environment sets, by field; an empty variable sets nothing."""
    found = {}
    for name, text in environ.items():
        if name in _BY_VARIABLE:
            if text:
                found[_BY_VARIABLE[name].field] = Given(text, name)
        elif name.startswith(PREFIX) and not _is_foreign(name, text):
            known = [*_BY_VARIABLE, *CLIENT_VARIABLES.values()]
            raise ConfigError(f"{quoted(name)[1:-1]}: unknown environment variable{suggestion(name, known)}")
    return found


def suggestion(word: str, known: Iterable[str]) -> str:
    """``, did you mean X?`` when something known resembles ``word``, else nothing."""
    from difflib import get_close_matches  # noqa: PLC0415 - only a misspelling pays for it

    close = get_close_matches(word[:80], list(known), n=1)
    return f", did you mean {close[0]}?" if close else ""


def _is_foreign(name: str, text: str) -> bool:
    return name in CLIENT_VARIABLES.values() or _is_service_link(name.removeprefix(PREFIX), text)


def _is_service_link(rest: str, text: str) -> bool:
    # Kubernetes describes each Service of the namespace in variables named after it: one called throttle-exporter
    # gives THROTTLE_EXPORTER_SERVICE_HOST and the like, which nobody wrote for us.
    return bool(_SERVICE_LINK.fullmatch(rest) or (_SERVICE_LINK_PORT.fullmatch(rest) and "://" in text))


def _from_file(config_file: Given) -> dict[str, Given]:
    from exporter.settings.configfile import read_options  # noqa: PLC0415 - only who uses YAML waits for it

    _checked({"config_file": config_file.text}, {"config_file": config_file})
    return {row.field: found for row, found in read_options(config_file.text)}


def _expanded(row: Row, given: Given, environ: Mapping[str, str]) -> str:
    if _CONTROL.search(given.text):
        raise _wrong(row, given, "must not have control characters", given.text)
    if not row.option.from_environment:
        return given.text
    try:
        return expand_references(given.text, environ)
    except ValueError as error:
        raise _wrong(row, given, str(error), None) from error


def _default_from_environment(row: Row, environ: Mapping[str, str]) -> dict[str, str]:
    try:
        return {row.field: expand_references(row.option.from_environment, environ)}
    except ValueError:
        return {}  # nobody asked for it: the plain default holds


def _checked(values: Mapping[str, str], given: Mapping[str, Given]) -> Settings:
    try:
        return Settings.model_validate(values)
    except ValidationError as wrong:
        first = wrong.errors(include_url=False)[0]
        row = _BY_FIELD[str(first["loc"][0])]
        cause = first.get("ctx", {}).get("error")
        text = None if isinstance(cause, NotQuotedError) else format_value(first["input"])
        raise _wrong(row, given.get(row.field), str(cause or first["msg"]), text) from None


def _wrong(row: Row, given: Given | None, message: str, text: str | None) -> ConfigError:
    origin = f" ({given.origin})" if given and given.origin else ""
    shown = "" if text is None else f", not {'' if given else 'its default '}{quoted(text)}"
    return ConfigError(f"--{row.flag}{origin}: {message}{shown}")
