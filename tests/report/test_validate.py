"""Foreign JSON is a document or a named refusal, never anything else."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.cli.source import containers_document
from exporter.report.schema import ContainersDocument

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FREE = {"evidence", "cgroups", "policy_options", "unknown"}
"""Objects with keys of their own."""


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON document, as the keys that lead there."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, one in inner for place in places(one, (*path, key)))]


def place(document: Any, path: tuple[Any, ...]) -> tuple[Any, Any]:
    """A copy of the document, and what is one above a place in it."""
    one = above = copy.deepcopy(document)
    for key in path[:-1]:
        above = above[key]
    return one, above


@pytest.fixture(scope="module")
def small(document: ContainersDocument) -> Any:
    """The document as JSON carries it, with two containers."""
    found = json.loads(json.dumps(document))
    found["containers"] = found["containers"][:2]
    for one in found["containers"]:
        one["series"] |= {name: one["series"][name][:2] for name in ("ratio", "usage_share")}
    return found


def test_our_own_document_is_one_with_the_fields_of_a_newer_exporter(small: Any) -> None:
    newer = copy.deepcopy(small)
    newer["more"] = newer["containers"][0]["more"] = {"a": [1]}
    newer["containers"][0]["usage_cores"] = 1  # a JSON writer of another language says 1 for 1.0

    assert containers_document(newer) is newer
    others: tuple[object, ...] = ("v2", None, 1, {})
    for other in others:
        with pytest.raises(ValueError, match="not v1"):
            containers_document({**small, "schema": other})


def test_every_field_is_wanted_and_of_its_kind(small: Any) -> None:
    fields = [path for path in places(small) if path and isinstance(path[-1], str) and FREE.isdisjoint(path[:-1])]
    assert len(fields) > 100
    for path in fields:
        less, above = place(small, path)
        del above[path[-1]]
        with pytest.raises(ValueError, match=path[-1]):
            containers_document(less)
        if path[-1] not in FREE:
            odd, above = place(small, path)
            above[path[-1]] = {"nonsense": ()}
            with pytest.raises(ValueError, match=path[-1]):
                containers_document(odd)


@given(st.data())
def test_a_document_with_one_foreign_value_is_taken_or_refused(small: Any, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(places(small)))
    odd, above = place(small, path)
    foreign = data.draw(JSON)
    if path:
        above[path[-1]] = foreign

    refusal = ""
    try:
        containers_document(odd if path else foreign)
    except ValueError as error:
        refusal = str(error)
    assert refusal.isprintable()
