"""The CPU manager's checkpoint in all its versions."""

import json
from pathlib import Path
from typing import Any

import pytest

from exporter.errors import ParseError
from exporter.model import CpuManagerState
from exporter.node.cpumanager import parse_cpu_manager_state, read_cpu_manager_state
from tests.support.recordings import RECORDINGS

V1: dict[str, Any] = {"policyName": "static", "defaultCpuSet": "0,4-7", "entries": {"c0ffee": "1-3"}, "checksum": 1}
V2 = {**V1, "entries": {"uid": {"app": "1-2", "proxy": "3"}}}
V3 = {**V2, "podEntries": {"uid": {"cpuSet": "1-3"}}}
V4 = {
    **V3,
    "defaultCpuSet": "0-7",
    "entries": {},
    "checksum": 0,
    "data": json.dumps({**V3, "originals": {"uid": {"app": {"original": "1"}}}}),
    "dataChecksum": 2,
}
POOL = frozenset({0, 4, 5, 6, 7})
BY_NAME = {("uid", "app"): frozenset({1, 2}), ("uid", "proxy"): frozenset({3})}


def parse(state: object) -> CpuManagerState:
    return parse_cpu_manager_state(json.dumps(state).encode(), "cpu_manager_state")


@pytest.mark.parametrize(
    ("state", "entries"),
    [
        pytest.param(V1, {("", "c0ffee"): frozenset({1, 2, 3})}, id="1"),
        pytest.param(V2, BY_NAME, id="2"),
        pytest.param(V3, BY_NAME, id="3"),
        pytest.param(V4, BY_NAME, id="4"),
    ],
)
def test_each_version(state: dict[str, Any], entries: dict[tuple[str, str], frozenset[int]]) -> None:
    assert parse(state) == CpuManagerState("static", POOL, entries)


def test_a_set_may_be_an_object() -> None:
    state = {**V2, "entries": {"uid": {"app": {"cpuSet": "1-2"}}}}
    assert parse(state).entries == {("uid", "app"): frozenset({1, 2})}
    assert parse({**V1, "entries": {"c0ffee": {"cpuSet": "1"}}}).entries == {("", "c0ffee"): frozenset({1})}


def test_the_policy_none_has_neither_pool_nor_entries() -> None:
    assert parse({"policyName": "none", "defaultCpuSet": "", "checksum": 7}) == CpuManagerState("none", frozenset(), {})
    assert parse({"policyName": "none", "entries": None}).entries == {}


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"{", b"[]", b"null", b"\xff\xfe", b"{}", b'{"policyName": 3}'),
        b'{"policyName": "static", "defaultCpuSet": "zero"}',
        b'{"policyName": "static", "defaultCpuSet": 7}',
        b'{"policyName": "static", "entries": []}',
        b'{"policyName": "static", "entries": {"uid": 3}}',
        b'{"policyName": "static", "entries": {"uid": {"app": "3-1"}}}',
        b'{"policyName": "static", "entries": {"uid": {"app": null}}}',
        b'{"policyName": "static", "data": "{"}',
        b"[" * 100_000,
    ],
)
def test_anything_else_is_a_parse_error(data: bytes) -> None:
    with pytest.raises(ParseError, match=r"^cpu_manager_state: "):
        parse_cpu_manager_state(data, "cpu_manager_state")


def test_a_checkpoint_that_is_not_there_or_not_ours_is_absent(tmp_path: Path) -> None:
    assert read_cpu_manager_state(str(tmp_path / "cpu_manager_state")) is None
    assert read_cpu_manager_state(str(tmp_path)) is None


def test_recorded_checkpoints() -> None:
    files = [one.folder / "cpu_manager_state.json" for one in RECORDINGS if "kubelet" in one.name]
    states = [read_cpu_manager_state(str(file)) for file in files]
    assert len(states) == 2
    for state in states:
        assert state is not None
        assert (state.policy, state.default_cpus) == ("static", frozenset({0}))
        assert [(name, cpus) for (_, name), cpus in state.entries.items()] == [("pinned", frozenset({1}))]
