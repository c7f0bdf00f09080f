"""v1 and v2 are twins: the same facts in either's files are the same readings."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from exporter.cgroupfs.files import Descriptors
from exporter.cgroupfs.readers import CgroupFiles
from exporter.cpulist import format_cpu_list
from exporter.errors import ExporterError, ParseError, VanishedError
from exporter.model import CpuLimits, Cpuset, CpuStat
from tests.support.readers import v1_files, v2_files


@dataclass(frozen=True)
class Facts:
    """What one cgroup is and has done, in whole microseconds; ``None``: this kernel has no such file or key."""

    periods: int | None = 239
    throttled_periods: int | None = 238
    throttled_us: int | None = 21_456_789
    burst_periods: int | None = 3
    burst_us: int | None = 1_500
    usage_us: int = 10_187_083
    user_ticks: int = 1014
    system_ticks: int = 4
    local_us: int | None = 21_500_000
    quota_us: int | None = 60_000
    period_us: int = 100_000
    burst_limit_us: int | None = 0
    cpus: frozenset[int] = frozenset({2, 3, 8})
    mems: frozenset[int] = frozenset({0, 1})

    @property
    def stat(self) -> CpuStat:
        """The counters that both versions have in their ``cpu.stat`` or beside it."""
        return CpuStat(
            self.periods,
            self.throttled_periods,
            seconds(self.throttled_us),
            self.burst_periods,
            seconds(self.burst_us),
            usage_seconds=seconds(self.usage_us),
        )

    @property
    def limits(self) -> CpuLimits:
        return CpuLimits(
            "none" if self.quota_us is None else "set",
            None if self.quota_us is None else self.quota_us / self.period_us,
            self.period_us / 1_000_000,
            seconds(self.burst_limit_us),
        )


def seconds(microseconds: int | None) -> float | None:
    return None if microseconds is None else microseconds / 1_000_000


def write(folder: Path, name: str, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


def keyed(**fields: int | None) -> str:
    return "".join(f"{key} {value}\n" for key, value in fields.items() if value is not None)


def times(microseconds: int | None) -> int | None:
    return None if microseconds is None else microseconds * 1000


def as_v1(root: Path, facts: Facts, budget: Descriptors) -> CgroupFiles:
    cpu, cpuacct, cpuset = (root / name / "one" for name in ("cpu", "cpuacct", "cpuset"))
    stat = keyed(
        nr_periods=facts.periods,
        nr_throttled=facts.throttled_periods,
        throttled_time=times(facts.throttled_us),
        nr_bursts=facts.burst_periods,
        burst_time=times(facts.burst_us),
    )
    write(cpu, "cpu.stat", stat or "later_key 1\n")
    if facts.local_us is not None:
        write(cpu, "cpu.stat.local", keyed(throttled_time=times(facts.local_us)))
    write(cpu, "cpu.cfs_quota_us", f"{-1 if facts.quota_us is None else facts.quota_us}\n")
    write(cpu, "cpu.cfs_period_us", f"{facts.period_us}\n")
    if facts.burst_limit_us is not None:
        write(cpu, "cpu.cfs_burst_us", f"{facts.burst_limit_us}\n")
    write(cpuacct, "cpuacct.usage", f"{times(facts.usage_us)}\n")
    write(cpuacct, "cpuacct.stat", keyed(user=facts.user_ticks, system=facts.system_ticks))
    write(cpuset, "cpuset.effective_cpus", format_cpu_list(facts.cpus) + "\n")
    write(cpuset, "cpuset.effective_mems", format_cpu_list(facts.mems) + "\n")
    write(cpu, "tasks", "1\n22\n")
    return v1_files(cpu, cpuacct, cpuset, budget)


def as_v2(root: Path, facts: Facts, budget: Descriptors) -> CgroupFiles:
    stat = keyed(
        usage_usec=facts.usage_us,
        user_usec=facts.user_ticks * 10_000,
        system_usec=facts.system_ticks * 10_000,
        nr_periods=facts.periods,
        nr_throttled=facts.throttled_periods,
        throttled_usec=facts.throttled_us,
        nr_bursts=facts.burst_periods,
        burst_usec=facts.burst_us,
    )
    write(root, "cpu.stat", stat)
    if facts.local_us is not None:
        write(root, "cpu.stat.local", keyed(throttled_usec=facts.local_us))
    write(root, "cpu.max", f"{'max' if facts.quota_us is None else facts.quota_us} {facts.period_us}\n")
    if facts.burst_limit_us is not None:
        write(root, "cpu.max.burst", f"{facts.burst_limit_us}\n")
    write(root, "cpuset.cpus.effective", format_cpu_list(facts.cpus) + "\n")
    write(root, "cpuset.mems.effective", format_cpu_list(facts.mems) + "\n")
    write(root, "cgroup.threads", "1\n22\n")
    return v2_files(root, budget=budget)


Write = Callable[[Path, Facts, Descriptors], CgroupFiles]
twins = pytest.mark.parametrize("twin", [as_v1, as_v2], ids=["v1", "v2"])


def check(files: CgroupFiles, facts: Facts) -> None:
    limits, stat, cpuset = files.limits(), files.stat(), files.cpuset()
    assert limits == facts.limits
    assert stat is not None
    assert stat._replace(user_seconds=None, system_seconds=None) == facts.stat
    assert files.modes() == (facts.user_ticks / 100, facts.system_ticks / 100)
    assert files.local_throttled_seconds() == seconds(facts.local_us)
    assert cpuset == Cpuset(facts.cpus, facts.mems, "")
    assert files.threads() == 2
    assert files.pressure() is None


@twins
@pytest.mark.parametrize("limit", [8, 0], ids=["kept", "not kept"])
def test_the_same_facts_are_the_same_readings_and_follow_the_files(twin: Write, tmp_path: Path, limit: int) -> None:
    budget = Descriptors(limit)
    files = twin(tmp_path, Facts(), budget)
    check(files, Facts())
    resized = Facts(periods=300, throttled_us=0, usage_us=99, quota_us=None, cpus=frozenset({0}), local_us=5)
    old = Facts(burst_periods=None, burst_us=None, period_us=5000, user_ticks=0, mems=frozenset({7}))
    long_lived = Facts(*(2**62 // 1000,) * 6, 10**12, 10**12, quota_us=6_400_000, cpus=frozenset(range(128)))
    without_controller = Facts(None, None, None, None, None)
    for later in (resized, resized, replace(resized, quota_us=250_000), old, long_lived, without_controller, Facts()):
        twin(tmp_path, later, Descriptors(0))
        check(files, later)
    assert (budget.kept > 0) is (limit > 0)
    files.close()
    assert budget.kept == 0


@twins
def test_what_did_not_change_is_the_same_object_and_what_did_is_read_at_a_tick(twin: Write, tmp_path: Path) -> None:
    files = twin(tmp_path, Facts(), Descriptors(8))
    first = files.stat()
    assert files.stat() is first
    assert files.tick_stat() is first
    for number in range(3):
        facts = Facts(periods=240 + number, usage_us=10_187_083 + number)
        twin(tmp_path, facts, Descriptors(0))
        stat = files.tick_stat()
        assert stat is not None
        assert (stat.periods, stat.usage_seconds) == (facts.periods, seconds(facts.usage_us))
        assert files.stat() == stat
    files.close()


@twins
def test_what_the_kernel_does_not_have_is_absent(twin: Write, tmp_path: Path) -> None:
    files = twin(tmp_path, Facts(), Descriptors(8))
    for name in ("cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.max.burst", "cpu.stat.local"):
        for path in tmp_path.rglob(name):
            path.unlink()
    assert files.limits() == CpuLimits("unsupported")
    assert files.local_throttled_seconds() is None
    for path in tmp_path.rglob("cpu*.*"):
        path.unlink()
    assert (files.stat(), files.modes(), files.cpuset()) == (None, (None, None), None)
    files.close()


@twins
@pytest.mark.parametrize("limit", [8, 0], ids=["kept", "not kept"])
def test_counters_that_were_there_do_not_become_absent_but_vanish(twin: Write, tmp_path: Path, limit: int) -> None:
    files = twin(tmp_path, Facts(), Descriptors(0))
    assert files.stat() is not None
    for path in tmp_path.rglob("cpu.stat"):
        path.unlink()
    for read in (files.stat, files.tick_stat):
        with pytest.raises(VanishedError):
            read()


@twins
def test_a_removed_cgroup_has_vanished_for_every_reading(twin: Write, tmp_path: Path) -> None:
    files = twin(tmp_path / "cgroup", Facts(), Descriptors(0))
    assert files.cpuset() is not None
    shutil.rmtree(tmp_path / "cgroup")
    reads = (files.stat, files.tick_stat, files.local_throttled_seconds, files.limits, files.cpuset, files.threads)
    for read in (*reads, files.change_probe, files.nested_throttled):
        with pytest.raises(VanishedError):
            read()


@twins
def test_change_probe_differs_with_quota_and_cpus_and_with_nothing_else(twin: Write, tmp_path: Path) -> None:
    files = twin(tmp_path, Facts(), Descriptors(0))
    first = files.change_probe()
    assert files.change_probe() == first
    twin(tmp_path, Facts(periods=9, throttled_us=9, usage_us=9, local_us=9), Descriptors(0))
    assert files.change_probe() == first, "counters are no setting"
    for changed in (Facts(quota_us=None), Facts(quota_us=70_000), Facts(cpus=frozenset({5}))):
        twin(tmp_path, changed, Descriptors(0))
        assert files.change_probe() != first
    twin(tmp_path, Facts(), Descriptors(0))
    assert files.change_probe() == first


# ---- What only one of them has ----


def test_v1_has_what_the_controllers_that_are_mounted_give(tmp_path: Path) -> None:
    whole = as_v1(tmp_path, Facts(), Descriptors(0))
    write(tmp_path / "cpu/one", "cpu.stat", "nr_periods 1\nwait_sum 2500000000\n")
    assert whole.stat() == CpuStat(1, runqueue_wait_seconds=2.5, usage_seconds=10.187083)
    only_cpu = v1_files(tmp_path / "cpu/one", None, None, Descriptors(0))
    assert only_cpu.stat() == CpuStat(1, runqueue_wait_seconds=2.5)
    assert (only_cpu.modes(), only_cpu.cpuset()) == ((None, None), None)
    without_bandwidth_control = as_v1(tmp_path, Facts(), Descriptors(0))
    (tmp_path / "cpu/one/cpu.stat").unlink()
    assert without_bandwidth_control.stat() == CpuStat(usage_seconds=10.187083)


def test_v1_usage_that_cannot_be_read_costs_only_itself(tmp_path: Path) -> None:
    files, failures = as_v1(tmp_path, Facts(), Descriptors(0)), list[ExporterError]()
    write(tmp_path / "cpuacct/one", "cpuacct.usage", "much\n")
    assert files.stat(failures.append) == Facts().stat._replace(usage_seconds=None)
    assert [error.reason for error in failures] == ["malformed"]
    with pytest.raises(ParseError):
        files.stat()


def test_v1_cpuset_of_a_kernel_without_effective_files_is_the_configured_one(tmp_path: Path) -> None:
    files = as_v1(tmp_path, Facts(), Descriptors(0))
    write(tmp_path / "cpuset/one", "cpuset.cpus", "0-15\n")
    write(tmp_path / "cpuset/one", "cpuset.mems", "0\n")
    assert files.cpuset() == Cpuset(frozenset({2, 3, 8}), frozenset({0, 1}), "")
    for name in ("cpuset.effective_cpus", "cpuset.effective_mems"):
        (tmp_path / "cpuset/one" / name).unlink()
    assert files.cpuset() == Cpuset(frozenset(range(16)), frozenset({0}), "")


@pytest.mark.parametrize("name", ["cpuacct", "cpuset"])
def test_v1_tree_that_is_not_mounted_any_more_costs_only_its_values(tmp_path: Path, name: str) -> None:
    files = as_v1(tmp_path, Facts(), Descriptors(0))
    check(files, Facts())
    (tmp_path / name).rename(tmp_path / "aside")
    stat = files.stat()
    assert stat is not None
    assert (stat.usage_seconds is None, files.modes()[0] is None, files.cpuset() is None) == (
        *((name == "cpuacct",) * 2),
        name == "cpuset",
    )
    (tmp_path / "aside").rename(tmp_path / name)
    check(files, Facts())


@pytest.mark.parametrize(
    ("text", "partition"),
    [
        (b"member\n", "member"),
        (b"root invalid (Parent is not a partition root)\n", "root invalid"),
        (b"isolated invalid (Cpu list in cpuset.cpus not exclusive)\n", "isolated invalid"),
        (b"root invalid\n", "root invalid"),
        (b"\n", ""),
        (b"ro\xffot\n", "ro\ufffdot"),
        (None, ""),
    ],
)
def test_v2_partition_is_its_state_without_the_reason(tmp_path: Path, text: bytes | None, partition: str) -> None:
    files = as_v2(tmp_path, Facts(), Descriptors(0))
    if text is not None:
        (tmp_path / "cpuset.cpus.partition").write_bytes(text)
    assert files.cpuset() == Cpuset(frozenset({2, 3, 8}), frozenset({0, 1}), partition)


OUTER = Facts(periods=1000, cpus=frozenset(range(8)), local_us=1, user_ticks=9)
INNER = Facts(periods=2000, cpus=frozenset({4, 5}), local_us=2, user_ticks=8)


def test_crun_s_child_counts_where_the_quota_is_and_runs_where_the_child_may(tmp_path: Path) -> None:
    child = tmp_path / "container"
    as_v2(tmp_path, OUTER, Descriptors(0))
    as_v2(child, INNER, Descriptors(0))
    write(tmp_path, "cpu.weight", "79\n")
    write(child, "cpu.weight", "100\n")
    budget, probe = Descriptors(8), None
    files = v2_files(tmp_path, leaf=child, budget=budget)
    for scope_quota, child_quota, limit, is_on_child in (
        (60_000, None, 0.6, False),
        (None, 70_000, 0.7, True),
        (50_000, 50_000, 0.5, False),
        (50_000, 20_000, 0.2, True),
        (20_000, 50_000, 0.2, False),
        (None, None, None, False),
    ):
        as_v2(tmp_path, replace(OUTER, quota_us=scope_quota), Descriptors(0))
        as_v2(child, replace(INNER, quota_us=child_quota), Descriptors(0))
        before, probe = probe, files.change_probe()
        assert probe != before
        assert files.limits().limit_cores == limit
        assert files.limits().weight == 79, "the scope's, which competes with other containers"
        stat, cpuset = files.stat(), files.cpuset()
        assert stat is not None
        assert stat.periods == (INNER if is_on_child else OUTER).periods
        assert files.nested_throttled() == {str(child): 0.0 if is_on_child else seconds(INNER.throttled_us)}
        assert cpuset is not None
        assert cpuset.cpus == INNER.cpus
        assert files.local_throttled_seconds() == 2e-6, "where the tasks are"
    files.close()
    assert budget.kept == 0


# ---- What lies below ----


@twins
def test_tasks_are_counted_in_all_cgroups_below_and_an_empty_list_says_nothing(twin: Write, tmp_path: Path) -> None:
    files = twin(tmp_path, Facts(), Descriptors(0))
    [path] = [*tmp_path.rglob("tasks"), *tmp_path.rglob("cgroup.threads")]
    for name in ("docker", "docker/inner"):
        write(path.parent / name, path.name, "0\n" * 60)
    assert files.threads() == 122
    path.write_text("")
    assert files.threads() == 120
    for one in path.parent.rglob(path.name):
        one.write_text("")
    assert files.threads() is None, "v1 lists no task of another PID namespace"


@twins
def test_throttled_time_below_is_that_of_each_cgroup_there(twin: Write, tmp_path: Path) -> None:
    files = twin(tmp_path, Facts(), Descriptors(0))
    assert files.nested_throttled() == {}
    [stat] = tmp_path.rglob("cpu.stat")
    key, unit = ("throttled_time", 10**9) if twin is as_v1 else ("throttled_usec", 10**6)
    for name, seconds in (("docker", 0), ("docker/inner", 7)):
        write(stat.parent / name, "cpu.stat", f"nr_periods 9\nnr_throttled 1\n{key} {seconds * unit}\n")
    write(stat.parent / "no-controller", "cgroup.procs", "")
    below = {"docker": 0.0, "docker/inner": 7.0, "no-controller": 0.0}
    assert files.nested_throttled() == {str(stat.parent / name): seconds for name, seconds in below.items()}
