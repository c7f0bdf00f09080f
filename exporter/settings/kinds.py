"""The kinds of value an option takes, each a type that also accepts its text form, and what a row says beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar, get_args

from pydantic import BeforeValidator, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema
from typing_extensions import override

from exporter.settings.values import (
    ListenAddress,
    format_duration,
    parse_ca_file,
    parse_directory,
    parse_duration,
    parse_file,
    parse_listen_address,
    parse_pod_sources,
    parse_switch,
    parse_telemetry_path,
    parse_url,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Option:
    """How one setting is called and what it means."""

    flag: str
    """Without the leading dashes; also the key in the config file."""
    help: str
    """A sentence without its full stop; default and range are added from the row."""
    from_environment: str = ""
    """The default where the environment has what its ``$(NAME)`` refers to; such a reference is also expanded in what
    the user gives."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What sort of value an option takes, in words for people."""

    unit: str
    metavar: str


@dataclass(frozen=True, slots=True)
class Between:
    """A duration's range in seconds, both ends included."""

    low: float
    high: float

    @override
    def __str__(self) -> str:
        return f"between {format_duration(self.low)} and {format_duration(self.high)}"

    def __call__(self, value: float) -> float:
        """The value itself, or ``ValueError``."""
        if not self.low <= value <= self.high:
            raise ValueError(f"must be {self}")
        return value

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self, handler(source))


@dataclass(frozen=True, slots=True)
class OneOf:
    """Makes the values of a ``Literal`` the only ones, and says so in our words."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        choices = get_args(source)

        def check(value: object) -> object:
            if value not in choices:
                raise ValueError(f"must be one of {', '.join(choices)}")
            return value

        return core_schema.no_info_before_validator_function(check, handler(source))


def _text(parse: Callable[[str], T]) -> BeforeValidator:
    """Lets a field take its text form beside its value."""
    return BeforeValidator(lambda value: parse(value) if isinstance(value, str) else value)


Duration = Annotated[float, _text(parse_duration), Kind("duration", "TIME")]
Switch = Annotated[bool, _text(parse_switch), Kind("switch", "")]
Directory = Annotated[str, _text(parse_directory), Kind("path", "DIR")]
PlainPath = Annotated[str, _text(parse_directory), Kind("path", "PATH")]
File = Annotated[str | None, _text(parse_file), Kind("path", "FILE")]
CaFile = Annotated[str | None, _text(parse_ca_file), Kind("path", "FILE")]
Url = Annotated[str, _text(parse_url), Kind("URL", "URL")]
Address = Annotated[ListenAddress, _text(parse_listen_address), Kind("address", "HOST:PORT")]
UrlPath = Annotated[str, _text(parse_telemetry_path), Kind("URL path", "PATH")]
PodSources = Annotated[tuple[str, ...], _text(parse_pod_sources), Kind("list", "LIST")]
Name = Annotated[str, Kind("text", "NAME")]
Level = Annotated[Literal["debug", "info", "warn", "error"], OneOf(), Kind("choice", "LEVEL")]
Format = Annotated[Literal["logfmt", "json"], OneOf(), Kind("choice", "FORMAT")]
