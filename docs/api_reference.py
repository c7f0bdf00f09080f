"""``docs/api.md``, written from the schema's own annotations and from documents that the program made."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from typing_extensions import is_typeddict

from exporter.model import CgroupName
from exporter.report import schema
from exporter.report.documents import Report

EXAMPLE = CgroupName("shop", "catalog-5c68f7d9c4-q7r2m", "api")
_GENERATED = "## Fields\n\n<!-- From here on written by `make docs`, from exporter/report/schema.py. -->\n"


def api_page(page: str, report: Report) -> str:
    """``page`` with all that follows its introduction made anew."""
    parts = [page.partition(_GENERATED)[0], _GENERATED]
    parts += ["\n".join(_section(kind)) for kind in _kinds()]
    container = report.container(EXAMPLE)
    parts += [
        "## Examples\n",
        f"`GET /api/v1/containers/{'/'.join(EXAMPLE)}` on the node of `throttle-exporter demo`:\n",
        f"```json\n{_shown(container)}\n```\n",
        "`GET /api/v1/node` there:\n",
        f"```json\n{_shown(report.node())}\n```\n",
    ]
    return parts[0] + "\n".join(parts[1:])


def _kinds() -> list[Any]:
    """Every document, then what they hold, in the order in which a reader meets it."""
    found: list[Any] = [schema.ContainersDocument, schema.ContainerDocument, schema.NodeDocument]
    for kind in found:
        found += [one for one in _inside(kind) if one not in found]
    return found


def _inside(kind: Any) -> Iterator[Any]:
    for hint in get_type_hints(kind).values() if is_typeddict(kind) else get_args(kind):
        if is_typeddict(hint):
            yield hint
        else:
            yield from _inside(hint)


def _section(kind: Any) -> Iterator[str]:
    yield f"### {kind.__name__}\n"
    yield f"{kind.__doc__}\n"
    yield "| Field | Type | Meaning |"
    yield "| --- | --- | --- |"
    for name, hint in get_type_hints(kind, include_extras=True).items():
        plain, *meaning = (hint.__origin__, *hint.__metadata__) if hasattr(hint, "__metadata__") else (hint,)
        yield f"| `{name}` | {_type(plain)} | {'; '.join(meaning) or _first_words(plain)} |".replace(" |  |", " | |")
    yield ""


def _first_words(kind: Any) -> str:
    """Where a field says nothing of itself, what it holds does."""
    [inner] = [one for one in (kind, *_inside(kind)) if is_typeddict(one)][:1]
    text = str(inner.__doc__).removesuffix(".")
    return text[0].lower() + text[1:]


def _type(kind: Any) -> str:
    if is_typeddict(kind):
        return f"[{kind.__name__}](#{kind.__name__.lower()})"
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is list:
        return f"list of {_type(arguments[0])}"
    if origin is dict:
        return f"object of {_type(arguments[1])}"
    if origin is Literal:
        return " or ".join(f"`{one}`" for one in arguments)
    if arguments:
        return " or ".join(_type(one) for one in sorted(arguments, key=lambda one: one is NoneType))
    return {str: "text", bool: "boolean", int: "whole number", float: "number", NoneType: "null"}[kind]


def _shown(document: Any) -> str:
    """Indented, with lists of plain values on one line."""
    text = json.dumps(document, indent=2)
    return re.sub(r"\[\s*([^\[\]{}]*?)\s*\]", lambda found: "[" + re.sub(r",\s+", ", ", found[1]) + "]", text)
