"""The one sentence that says it: of the node, and of a container. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from exporter.analysis import text as words
from exporter.report import Container, ContainersDocument, Finding

_ACRONYMS: Final = {"cpu": "CPU", "numa": "NUMA"}


def troubles(findings: Iterable[Finding]) -> list[Finding]:
    """Those findings that ask for something: an ``info`` only explains."""
    return [finding for finding in findings if finding["severity"] != "info"]


def suffers(container: Container) -> bool:
    """Whether something is wrong with it, and it is still there to be helped."""
    return container["live"] and bool(troubles(container["findings"]))


def headline(document: ContainersDocument) -> str:
    """``3 of 12 containers suffer``."""
    containers, exporter = document["containers"], document["exporter"]
    pending = exporter["cgroups"].get("pending", 0)
    if exporter["age_seconds"] is None:
        return "No sample has been taken yet"
    if not containers and pending:
        return f"{words.count(pending, 'container')} found, waiting for the pods’ names"
    if not containers:
        return "No container runs on this node"
    suffering = sum(map(suffers, containers))
    if suffering:
        total = words.count(len(containers), "container")
        return f"{suffering} of {total} {'suffers' if suffering == 1 else 'suffer'}"
    few = {1: "The container is well", 2: "Both containers are well"}
    well = few.get(len(containers), f"All {len(containers)} containers are well")
    return f"{well}, the node is not" if troubles(document["node_findings"]) else well


def of_container(container: Container) -> str:
    """What the page about it begins with."""
    found = troubles(container["findings"])
    if not container["live"]:
        return "It is gone: only its last counters are left."
    if found:
        others = f", and {words.count(len(found) - 1, 'more finding')}" if len(found) > 1 else ""
        return f"{found[0]['severity'].capitalize()}: {lowered(titled(found[0]))}{others}."
    if container["usage_cores"] is None and container["throttling"]["ratio"] is None:
        return "Nothing is known yet: it has been watched for too short a time."
    said = "; ".join(_health(container))
    return f"It is well: {said}." if said else "It is well: nothing was found."


def titled(finding: Finding) -> str:
    """``throttled_below_limit`` as a heading: ``Throttled below limit``."""
    title = " ".join(_ACRONYMS.get(word, word) for word in finding["name"].split("_"))
    return title[:1].upper() + title[1:]


def lowered(title: str) -> str:
    """A title in the middle of a sentence."""
    return title if title.split(" ", 1)[0].isupper() else title[:1].lower() + title[1:]


def _health(container: Container) -> Iterator[str]:
    """The numbers that show that nothing is wrong."""
    throttling, usage = container["throttling"], container["usage_cores"]
    if throttling["periods"] == 0:
        yield "it was idle, so its quota was not in its way"
    elif throttling["periods"] is not None and throttling["throttled_periods"] is not None:
        yield f"throttled in {throttling['throttled_periods']} of {words.count(throttling['periods'], 'active period')}"
    elif container["quota_state"] == "none":
        yield "it has no quota, so nothing of its own can throttle it"
    if usage is not None:
        limit = container["limit_cores"]
        yield f"it uses {words.cpus(usage)}" + (f" of its limit of {words.cpus(limit)}" if limit else "")
    waiting = container["pressure"]["waiting_share"]
    if waiting is not None:
        yield f"it waited for a CPU {words.percent(waiting)} of the time"
