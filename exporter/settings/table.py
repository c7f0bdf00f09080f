"""The options as users meet them, drawn from the fields of :class:`exporter.settings.model.Settings`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, get_args

from exporter.settings.kinds import Between, Kind, OneOf, Option
from exporter.settings.model import Settings
from exporter.settings.values import ListenAddress, format_duration


@dataclass(frozen=True, slots=True)
class Row:
    """One option as users meet it."""

    field: str
    """Attribute of :class:`Settings`."""
    option: Option
    kind: Kind
    default: str
    """As a user would write it; empty for none."""
    fallback: str
    """The same where the default refers to a variable that is not set."""
    limits: str
    """``between 100ms and 60s``, ``one of logfmt, json``, or empty."""

    @property
    def flag(self) -> str:
        """``sample.interval``: without dashes in front; the key in the config file."""
        return self.option.flag

    @property
    def variable(self) -> str:
        """Name of the environment variable."""
        return "THROTTLE_EXPORTER_" + self.flag.upper().replace(".", "_").replace("-", "_")

    @property
    def meaning(self) -> str:
        """The help as whole sentences, with the range and what holds where the default's variable is not set."""
        limits = f" {self.limits[0].upper()}{self.limits[1:]}." if self.limits else ""
        fallback = f" Without the variable {self.fallback or 'none'}." if self.option.from_environment else ""
        return f"{self.option.help}.{limits}{fallback}"

    @property
    def is_switch(self) -> bool:
        """Whether the option is given without a value, ``--NAME`` or ``--no-NAME``."""
        return self.kind.unit == "switch"


def format_value(value: object) -> str:
    """A setting's value as a user would write it."""
    match value:
        case None | ():
            return "" if value is None else "none"
        case bool():
            return "true" if value else "false"
        case float():
            return format_duration(value)
        case ListenAddress():
            return str(value)
        case tuple():
            return ",".join(value)
        case _:
            return str(value)


def _rows() -> tuple[Row, ...]:
    rows = []
    for name, field in Settings.model_fields.items():
        found: dict[type, Any] = {type(item): item for item in field.metadata}
        option: Option = found[Option]
        limits = ""
        if Between in found:
            limits = str(found[Between])
        elif OneOf in found:
            limits = f"one of {', '.join(get_args(field.annotation))}"
        fallback = format_value(field.default)
        rows.append(Row(name, option, found[Kind], option.from_environment or fallback, fallback, limits))
    return tuple(rows)


OPTIONS: Final[tuple[Row, ...]] = _rows()
