"""The CPU manager's checkpoint, ``/var/lib/kubelet/cpu_manager_state`` (kubelet ``cpumanager/state/checkpoint.go``).

Its ``entries``: ``{CONTAINER_ID: "0-3"}`` (version 1) or ``{POD_UID: {CONTAINER_NAME: "0-3"}}`` (2); besides them
``podEntries: {POD_UID: {"cpuSet": "0-7"}}`` (3, Kubernetes 1.36); all of it once more as a JSON string, ``data``, which
then counts (4, 1.37). The checksum is over Go's dump of a structure and means nothing to others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from exporter.cpulist import cpu_list
from exporter.errors import ParseError
from exporter.model import CpuManagerState
from exporter.node.machine import read_file


def read_cpu_manager_state(path: str) -> CpuManagerState | None:
    """Return the checkpoint; ``None`` where it is absent or may not be read (mode 0600). Raises ``ParseError``."""
    data = read_file(path)
    return None if data is None else parse_cpu_manager_state(data, path)


def parse_cpu_manager_state(data: bytes, path: str) -> CpuManagerState:
    """Return the checkpoint in ``data``; what it does not know it leaves alone. Raises ``ParseError``."""
    state = _object(data, path)
    inner = state.get("data")
    if isinstance(inner, str) and inner:
        state = _object(inner, path)
    policy, entries = state.get("policyName"), {} if state.get("entries") is None else state["entries"]
    if not isinstance(policy, str) or not policy or not isinstance(entries, dict):
        raise ParseError(path, str(state), "no policyName, or entries that are no object")
    found = {}
    for name, value in entries.items():
        # No container can be called cpuSet: names have no capitals.
        if not isinstance(value, dict) or "cpuSet" in value:
            found["", name] = _cpus(value, path)
        else:
            found |= {(name, container): _cpus(cpus, path) for container, cpus in value.items()}
    return CpuManagerState(policy, _cpus(state.get("defaultCpuSet", ""), path), found)


def _object(text: bytes | str, path: str) -> Mapping[str, object]:
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ParseError(path, text, "not JSON") from error
    if not isinstance(found, dict):
        raise ParseError(path, text, "not a JSON object")
    return found


def _cpus(value: object, path: str) -> frozenset[int]:
    text = value.get("cpuSet") if isinstance(value, dict) else value
    if not isinstance(text, str):
        raise ParseError(path, str(value), "not a list of CPUs")
    return cpu_list(text, path)
