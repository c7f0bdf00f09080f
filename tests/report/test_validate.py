"""Foreign JSON is a document or a named refusal, never anything else."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.cli.source import containers_document
from exporter.report import ContainersDocument

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON document, as the keys that lead there."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, one in inner for place in places(one, (*path, key)))]


@pytest.fixture(scope="module")
def small(document: ContainersDocument) -> Any:
    """The document as JSON carries it, with two containers."""
    found = json.loads(json.dumps(document))
    found["containers"] = found["containers"][:2]
    for one in found["containers"]:
        for values in (one["series"]["ratio"], one["series"]["usage_share"]):
            del values[2:]
    return found


def test_our_own_document_is_one(small: Any) -> None:
    assert containers_document(small) is small


def test_more_fields_are_a_newer_exporter(small: Any) -> None:
    newer = copy.deepcopy(small)
    newer["more"] = newer["containers"][0]["more"] = {"a": [1]}

    assert containers_document(newer) is newer


def test_whole_numbers_are_numbers(small: Any) -> None:
    # A JSON writer of another language says 1 for 1.0.
    whole = copy.deepcopy(small)
    whole["containers"][0]["usage_cores"] = 1

    containers_document(whole)


def test_every_field_is_wanted(small: Any) -> None:
    tried = 0
    for path in places(small):
        if path and isinstance(path[-1], str) and path[-2:-1] not in {("evidence",), ("cgroups",), ("unknown",)}:
            less = copy.deepcopy(small)
            above = less
            for key in path[:-1]:
                above = above[key]
            del above[path[-1]]
            with pytest.raises(ValueError, match=path[-1]):
                containers_document(less)
            tried += 1
    assert tried > 100


def test_no_field_takes_an_object_of_another_kind(small: Any) -> None:
    for path in places(small)[1:]:
        odd = copy.deepcopy(small)
        above = odd
        for key in path[:-1]:
            above = above[key]
        above[path[-1]] = {"nonsense": ()}
        if path[-1] not in {"evidence", "cgroups", "policy_options", "unknown"}:
            with pytest.raises(ValueError, match=": "):
                containers_document(odd)


@pytest.mark.parametrize("other", ["v2", None, 1, {}])
def test_another_version_is_named(small: Any, other: object) -> None:
    with pytest.raises(ValueError, match="not v1"):
        containers_document({**small, "schema": other})


@given(JSON)
def test_anything_else_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="not v1"):
        containers_document(value)


@given(st.data())
def test_a_document_with_one_foreign_value_is_taken_or_refused(small: Any, data: st.DataObject) -> None:
    odd = copy.deepcopy(small)
    path = data.draw(st.sampled_from(places(small)[1:]))
    above = odd
    for key in path[:-1]:
        above = above[key]
    above[path[-1]] = data.draw(JSON)

    refusal = ""
    try:
        containers_document(odd)
    except ValueError as error:
        refusal = str(error)
    assert refusal.isprintable()
