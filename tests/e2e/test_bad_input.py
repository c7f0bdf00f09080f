"""Bad kernel files through the real process: each costs its own samples and one counted error, never the page.

Every case spoils files of one container, looks at the page, and mends them again under the same process.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.conftest import FAST
from tests.support.pages import Key, Page, duplicates
from tests.support.process import Exporter, started
from tests.support.recordings import overwrite
from tests.support.treebuilder import ExpectedContainer, Tree
from tests.support.trees import containerd_systemd, pod_list, v1_joint_mount

U64_MAX = 2**64 - 1
ERRORS = "throttle_exporter_errors_total"


@dataclass(frozen=True)
class Victim:
    """A process on a small tree, and the container whose files are spoiled."""

    exporter: Exporter
    tree: Tree
    container: ExpectedContainer
    labels: dict[str, str]
    healthy: dict[Key, float]

    def file(self, name: str) -> Path:
        mounts = ("cpu,cpuacct", "cpuset") if self.tree.version == "v1" else ("",)
        [found] = [path for mount in mounts if (path := self.tree.root / mount / self.container.path / name).exists()]
        return found

    def get(self, page: Page, name: str, **labels: str) -> float | None:
        return page.get(f"cgroup_container_{name}", **self.labels, **labels)

    def of_others(self, samples: dict[Key, float]) -> dict[Key, float]:
        return {key: value for key, value in samples.items() if not set(self.labels.items()) <= key[1]}


def labels_of(container: ExpectedContainer, tree: Tree) -> dict[str, str]:
    """The labels that :func:`pod_list` leads to."""
    siblings = [one.container_id for one in tree.containers if one.pod_uid == container.pod_uid]
    name = f"c{siblings.index(container.container_id)}"
    return {"namespace": "apps", "pod": f"pod-{container.pod_uid[:8]}", "container": name}


def steady(page: Page) -> dict[Key, float]:
    return {
        key: value for key, value in page.samples.items() if key[0].startswith(("cgroup_container_", "cgroup_pod_"))
    }


def watched(layout: Callable[[Path], Tree], folder: Path, *, privileged: bool = True) -> Iterator[Victim]:
    """A process on the layout, and its second container as victim."""
    tree = layout(folder / "cgroup")
    pods = folder / "pods.json"
    pods.write_text(json.dumps(pod_list(tree)))
    options = [f"--path.cgroup={tree.root}", f"--path.proc={folder}", f"--path.sys={folder}", *FAST]
    with started([*options, f"--pods.sources=file:{pods}"], privileged=privileged) as exporter:
        healthy = steady(exporter.page_after_ticks(2))
        container = tree.containers[1]
        yield Victim(exporter, tree, container, labels_of(container, tree), healthy)


@pytest.fixture(scope="module")
def on_v2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    yield from watched(containerd_systemd, tmp_path_factory.mktemp("v2"))


@pytest.fixture(scope="module")
def on_v1(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    yield from watched(v1_joint_mount, tmp_path_factory.mktemp("v1"))


@pytest.fixture(params=["on_v2", "on_v1"])
def victim(request: pytest.FixtureRequest) -> Victim:
    found: Victim = request.getfixturevalue(request.param)
    return found


@contextmanager
def spoiled(file: Path, content: bytes) -> Iterator[None]:
    healthy = file.read_bytes()
    overwrite(file, content)
    try:
        yield
    finally:
        overwrite(file, healthy)


def errors(page: Page) -> dict[tuple[str, str], float]:
    """Counted errors by stage and reason."""
    rows = ((dict(labels), value) for labels, value in page.rows(ERRORS).items())
    return {(labels["stage"], labels["reason"]): value for labels, value in rows if value}


def grown(before: Page, after: Page) -> set[tuple[str, str]]:
    """Which errors were counted between two pages."""
    earlier = errors(before)
    return {key for key, value in errors(after).items() if value > earlier.get(key, 0)}


def page_with(victim: Victim, content: bytes, name: str) -> tuple[Page, set[tuple[str, str]]]:
    """The page while ``name`` holds ``content``, and what was counted; then the page is healthy again."""
    exporter = victim.exporter
    before = exporter.page()
    with spoiled(victim.file(name), content):
        # Counters are read at each tick, limits and cpusets at each scan: as often here.
        page = exporter.page_after_ticks(1)
    exporter.page_when(lambda healed: victim.healthy.keys() <= steady(healed).keys())

    assert duplicates(page.text) == {}
    assert victim.of_others(steady(page)) == victim.of_others(victim.healthy)
    return page, grown(before, page)


GARBAGE = {
    "empty": b"",
    "blank": b"\n",
    "cut in a number": b"nr_periods 10",
    "cut after a key": b"nr_periods 1001\nnr_throttled\n",
    "binary": random.Random(4).randbytes(700),
    "zero bytes": b"\0" * 200,
    "not a number": b"nr_periods ten\nnr_throttled 1\nthrottled_usec 2\nthrottled_time 2\n",
    "negative": b"nr_periods -1\nnr_throttled -1\nthrottled_usec -1\nthrottled_time -1\n",
    "a fraction": b"nr_periods 1.5\nnr_throttled 1\nthrottled_usec 2\nthrottled_time 2\n",
    "above 64 bits": b"nr_periods 18446744073709551616\nnr_throttled 1\nthrottled_usec 2\n",
    "5,000 digits": b"nr_periods " + b"9" * 5000 + b"\n",
    "other digits": "nr_periods ١٢٣\n".encode(),
}


@pytest.mark.parametrize("content", GARBAGE.values(), ids=GARBAGE)
def test_unreadable_counters_are_absent_and_counted(on_v2: Victim, content: bytes) -> None:
    assert_counters_are_absent(on_v2, content)


@pytest.mark.parametrize("kind", ["empty", "binary", "not a number"])
def test_unreadable_counters_are_absent_and_counted_on_v1_too(on_v1: Victim, kind: str) -> None:
    assert_counters_are_absent(on_v1, GARBAGE[kind])


def assert_counters_are_absent(victim: Victim, content: bytes) -> None:
    page, counted = page_with(victim, content, "cpu.stat")

    assert counted == {("parse", "malformed")}
    for name in ("cpu_periods_total", "cpu_throttled_periods_total", "cpu_throttled_seconds_total"):
        assert victim.get(page, name) is None
    assert victim.get(page, "cpu_limit_cores") == victim.container.limit_cores


def test_ten_megabytes_of_counters_are_not_read(victim: Victim) -> None:
    page, counted = page_with(victim, b"nr_periods 1\n" * 800_000, "cpu.stat")

    assert counted == {("read", "too_large")}
    assert victim.get(page, "cpu_periods_total") is None
    resident = page.get("process_resident_memory_bytes")
    assert resident is not None
    assert resident < 150e6


def test_unknown_keys_are_passed_over(victim: Victim) -> None:
    known = victim.file("cpu.stat").read_bytes()
    more = b"run_delay_usec 77\n" + known + b"core_sched.force_idle_usec 12\nnr_naps 3\n"

    page, counted = page_with(victim, more, "cpu.stat")

    assert counted == set()
    assert victim.get(page, "cpu_periods_total") == victim.container.periods


def test_a_counter_that_ran_below_zero_is_an_error_not_six_hundred_years(victim: Victim) -> None:
    """A u64 that ran below zero shows as 2^64-1: no time that ever passed, and no number to serve."""
    key = "throttled_time" if victim.tree.version == "v1" else "throttled_usec"
    text = f"nr_periods 5000\nnr_throttled 400\n{key} {U64_MAX}\n"

    page, counted = page_with(victim, text.encode(), "cpu.stat")

    assert counted == {("parse", "malformed")}
    assert victim.get(page, "cpu_throttled_seconds_total") is None
    assert victim.of_others(steady(page)) == victim.of_others(victim.healthy)


def test_a_counter_that_runs_backwards_is_counted_and_makes_no_spike(victim: Victim) -> None:
    exporter, file = victim.exporter, victim.file("cpu.stat")
    before = exporter.page()
    lower = file.read_bytes().replace(f"nr_periods {victim.container.periods}".encode(), b"nr_periods 7")
    with spoiled(file, lower.replace(b"nr_throttled 1", b"nr_throttled 0")):
        page = exporter.page_after_ticks(3)

    assert grown(before, page) == {("read", "counter_reset")}
    assert victim.get(page, "cpu_periods_total") == 7
    assert victim.get(page, "cpu_throttled_ratio") == 0
    assert victim.of_others(steady(page)) == victim.of_others(victim.healthy)
    # Upwards again is growth like any other: the window must not hold what came before the reset.
    healed = exporter.page_when(lambda now: victim.get(now, "cpu_periods_total") == victim.container.periods)
    ratio = victim.get(healed, "cpu_throttled_ratio")
    assert ratio is not None
    assert 0 <= ratio <= 1


BAD_CPU_MAX = {
    "empty": b"",
    "max alone": b"max\n",
    "one number": b"50000\n",
    "three words": b"50000 100000 7\n",
    "a quota of zero": b"0 100000\n",
    "a period of zero": b"50000 0\n",
    "words": b"lots always\n",
    "negative": b"-1 100000\n",
    "binary": b"\xff\xfe\x00 \x80\n",
}


@pytest.mark.parametrize("content", BAD_CPU_MAX.values(), ids=BAD_CPU_MAX)
def test_an_unreadable_cpu_max_leaves_the_counters(on_v2: Victim, content: bytes) -> None:
    page, counted = page_with(on_v2, content, "cpu.max")

    assert counted == {("parse", "malformed")}
    for name in ("cpu_limit_cores", "cpu_period_seconds", "cpu_throttled_ratio"):
        assert on_v2.get(page, name) is None
    assert not any(on_v2.get(page, "cpu_quota_state", state=state) for state in ("set", "none", "unsupported"))
    assert on_v2.get(page, "cpu_periods_total") == on_v2.container.periods


def test_cpu_max_without_a_quota_is_no_error(on_v2: Victim) -> None:
    page, counted = page_with(on_v2, b"max 20000\n", "cpu.max")

    assert counted == set()
    assert on_v2.get(page, "cpu_limit_cores") is None
    assert on_v2.get(page, "cpu_period_seconds") == 0.02
    assert on_v2.get(page, "cpu_quota_state", state="none") == 1
    # It had a quota once: what was counted then stays true.
    assert on_v2.get(page, "cpu_periods_total") == on_v2.container.periods
    assert on_v2.get(page, "cpu_throttled_ratio") is None


@pytest.mark.parametrize("content", [b"", b"0\n", b"-2\n", b"many\n"], ids=["empty", "zero", "-2", "a word"])
def test_an_unreadable_cfs_quota_leaves_the_counters(on_v1: Victim, content: bytes) -> None:
    page, counted = page_with(on_v1, content, "cpu.cfs_quota_us")

    assert counted == {("parse", "malformed")}
    assert on_v1.get(page, "cpu_limit_cores") is None
    assert on_v1.get(page, "cpu_periods_total") == on_v1.container.periods


def test_a_cfs_period_of_zero_is_no_infinite_limit(on_v1: Victim) -> None:
    page, counted = page_with(on_v1, b"0\n", "cpu.cfs_period_us")

    assert counted == {("parse", "malformed")}
    assert on_v1.get(page, "cpu_limit_cores") is None
    assert "Inf" not in "".join(line for line in page.text.splitlines() if line.startswith("cgroup_"))


@pytest.mark.parametrize("content", [b"0-3,8,10-9\n", b"0-4294967295\n", b"1-\n", b"\xff\n"])
def test_an_impossible_cpu_list(on_v2: Victim, content: bytes) -> None:
    assert_cpuset_is_absent(on_v2, content)


def test_an_impossible_cpu_list_of_either_version(victim: Victim) -> None:
    assert_cpuset_is_absent(victim, b"0-3,8,10-9,x\n")


def assert_cpuset_is_absent(victim: Victim, content: bytes) -> None:
    name = "cpuset.effective_cpus" if victim.tree.version == "v1" else "cpuset.cpus.effective"

    page, counted = page_with(victim, content, name)

    assert counted == {("parse", "malformed")}
    assert victim.get(page, "cpuset_cpus") is None
    assert victim.get(page, "cpu_periods_total") == victim.container.periods
    assert victim.get(page, "cpu_limit_cores") == victim.container.limit_cores


@pytest.mark.parametrize("name", ["cpu.pressure", "cpu.stat.local", "cpu.weight", "cpu.max.burst"])
def test_other_files_cost_their_own_samples_only(on_v2: Victim, name: str) -> None:
    page, counted = page_with(on_v2, b"nonsense\n", name)

    assert counted == {("parse", "malformed")}
    assert on_v2.get(page, "cpu_periods_total") == on_v2.container.periods
    assert on_v2.get(page, "cpu_usage_seconds_total") is not None


def test_a_weight_of_zero_is_what_an_idle_group_had_on_old_kernels(on_v2: Victim) -> None:
    page, counted = page_with(on_v2, b"0\n", "cpu.weight")

    assert counted == set()
    assert on_v2.get(page, "cpu_weight") == 0


def test_a_folder_in_a_file_s_place_costs_no_descriptors(on_v2: Victim) -> None:
    """What cannot be read is tried again at each tick: a descriptor lost each time would end the process in a day."""
    exporter, file = on_v2.exporter, on_v2.file("cpu.max")
    aside = file.with_name("cpu.max.aside")
    file.rename(aside)
    file.mkdir()
    try:
        first = exporter.page_after_ticks(3)
        later = exporter.page_after_ticks(30)
    finally:
        file.rmdir()
        aside.rename(file)
    exporter.page_when(lambda page: on_v2.get(page, "cpu_limit_cores"))

    assert grown(first, later) == {("read", "eisdir")}
    open_before, open_after = first.get("process_open_fds"), later.get("process_open_fds")
    assert open_before is not None
    assert open_after is not None
    assert open_after <= open_before + 5


def test_the_log_names_each_kind_of_failure_once_with_its_file(tmp_path: Path) -> None:
    """A process of its own: the log leaves out for a while what it has told before."""
    with contextmanager(watched)(containerd_systemd, tmp_path) as victim:
        mended = victim.exporter.page()
        with spoiled(victim.file("cpu.stat"), b"\xff\n"), spoiled(victim.file("cpu.stat.local"), b"9\n" * 90_000):
            page = victim.exporter.page_after_ticks(10)
        log = victim.exporter.log

    assert grown(mended, page) == {("parse", "malformed"), ("read", "too_large")}
    told = [line for line in log.splitlines() if victim.container.path in line]
    assert [line for line in told if "cpu.stat:" in line and "stage=parse" in line]
    assert [line for line in told if "cpu.stat.local:" in line and "stage=read" in line]
    assert len(told) <= 4


@pytest.fixture(scope="module")
def unprivileged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    """A process whose user may not read everything."""
    yield from watched(containerd_systemd, tmp_path_factory.mktemp("unprivileged"), privileged=False)


@contextmanager
def forbidden(path: Path) -> Iterator[None]:
    mode = path.stat().st_mode
    path.chmod(0)
    try:
        yield
    finally:
        path.chmod(mode)


def test_a_folder_that_may_not_be_read(unprivileged: Victim) -> None:
    victim, exporter = unprivileged, unprivileged.exporter
    before = exporter.page()
    pod = victim.tree.root / victim.container.pod_path
    with forbidden(pod):
        page = exporter.page_after_ticks(5)
    counted = grown(before, page)

    assert {stage for stage, _ in counted} == {"read"}
    assert {reason for _, reason in counted} == {"eacces"}
    others = {key: value for key, value in victim.healthy.items() if ("pod", victim.labels["pod"]) not in key[1]}
    assert others.items() <= steady(page).items()
    assert exporter.get("/healthz").status == 200
    exporter.page_when(lambda healed: victim.healthy.keys() <= steady(healed).keys())


def test_a_file_that_may_not_be_read(unprivileged: Victim) -> None:
    victim, exporter = unprivileged, unprivileged.exporter
    before = exporter.page()
    with forbidden(victim.file("cpu.max")):
        page = exporter.page_after_ticks(2)

    assert grown(before, page) == {("read", "eacces")}
    assert victim.get(page, "cpu_limit_cores") is None
    assert victim.get(page, "cpu_periods_total") == victim.container.periods
    assert victim.of_others(steady(page)) == victim.of_others(victim.healthy)
