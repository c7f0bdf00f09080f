"""Whether foreign JSON is a document of :mod:`exporter.report.schema`: what a client must know before it reads on.

Fields that the schema does not have are ignored: a newer exporter may have more.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, cast, get_args, get_origin, get_type_hints, is_typeddict

from exporter.errors import quoted
from exporter.report.schema import SCHEMA, ContainersDocument

Check = Callable[[object, str], None]
_PLAIN: Final[dict[object, tuple[type, ...]]] = {
    str: (str,),
    bool: (bool,),
    int: (int,),
    float: (float, int),
    NoneType: (NoneType,),
}


class SchemaError(ValueError):
    """Not the document that was wanted; the message is one line and says where."""


def containers_document(value: object) -> ContainersDocument:
    """``value`` itself; raises :class:`SchemaError` for the first field in which it is no such document."""
    spoken = value.get("schema") if isinstance(value, dict) else None
    if spoken != SCHEMA:
        raise SchemaError(f"its schema is {quoted(str(spoken), 20)}, not {SCHEMA}")
    _check_of(ContainersDocument)(value, "document")
    return cast("ContainersDocument", value)


@cache
def _check_of(kind: Any) -> Check:
    if is_typeddict(kind):
        return _fields(kind)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is list:
        return _items(_check_of(arguments[0]))
    if origin is dict:
        return _values(_check_of(arguments[1]))
    if origin is Literal:
        return _one_of(arguments)
    if origin in {Union, UnionType}:
        return _any_of(arguments)
    return _plain(_PLAIN[kind])


def _fields(kind: Any) -> Check:
    checks = [(name, _check_of(hint)) for name, hint in get_type_hints(kind).items()]

    def check(value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise SchemaError(f"{where} is not an object")
        for name, inner in checks:
            if name not in value:
                raise SchemaError(f"{where} has no {name}")
            inner(value[name], name)

    return check


def _items(inner: Check) -> Check:
    def check(value: object, where: str) -> None:
        if not isinstance(value, list):
            raise SchemaError(f"{where} is not a list")
        for item in value:
            inner(item, where)

    return check


def _values(inner: Check) -> Check:
    def check(value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise SchemaError(f"{where} is not an object")
        for item in value.values():
            inner(item, where)

    return check


def _one_of(choices: tuple[object, ...]) -> Check:
    def check(value: object, where: str) -> None:
        if value not in choices:
            raise SchemaError(f"{where} is none of {', '.join(map(str, choices))}")

    return check


def _any_of(kinds: tuple[Any, ...]) -> Check:
    plain = tuple(one for kind in kinds for one in _PLAIN.get(kind, ()))
    others = [_check_of(kind) for kind in kinds if kind not in _PLAIN]

    def check(value: object, where: str) -> None:
        if type(value) in plain:
            return
        problem = SchemaError(f"{where} is of another type")
        for other in others:
            try:
                other(value, where)
            except SchemaError as error:
                problem = error
            else:
                return
        raise problem

    return check


def _plain(types: tuple[type, ...]) -> Check:
    def check(value: object, where: str) -> None:
        if type(value) not in types:
            raise SchemaError(f"{where} is not of type {types[0].__name__}")

    return check
