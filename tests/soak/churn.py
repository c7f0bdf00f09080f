"""Containers made and removed by the thousand in this machine's real cgroups, under a process that is scraped.

``python -m tests.soak.churn --containers 10000`` is the whole run; the tests do a smaller one. Needs root and a
hierarchy in which cgroups can be made.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from statistics import median

from exporter.lab.hierarchy import Hierarchy, LabError, writable_hierarchy
from exporter.lab.owner import own_prefix
from exporter.lab.spec import Container, CpuSettings, Pod, Workload
from exporter.lab.tree import KubepodsTree
from exporter.lab.workloads import Workforce
from tests.support.lab import CONTAINER, errors, in_background, pod_list_text
from tests.support.lab import pod as lab_pod
from tests.support.pages import Page, duplicates, triples
from tests.support.process import Exporter, started

CONTAINERS_A_POD = 4
PODS_A_BATCH = 8
_OPEN_FDS = re.compile(rb"^process_open_fds (\S+)$", re.MULTILINE)
STEADY = lab_pod("steady", Container(name="busy", limit_cores=0.1))
RISES = [CONTAINER + name for name in ("cpu_periods_total", "cpu_throttled_seconds_total", "cpu_usage_seconds_total")]


@dataclass(frozen=True)
class Scrape:
    """One page as it was taken, and the process behind it."""

    status: int
    seconds: float
    page: bytes
    """Compressed: it is looked at in the end, for to parse thousands of containers takes longer than to serve them."""
    descriptors: int
    watches: int
    resident: int
    """Bytes."""


@dataclass
class Outcome:
    """What a run came to."""

    made: int = 0
    """Containers, restarts included."""
    seconds: float = 0.0
    scrapes: list[Scrape] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """What a scrape must not show."""
    samples: int = 0
    """Of the largest page."""
    named: set[tuple[str, str, str]] = field(default_factory=set)
    """Containers that were on a page under their own names."""
    counted: dict[str, float] = field(default_factory=dict)
    """Failures that the exporter counted, by stage and reason."""
    before: Scrape | None = None
    """With nothing but the steady container, before."""
    after: Scrape | None = None
    """The same when all others are gone and their last counters with them."""

    def resident_growth(self) -> int:
        """Bytes between the medians of the second and the last third of the scrapes; the first warms up."""
        third = len(self.scrapes) // 3
        middle, last = self.scrapes[third : 2 * third], self.scrapes[2 * third :]
        return round(median(one.resident for one in last) - median(one.resident for one in middle))


class Churn:
    """Makes batches of pods, restarts a container of each, and removes them, two batches overlapping."""

    def __init__(self, tree: KubepodsTree, pods_file: Path, outcome: Outcome, *, containers: int, life: float) -> None:
        self._tree, self._file, self._outcome = tree, pods_file, outcome
        self._containers, self._life = containers, life
        self._numbers = count()
        self._steady = STEADY.identified(tree.prefix)
        self._alive: list[list[Pod]] = []

    @property
    def steady(self) -> Pod:
        """The pod that stays."""
        return self._steady

    def relist(self) -> None:
        """The list names what is alive now; it changes in one step."""
        fresh = self._file.with_suffix(".fresh")
        fresh.write_text(pod_list_text([self._steady, *(pod for batch in self._alive for pod in batch)]))
        fresh.rename(self._file)

    def run(self, stop: threading.Event) -> None:
        """Until so many containers were made."""
        began = time.monotonic()
        while self._outcome.made < self._containers and not stop.is_set():
            self._alive.append([self._make() for _ in range(PODS_A_BATCH)])
            self.relist()
            stop.wait(self._life / 2)
            self._alive[-1] = [self._restart(pod) for pod in self._alive[-1]]
            self.relist()
            if len(self._alive) > 1:
                self._remove(self._alive.pop(0))
            stop.wait(self._life / 2)
        for batch in self._alive:
            self._remove(batch)
        self._alive.clear()
        self.relist()
        self._outcome.seconds = time.monotonic() - began

    def _make(self) -> Pod:
        number = next(self._numbers)
        names = [Container(name=f"c{n}", limit_cores=0.1) for n in range(CONTAINERS_A_POD)]
        made = lab_pod(f"fleeting-{number}", *names).identified(self._tree.prefix)
        self._tree.add_pod(made)
        self._outcome.made += CONTAINERS_A_POD
        return made

    def _restart(self, pod: Pod) -> Pod:
        """The first container dies and comes again under another id."""
        first, *others = pod.containers
        self._tree.remove(self._tree.container_group(pod, first))
        again = replace(first, container_id=first.container_id[::-1])
        self._tree.make(self._tree.container_group(pod, again), CpuSettings(quota_cores=0.1, shares=102))
        self._outcome.made += 1
        return replace(pod, containers=(again, *others))

    def _remove(self, batch: Sequence[Pod]) -> None:
        for pod in batch:
            self._tree.remove_pod(pod)


def scrape(exporter: Exporter) -> Scrape:
    """One page."""
    began, pid = time.monotonic(), exporter.process.pid
    answer = exporter.get("/metrics")
    seconds = time.monotonic() - began
    # Its own count, which has this connection in it: from outside one cannot tell whether that is closed yet.
    descriptors = _OPEN_FDS.search(answer.body)
    return Scrape(
        answer.status,
        seconds,
        zlib.compress(answer.body, 1),
        round(float(descriptors[1])) if descriptors else 0,
        watches(pid),
        resident(pid),
    )


class Look:
    """Looks at pages in the order in which they were taken; what is wrong is a problem of the outcome."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome
        self._risen: Counter[str] = Counter()

    def at(self, taken: Scrape) -> None:
        """One page."""
        page = Page(zlib.decompress(taken.page).decode(), "text/plain")
        self._outcome.samples = max(self._outcome.samples, len(page.samples))
        self._outcome.counted = errors(page)
        problems = self._outcome.problems
        if taken.status != 200:
            problems.append(f"status {taken.status}")
        if twice := duplicates(page.text):
            problems.append(f"samples twice: {list(twice)[:3]}")
        shown = triples(page.rows(RISES[0]))
        self._outcome.named |= {one for one in shown if one[0] and one[1] != STEADY.name}
        for name in RISES:
            value = page.total(name, pod=STEADY.name)
            if value < self._risen[name]:
                problems.append(f"{name} of the steady container fell from {self._risen[name]} to {value}")
            self._risen[name] = value  # type: ignore[assignment] # a Counter of floats
        outside = [value for value in page.rows(CONTAINER + "cpu_throttled_ratio").values() if not 0 <= value <= 1]
        problems += [f"a ratio of {value}" for value in outside]


