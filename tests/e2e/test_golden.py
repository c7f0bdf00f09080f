"""One whole page for each recorded node, as the real process serves it, kept under ``tests/golden``.

What changes from run to run is left out by one rule, :func:`kept`: of the exporter's own metrics only HELP and TYPE
stay, of ``process_*`` and ``python_*`` nothing, and the samples of a family are sorted. ``make golden`` rewrites the
files; read their diff, HELP included.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import pytest

from exporter.metrics.catalog import CADVISOR_FAMILIES, FAMILIES
from exporter.metrics.metric import Collector
from tests.conftest import needs
from tests.e2e.conftest import FAST, Observed, page_where, pods_of
from tests.support.pages import Page, duplicates, misplaced_families
from tests.support.process import run, started, tree_options
from tests.support.recordings import RECORDINGS, advance, copied, overwrite

GOLDEN = Path(__file__).parent.parent / "golden"

_ENVIRONMENT = re.compile(r"(# (HELP|TYPE) )?(process|python)_")
_OWN = re.compile(r"throttle_exporter_")


def kept(text: str) -> Iterator[str]:
    """The lines of a page that are the same on every machine and at every run."""
    block: list[str] = []
    for line in text.splitlines(keepends=True):
        if _ENVIRONMENT.match(line) or _OWN.match(line):
            continue
        if line.startswith("#"):
            yield from sorted(block)
            block = []
            yield line
        else:
            block.append(line)
    yield from sorted(block)


@pytest.mark.golden
def test_the_page_is_the_golden_one(observed: Observed, generated: Callable[[Path, str], None]) -> None:
    generated(GOLDEN / f"{observed.recording.name}.txt", "".join(kept(observed.first.text)))


@pytest.mark.golden
def test_a_kernel_with_schedstats_adds_waiting_times(tmp_path: Path, generated: Callable[[Path, str], None]) -> None:
    # No recorded kernel had schedstats on; kernel 6.18 spells the line like this.
    recording = next(one for one in RECORDINGS if one.is_v1)
    tree = copied(recording, tmp_path / "tree")
    for number, file in enumerate(sorted((tree / "sys/fs/cgroup/cpu").rglob("*/cpu.stat")), 1):
        overwrite(file, file.read_bytes() + f"wait_sum {number}500000000\n".encode())
    others = [f"--no-collector.{name}" for name in get_args(Collector) if name != "pressure"]

    # With names: without, the inodes of the copy decide which cgroup of a pod is taken for its sandbox.
    page = run("once", *tree_options(tree), f"--pods.sources=file:{recording.pods}", *others).stdout

    generated(GOLDEN / "schedstats.txt", "".join(kept(page)))


@pytest.mark.golden
def test_what_is_learned_from_bursts_follows_them(tmp_path: Path, generated: Callable[[Path, str], None]) -> None:
    recording = next(one for one in RECORDINGS if one.name == "linux-6.1-cgroup-v2-cgroupfs")
    tree = copied(recording, tmp_path / "tree")
    others = [f"--no-collector.{name}" for name in get_args(Collector) if name != "recommend"]
    with pods_of(recording, tmp_path) as source, started([*tree_options(tree), *FAST, *others, *source]) as exporter:
        exporter.page_after_ticks(2)
        advance(tree, recording)
        learned = page_where(exporter, lambda page: len(page.rows("cgroup_container_cpu_recommended_limit_cores")) == 2)

    generated(GOLDEN / "recommended.txt", "".join(kept(learned.text)))


def test_every_metric_of_the_catalogue_has_a_sample_on_a_golden_page() -> None:
    lines = [line for page in GOLDEN.glob("*.txt") for line in page.read_text(encoding="utf-8").splitlines()]
    names = {re.split(r"[{ ]", line, maxsplit=1)[0] for line in lines if not line.startswith("#")}
    absent = [one.name for one in (*FAMILIES, *CADVISOR_FAMILIES) if names.isdisjoint({one.name, f"{one.name}_bucket"})]

    assert absent == [], "extend a recording, or add the option that serves the metric to tests/e2e/conftest.py"


@pytest.fixture(params=["first", "second"])
def page(request: pytest.FixtureRequest, observed: Observed) -> Page:
    found: Page = getattr(observed, request.param)
    return found


def test_promtool_has_nothing_to_say(page: Page) -> None:
    check = subprocess.run(
        [needs("promtool"), "check", "metrics"], input=page.text, capture_output=True, text=True, check=False
    )

    assert (check.returncode, check.stdout, check.stderr) == (0, "", "")


def test_a_page_is_in_order(page: Page) -> None:
    assert duplicates(page.text) == {}
    assert misplaced_families(page.text) == []
    # Errors are counted from the first one on.
    assert {family.name for family in page.families if not family.samples} <= {"throttle_exporter_errors"}
    assert not page.total("throttle_exporter_errors_total"), "a healthy node has none"


def test_both_formats_parse_and_say_the_same(observed: Observed) -> None:
    text, openmetrics = observed.first, observed.first_openmetrics

    assert not text.is_openmetrics
    assert openmetrics.is_openmetrics
    assert openmetrics.text.endswith("# EOF\n")
    assert duplicates(openmetrics.text) == {}
    assert _of_cgroups(openmetrics) == _of_cgroups(text)
    assert _of_cgroups(text)


def _of_cgroups(page: Page) -> dict[object, float]:
    return {key: value for key, value in page.samples.items() if key[0].startswith("cgroup_")}


def test_the_process_ends_cleanly_and_logs_no_error(observed: Observed) -> None:
    assert observed.exit_code == 0, observed.log
    assert [line for line in observed.log.splitlines() if re.search(r"level=\"?(error|warn)|Traceback", line)] == []
