"""The node's CPUs by NUMA node: the owner of each, and how busy it is. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from exporter.analysis import text
from exporter.cpulist import format_cpu_list
from exporter.model import CgroupName
from exporter.report import Container, Cpu, Node
from exporter.report.summary import cpu_ranges, duration

MAX_CELLS: Final = 1024
"""CPUs that are drawn. The largest machines sold have fewer; sysfs allows more."""
LEVELS: Final = 20
"""Steps in which a cell is filled."""
UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One CPU."""

    cpu: int
    state: str
    """``exclusive``, ``shared`` or ``unknown``."""
    reserved: bool
    letter: str
    """Its owner's; empty in the shared pool."""
    busy: str
    level: int
    """0 to :data:`LEVELS`."""
    text: str
    """All of it in words."""


@dataclass(frozen=True, slots=True)
class NumaNode:
    """The CPUs of one NUMA node."""

    title: str
    text: str
    cells: Sequence[Cell]


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A line of the legend: a container with exclusive CPUs, or the shared pool (without a name)."""

    letter: str
    name: CgroupName | None
    cpus: str
    numa: str
    busy: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuMap:
    """The whole section."""

    summary: str
    numa_nodes: Sequence[NumaNode]
    legend: str
    hidden: int
    """CPUs that are not drawn."""
    owners: Sequence[Owner]
    overlaps: Sequence[tuple[CgroupName, CgroupName, str, str]]
    """A container, the owner on whose CPUs it may run, which CPUs, for how long."""


def cpu_map(node: Node, containers: Iterable[Container]) -> CpuMap:
    """Return the map of a node and its containers."""
    cpus = node["cpus"]
    owners = list(dict.fromkeys(owner for cpu in cpus if (owner := _owner_of(cpu)) is not None))
    letters = {owner: _letter(at) for at, owner in enumerate(owners)}
    shown = sorted(cpus[:MAX_CELLS], key=_numa)
    return CpuMap(
        summary=_summary(node),
        numa_nodes=[_numa_node(numa, list(group), letters) for numa, group in groupby(shown, key=_numa)],
        legend=_legend(cpus, owned=bool(owners)) if cpus else "",
        hidden=max(0, len(cpus) - MAX_CELLS),
        owners=[
            *(
                _owner([cpu for cpu in cpus if _owner_of(cpu) == name], name, letter)
                for name, letter in letters.items()
            ),
            *_pool(cpus, containers),
        ],
        overlaps=[
            (CgroupName(**one["other"]), CgroupName(**one["owner"]), one["cpus"], duration(one["seconds"]))
            for one in node["overlaps"]
        ],
    )


def _owner_of(cpu: Cpu) -> CgroupName | None:
    return None if cpu["owner"] is None else CgroupName(**cpu["owner"])


def _numa(cpu: Cpu) -> int:
    return -1 if cpu["numa_node"] is None else cpu["numa_node"]


def _letter(at: int) -> str:
    """A to Z, then A2 to Z2, and so on."""
    round_ = at // 26
    return chr(ord("A") + at % 26) + (str(round_ + 1) if round_ else "")


def _numa_node(numa: int, cpus: Sequence[Cpu], letters: dict[CgroupName, str]) -> NumaNode:
    title = "NUMA node unknown" if numa < 0 else f"NUMA node {numa}"
    numbers = cpu_ranges(format_cpu_list(cpu["cpu"] for cpu in cpus))
    return NumaNode(title, f"CPUs {numbers}, busy: {_busy(cpus)}", [_cell(cpu, letters) for cpu in cpus])


def _cell(cpu: Cpu, letters: dict[CgroupName, str]) -> Cell:
    owner, share = _owner_of(cpu), cpu["busy_share"]
    state = cpu["state"] or UNKNOWN
    whose = f"exclusive of {text.full_name(owner)}" if owner else {"shared": "shared"}.get(state, "owner unknown")
    parts = [f"CPU {cpu['cpu']}: {whose}", "busy: " + (UNKNOWN if share is None else text.percent(share))]
    parts += ["reserved for the system"] if cpu["reserved"] else []
    parts += [f"{text.percent(cpu['steal_share'])} stolen by the hypervisor"] if cpu["steal_share"] else []
    parts += [f"{text.percent(cpu['irq_share'])} in interrupts"] if cpu["irq_share"] else []
    return Cell(
        cpu=cpu["cpu"],
        state=state,
        reserved=bool(cpu["reserved"]),
        letter=letters[owner] if owner else "",
        busy="–" if share is None else f"{100 * share:.0f} %",
        level=0 if share is None else round(LEVELS * min(1.0, max(0.0, share))),
        text=", ".join(parts),
    )


def _owner(cpus: Sequence[Cpu], name: CgroupName | None, letter: str, note: str = "") -> Owner:
    numa = {cpu["numa_node"] for cpu in cpus if cpu["numa_node"] is not None}
    return Owner(
        letter=letter,
        name=name,
        cpus=cpu_ranges(format_cpu_list(cpu["cpu"] for cpu in cpus)),
        numa=format_cpu_list(numa) or "–",
        busy=_busy(cpus),
        note=note,
    )


def _pool(cpus: Sequence[Cpu], containers: Iterable[Container]) -> Iterator[Owner]:
    shared = [cpu for cpu in cpus if cpu["state"] == "shared"]
    if shared:
        users = sum(one["live"] and one["isolation"] in {"shared", "eligible"} for one in containers)
        yield _owner(shared, None, "", note=text.count(users, "container"))


def _busy(cpus: Sequence[Cpu]) -> str:
    shares = [cpu["busy_share"] for cpu in cpus if cpu["busy_share"] is not None]
    return text.percent(sum(shares) / len(shares)) if shares else UNKNOWN


def _legend(cpus: Sequence[Cpu], *, owned: bool) -> str:
    parts = ["A cell is filled by the share of the last window in which its CPU was busy."]
    parts += ["A letter is its owner’s, below."] if owned else []
    parts += ["A dashed border: reserved for the system."] if any(cpu["reserved"] for cpu in cpus) else []
    return " ".join(parts)


def _summary(node: Node) -> str:
    cpus, manager = node["cpus"], node["cpu_manager"]
    if not cpus:
        return "Which CPUs are online is unknown: the exporter cannot read it from sysfs (--path.sys)."
    counts = [f"{text.count(len(cpus), 'CPU')} online"]
    for state, meaning in (("exclusive", "exclusive to one container"), ("shared", "shared")):
        number = sum(cpu["state"] == state for cpu in cpus)
        counts += [f"{number} {meaning}"] if number else []
    reserved = sum(bool(cpu["reserved"]) for cpu in cpus)
    counts += [f"{reserved} reserved for the system"] if reserved else []
    return f"{', '.join(counts)}. CPU manager policy: {(manager and manager['policy']) or UNKNOWN}."
