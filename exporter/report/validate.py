"""Foreign JSON as a document of :mod:`exporter.report.schema`, before a client reads on.

Fields that the schema does not have are ignored: a newer exporter may have more. A module of its own because only
this one may import pydantic.
"""

from __future__ import annotations

from functools import cache
from typing import cast

from pydantic import TypeAdapter, ValidationError

from exporter.errors import quoted
from exporter.report.schema import SCHEMA, ContainersDocument


class SchemaError(ValueError):
    """Not the expected document; the message is one line that says where."""


def containers_document(value: object) -> ContainersDocument:
    """Return ``value`` itself; raises :class:`SchemaError` for the first field in which it is no such document."""
    version = value.get("schema") if isinstance(value, dict) else None
    if version != SCHEMA:
        raise SchemaError(f"its schema is {quoted(str(version), 20)}, not {SCHEMA}")
    try:
        _adapter().validate_python(value, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise SchemaError(f"{quoted(place, 100)}: {first['msg']}") from None
    return cast("ContainersDocument", value)


@cache
def _adapter() -> TypeAdapter[ContainersDocument]:
    return TypeAdapter(ContainersDocument)