def watches(pid: int) -> int:
    """inotify watches of a process, as the kernel counts them."""
    return sum(text.count("inotify wd:") for text in _texts(Path(f"/proc/{pid}/fdinfo")))


def _texts(folder: Path) -> Iterator[str]:
    for file in folder.iterdir():
        try:
            yield file.read_text()
        except FileNotFoundError:
            continue  # closed meanwhile


def resident(pid: int) -> int:
    """``VmRSS`` in bytes."""
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


@contextmanager
def only(tree: KubepodsTree, folder: Path) -> Iterator[Path]:
    """A root that shows this tree alone: other cgroups of the machine come and go as they like."""
    if tree.hierarchy.version == "v2":
        yield tree.hierarchy.root / tree.prefix
        return
    root = folder / "cgroup"
    root.mkdir()
    for controller, mount in tree.hierarchy.mounts.items():
        (root / controller).symlink_to(mount / tree.prefix)
    yield root


def churn(
    hierarchy: Hierarchy, folder: Path, *, containers: int, scrape_seconds: float, linger: int, life: float
) -> Outcome:
    """Lives through it; ``linger`` and all others in seconds."""
    outcome = Outcome()
    with ExitStack() as stack:
        tree = stack.enter_context(KubepodsTree(hierarchy, own_prefix("churn")))
        churning = Churn(tree, folder / "pods.json", outcome, containers=containers, life=life)
        tree.add_pod(churning.steady)
        churning.relist()
        workforce = stack.enter_context(Workforce())
        members = tree.members(tree.container_group(churning.steady, churning.steady.containers[0]))
        workforce.start(Workload(kind="busy"), members, lifetime=3600.0)
        root = stack.enter_context(only(tree, folder))
        flags = [f"--path.cgroup={root}", f"--pods.sources=file:{folder / 'pods.json'}", f"--sample.linger={linger}s"]
        exporter = stack.enter_context(started([*flags, "--scan.interval=2s"]))
        for _ in range(3):
            outcome.before = scrape(exporter)
        with in_background(churning.run):
            while not outcome.seconds:
                due = time.monotonic() + scrape_seconds
                outcome.scrapes.append(scrape(exporter))
                time.sleep(max(0.0, due - time.monotonic()))
        gone = exporter.page_when(_is_quiet, timeout=linger + 30.0)
        outcome.after = scrape(exporter)
        outcome.problems += [
            f"{name} is still shown" for _, name, _ in triples(gone.rows(RISES[0])) if name != "steady"
        ]
        if "Traceback" in exporter.log or exporter.process.poll() is not None:
            outcome.problems.append(exporter.log[-3000:])
    look = Look(outcome)
    for taken in (*outcome.scrapes, outcome.after):
        look.at(taken)
    return outcome


