"""An hour of a node's life in real time: ``python -m tests.soak.hour --seconds 3600``.

The real process on this machine's real cgroups, with names from a kubelet's API over HTTP; containers that are
throttled, come, go and crash; now and then a fault; a scrape each 15 s as Prometheus takes it. Prints a line a minute,
a table and a summary in JSON at the end; exit code 1 when anything was wrong. Needs root and a hierarchy in which
cgroups can be made.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from exporter.lab.hierarchy import Hierarchy, LabError, writable_hierarchy
from exporter.lab.stale_marker import own_prefix
from exporter.lab.tree import KubepodsTree, remove_stale
from exporter.lab.workloads import Workforce
from tests.soak.hour.kubelet import kubelet
from tests.soak.hour.life import Faults, Life, faults, pauses
from tests.soak.hour.looks import Looker
from tests.soak.hour.minutes import Minute, core_percent, grown, summary, table
from tests.support.lab import in_background
from tests.support.pages import Page
from tests.support.process import Exporter, started

RECOVERY_SECONDS = 60.0
"""After the last fault all names must be back: the longest pause between two questions is half of it."""


@dataclass
class Hour:
    """What a run came to."""

    seconds: float = 0.0
    minutes: list[Minute] = field(default_factory=list)
    kinds: dict[str, int] = field(default_factory=dict)
    """Scrapes by form."""
    faults: list[str] = field(default_factory=list)
    made: int = 0
    log_lines: int = 0
    exit_code: int | None = None
    problems: list[str] = field(default_factory=list)

    def facts(self) -> list[tuple[str, str]]:
        """Single figures, for the table."""
        last = self.minutes[-1]
        worst = max(taken for minute in self.minutes for taken in minute.scrapes)
        counted = ", ".join(f"`{kind}` {number:g}" for kind, number in sorted(last.counted.items()))
        return [
            ("lasted", f"{self.seconds:.0f} s"),
            ("scrapes", ", ".join(f"{number} {kind}" for kind, number in sorted(self.kinds.items()))),
            ("worst scrape", f"{1000 * worst:.0f} ms"),
            ("CPU of the process", f"{core_percent(self.minutes):.2f} % of a core"),
            ("containers made", f"{self.made}"),
            ("faults", f"{len(self.faults)}: {', '.join(dict.fromkeys(self.faults)) or 'none'}"),
            ("failures counted", counted or "none"),
            ("lines logged", f"{self.log_lines}"),
            ("wrong", "; ".join(self.problems) or "nothing"),
        ]

    def told(self) -> dict[str, Any]:
        """For a program."""
        facts = {"seconds": round(self.seconds), "scrapes": self.kinds, "containers made": self.made}
        facts |= {"core percent": round(core_percent(self.minutes), 3), "counted": self.minutes[-1].counted}
        return summary(self.minutes, **facts, faults=len(self.faults), problems=self.problems)


def live(
    hierarchy: Hierarchy, folder: Path, *, seconds: float, every: float, minute: float, tell: Callable[[str], object]
) -> Hour:
    """So many seconds; ``every`` between two scrapes, ``minute`` between two looks at the process."""
    hour = Hour()
    with ExitStack() as stack:
        tree = stack.enter_context(KubepodsTree(hierarchy, own_prefix("hour")))
        served = stack.enter_context(kubelet())
        workforce = stack.enter_context(Workforce())
        life = Life(tree, workforce, served, lifetime=seconds + 600.0)
        root = tree.own_root(folder)
        options = [f"--path.cgroup={root}", "--pods.sources=kubelet", f"--kubelet.url={served.url}"]
        exporter = stack.enter_context(started([*options, "--kubelet.token-file=", "--kubelet.ca-file="]))
        kinds = faults(served, (exporter.host, exporter.port))
        pause, lasts = pauses(seconds, len(kinds))
        failing = Faults(kinds, pause=pause, lasts=lasts)
        exporter.page_when(lambda page: _unnamed(page) == 0)
        exporter.page_after_ticks()
        looker = Looker(exporter, tree, life.steady)
        began = time.monotonic()
        with in_background(life.run), in_background(failing.run):
            minutes = (began + minute * number for number in count(1))
            due = next(minutes)
            for number in count(1):
                looker.scrape()
                if time.monotonic() >= due:
                    due = next(minutes)
                    looker.look_around()
                    hour.minutes.append(looker.minute(life.made))
                    tell(hour.minutes[-1].line())
                time.sleep(max(0.0, began + min(seconds, number * every) - time.monotonic()))
                if time.monotonic() >= began + seconds or exporter.process.poll() is not None:
                    break
        hour.seconds = time.monotonic() - began
        if exporter.process.poll() is not None:
            raise AssertionError(f"it ended by itself with {exporter.process.returncode}\n{exporter.log[-5000:]}")
        _end(hour, exporter, looker, life.made)
        hour.minutes.append(looker.minute(life.made))
        hour.faults = [fault.name for fault in failing.begun]
        missing = failing.expected() - set(hour.minutes[-1].counted)
        hour.problems += [f"nothing told of {kind}" for kind in sorted(missing)]
        hour.exit_code = exporter.stop()
        hour.log_lines = len(exporter.lines)
        hour.problems += [*looker.problems, *grown(hour.minutes)]
        if hour.exit_code != 0:
            hour.problems.append(f"ended with {hour.exit_code}: {exporter.log[-2000:]}")
    hour.made, hour.kinds = life.made, dict(looker.kinds)
    return hour


def _end(hour: Hour, exporter: Exporter, looker: Looker, made: int) -> None:
    """When nothing fails any more, all that is there has its name again."""
    try:
        exporter.page_when(lambda page: _unnamed(page) == 0, timeout=RECOVERY_SECONDS)
    except (AssertionError, OSError) as error:
        hour.problems.append(f"not all names came back: {str(error)[:500]}")
    looker.scrape()
    looker.look_around()


def _unnamed(page: Page) -> float:
    return page.total("throttle_exporter_cgroups", state="unmapped") + page.total(
        "throttle_exporter_cgroups", state="pending"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--every", type=float, default=15.0, help="seconds between two scrapes")
    options = parser.parse_args()
    try:
        hierarchy = writable_hierarchy()
    except LabError as error:
        sys.exit(f"hour: {error}")
    remove_stale(hierarchy)

    def tell(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    with tempfile.TemporaryDirectory() as folder:
        hour = live(
            hierarchy,
            Path(folder),
            seconds=options.seconds,
            every=options.every,
            minute=min(60.0, options.seconds / 6),
            tell=tell,
        )
    tell("\n" + "\n".join(table(hour.minutes, hour.facts())) + "\n")
    tell(json.dumps(hour.told()))
    return bool(hour.problems)


if __name__ == "__main__":
    sys.exit(main())
