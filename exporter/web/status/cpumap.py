"""The node's CPUs by NUMA node: who owns which, and how busy it is. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from exporter.analysis import text as words
from exporter.cpulist import format_cpu_list
from exporter.report import Container, Cpu, Node
from exporter.web.status import figures
from exporter.web.status.label import Label, label

MOST: Final = 1024
"""CPUs that are drawn. The largest machines sold have fewer; what sysfs may say is bounded by the format only."""
LEVELS: Final = 20
"""Steps in which a cell is filled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One CPU."""

    cpu: int
    state: str
    """``exclusive``, ``shared`` or ``unknown``."""
    reserved: bool
    mark: str
    """Its owner's; empty in the shared pool."""
    busy: str
    level: int
    """0 to :data:`LEVELS`."""
    text: str
    """All of it in words."""


@dataclass(frozen=True, slots=True)
class Area:
    """The CPUs of one NUMA node."""

    title: str
    text: str
    cells: Sequence[Cell]


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A line of the legend: a container with CPUs of its own, or the shared pool (without a name)."""

    mark: str
    name: Label | None
    cpus: str
    number: int
    numa: str
    busy: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuMap:
    """The whole section."""

    summary: str
    areas: Sequence[Area]
    legend: str
    hidden: int
    """CPUs that are not drawn."""
    holders: Sequence[Holder]
    overlaps: Sequence[tuple[Label, Label, str, str]]
    """Who may run on whose CPUs, which, for how long."""


def cpu_map(node: Node, containers: Iterable[Container]) -> CpuMap:
    """Of a node and what runs on it."""
    cpus = node["cpus"]
    owners = list(dict.fromkeys(owner for cpu in cpus if (owner := _owner(cpu)) is not None))
    marks = {owner: _mark(at) for at, owner in enumerate(owners)}
    shown = sorted(cpus[:MOST], key=_numa)
    return CpuMap(
        summary=_summary(node),
        areas=[_area(numa, list(group), marks) for numa, group in groupby(shown, key=_numa)],
        legend=_legend(cpus, owned=bool(owners)) if cpus else "",
        hidden=max(0, len(cpus) - MOST),
        holders=[
            *(_holder([cpu for cpu in cpus if _owner(cpu) == owner], owner, mark) for owner, mark in marks.items()),
            *_pool(cpus, containers),
        ],
        overlaps=[
            (label(one["other"]), label(one["owner"]), one["cpus"], figures.seconds(one["seconds"]))
            for one in node["overlaps"]
        ],
    )


def _owner(cpu: Cpu) -> Label | None:
    return None if cpu["owner"] is None else label(cpu["owner"])


def _numa(cpu: Cpu) -> int:
    return -1 if cpu["numa_node"] is None else cpu["numa_node"]


def _mark(at: int) -> str:
    """A to Z, then A2 to Z2, and so on."""
    again = at // 26
    return chr(ord("A") + at % 26) + (str(again + 1) if again else "")


def _area(numa: int, cpus: Sequence[Cpu], marks: dict[Label, str]) -> Area:
    title = "NUMA node not known" if numa < 0 else f"NUMA node {numa}"
    text = f"CPUs {format_cpu_list(cpu['cpu'] for cpu in cpus)}, busy: {_busy(cpus)}"
    return Area(title, text, [_cell(cpu, marks) for cpu in cpus])


def _cell(cpu: Cpu, marks: dict[Label, str]) -> Cell:
    owner, share = _owner(cpu), cpu["busy_share"]
    state = cpu["state"] or "unknown"
    whose = f"belongs to {owner.full}" if owner else "in the shared pool" if state == "shared" else "owner not known"
    parts = [f"CPU {cpu['cpu']}: {whose}", "busy: " + (figures.NOT_KNOWN if share is None else words.percent(share))]
    parts += ["reserved for the system"] if cpu["reserved"] else []
    parts += [f"{words.percent(cpu['steal_share'])} stolen by the hypervisor"] if cpu["steal_share"] else []
    parts += [f"{words.percent(cpu['irq_share'])} in interrupts"] if cpu["irq_share"] else []
    return Cell(
        cpu=cpu["cpu"],
        state=state,
        reserved=bool(cpu["reserved"]),
        mark=marks[owner] if owner else "",
        busy=figures.ABSENT if share is None else f"{100 * share:.0f} %",
        level=0 if share is None else round(LEVELS * min(1.0, max(0.0, share))),
        text=", ".join(parts),
    )


def _holder(cpus: Sequence[Cpu], owner: Label | None, mark: str, note: str = "") -> Holder:
    numa = {cpu["numa_node"] for cpu in cpus if cpu["numa_node"] is not None}
    return Holder(
        mark=mark,
        name=owner,
        cpus=format_cpu_list(cpu["cpu"] for cpu in cpus),
        number=len(cpus),
        numa=format_cpu_list(numa) or figures.ABSENT,
        busy=_busy(cpus),
        note=note,
    )


def _pool(cpus: Sequence[Cpu], containers: Iterable[Container]) -> Iterator[Holder]:
    shared = [cpu for cpu in cpus if cpu["state"] == "shared"]
    if shared:
        users = sum(one["live"] and one["isolation"] in {"shared", "eligible"} for one in containers)
        yield _holder(shared, None, "", note=words.count(users, "container"))


def _busy(cpus: Sequence[Cpu]) -> str:
    shares = [cpu["busy_share"] for cpu in cpus if cpu["busy_share"] is not None]
    return words.percent(sum(shares) / len(shares)) if shares else figures.NOT_KNOWN


def _legend(cpus: Sequence[Cpu], *, owned: bool) -> str:
    """Of what is in the map."""
    parts = ["A cell is filled as far as its CPU was busy over the last window."]
    parts += ["A letter is its owner’s, below."] if owned else []
    parts += ["A dashed border: reserved for the system."] if any(cpu["reserved"] for cpu in cpus) else []
    return " ".join(parts)


def _summary(node: Node) -> str:
    cpus, manager = node["cpus"], node["cpu_manager"]
    if not cpus:
        return "Which CPUs are online is not known: the exporter cannot read it from sysfs (--path.sys)."
    counts = [f"{words.count(len(cpus), 'CPU')} online"]
    for state, text in (("exclusive", "owned by one container alone"), ("shared", "shared")):
        number = sum(cpu["state"] == state for cpu in cpus)
        counts += [f"{number} {text}"] if number else []
    reserved = sum(bool(cpu["reserved"]) for cpu in cpus)
    counts += [f"{reserved} reserved for the system"] if reserved else []
    policy = manager and manager["policy"]
    return f"{', '.join(counts)}. CPU manager policy: {policy or figures.NOT_KNOWN}."