def _is_quiet(page: Page) -> bool:
    states = ("mapped", "unmapped", "pending", "lingering")
    numbers = [page.get("throttle_exporter_cgroups", state=state) for state in states]
    return numbers == [1, 0, 0, 0]


def told(outcome: Outcome) -> Iterator[str]:
    """The numbers of a run, a line each."""
    scrapes, before, after = outcome.scrapes, outcome.before, outcome.after
    if before is None or after is None:
        raise ValueError("a run that did not end")
    times = sorted(one.seconds for one in scrapes)
    kept = ("descriptors", "watches", "resident")
    most = {name: max(getattr(one, name) for one in scrapes) for name in kept}
    rate = outcome.made / outcome.seconds
    rows = (
        ("containers made and removed", f"{outcome.made} in {outcome.seconds:.0f} s, {rate:.0f} a second"),
        ("names seen on a page", f"{len(outcome.named)}"),
        ("scrapes by status", f"{dict(Counter(one.status for one in scrapes))}"),
        ("samples of a page", f"up to {outcome.samples}"),
        ("seconds of a scrape", f"median {median(times):.3f}, worst {times[-1]:.3f}"),
        ("failures counted", f"{outcome.counted or 'none'}"),
        ("descriptors", f"{before.descriptors} before, up to {most['descriptors']}, {after.descriptors} after"),
        ("inotify watches", f"{before.watches} before, up to {most['watches']}, {after.watches} after"),
        (
            "resident memory, MB",
            f"{before.resident / 1e6:.1f} before, up to {most['resident'] / 1e6:.1f}, {after.resident / 1e6:.1f} after",
        ),
        ("growth, second to last third", f"{outcome.resident_growth() / 1e6:+.2f} MB"),
        ("problems", f"{outcome.problems or 'none'}"),
    )
    for name, text in rows:
        yield f"{name:30}{text}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--containers", type=int, default=10_000)
    parser.add_argument("--scrape", type=float, default=1.0, help="seconds between scrapes")
    parser.add_argument("--linger", type=int, default=60, help="--sample.linger of the exporter, seconds")
    parser.add_argument("--life", type=float, default=1.0, help="seconds between making a batch and the next")
    options = parser.parse_args()
    try:
        hierarchy = writable_hierarchy()
    except LabError as error:
        sys.exit(f"churn: {error}")
    with tempfile.TemporaryDirectory() as folder:
        outcome = churn(
            hierarchy,
            Path(folder),
            containers=options.containers,
            scrape_seconds=options.scrape,
            linger=options.linger,
            life=options.life,
        )
    sys.stdout.write("\n".join(told(outcome)) + "\n")
    return bool(outcome.problems)


if __name__ == "__main__":
    sys.exit(main())
