"""v1 and v2 are twins: the same facts in either's files are the same readings."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.cgroupfs.discover import detect, walk
from exporter.cgroupfs.files import Descriptors
from exporter.cgroupfs.readers import CgroupFiles, ReaderFactory
from exporter.cpulist import format_cpu_list
from exporter.errors import ParseError, ReadError, VanishedError
from exporter.model import CpuLimits, Cpuset, CpuStat
from tests.support.readers import v1_files, v2_files
from tests.support.treebuilder import container_id, pod_uid, v1, v2
from tests.support.trees import cgroupfs_pod


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


u64 = st.integers(0, (2**63 - 1) // 1000)
facts_of_any_kernel = st.builds(
    Facts,
    periods=st.none() | u64,
    throttled_periods=st.none() | u64,
    throttled_us=st.none() | u64,
    burst_periods=st.none() | u64,
    burst_us=st.none() | u64,
    usage_us=u64,
    user_ticks=st.integers(0, 10**12),
    system_ticks=st.integers(0, 10**12),
    local_us=st.none() | u64,
    quota_us=st.none() | st.integers(1000, 10**9),
    period_us=st.integers(1000, 10**6),
    burst_limit_us=st.none() | st.integers(0, 10**6),
    cpus=st.frozensets(st.integers(0, 127)),
    mems=st.frozensets(st.integers(0, 7)),
)


@twins
@settings(max_examples=40)
@given(facts=facts_of_any_kernel, keeps=st.booleans())
def test_the_same_facts_are_the_same_readings(twin: Write, facts: Facts, keeps: bool) -> None:
    budget = Descriptors(8 if keeps else 0)
    with TemporaryDirectory() as folder:
        files = twin(Path(folder), facts, budget)
        check(files, facts)
        assert (budget.kept > 0) is keeps
        files.close()
        assert budget.kept == 0


@twins
def test_readings_follow_the_files(twin: Write, tmp_path: Path) -> None:
    files = twin(tmp_path, Facts(), Descriptors(8))
    check(files, Facts())
    resized = Facts(periods=300, throttled_us=0, usage_us=99, quota_us=None, cpus=frozenset({0}), local_us=5)
    for later in (resized, resized, replace(resized, quota_us=250_000), Facts()):
        twin(tmp_path, later, Descriptors(0))
        check(files, later)
    files.close()


@twins
def test_without_the_cpu_controller_s_files_there_is_no_quota_to_speak_of(twin: Write, tmp_path: Path) -> None:
    files = twin(tmp_path, Facts(), Descriptors(8))
    for name in ("cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.max.burst", "cpu.stat.local"):
        for path in tmp_path.rglob(name):
            path.unlink()
    assert files.limits() == CpuLimits("unsupported")
    assert files.local_throttled_seconds() is None
    files.close()


@twins
def test_without_any_cpu_file_there_are_no_counters(twin: Write, tmp_path: Path) -> None:
    files = twin(tmp_path, Facts(), Descriptors(8))
    for path in tmp_path.rglob("cpu*.*"):
        path.unlink()
    assert files.stat() is None
    assert files.modes() == (None, None)
    assert files.cpuset() is None


@twins
@pytest.mark.parametrize("limit", [8, 0], ids=["kept", "not kept"])
def test_counters_that_were_there_do_not_become_absent_but_vanish(twin: Write, tmp_path: Path, limit: int) -> None:
    files = twin(tmp_path, Facts(), Descriptors(0))
    assert files.stat() is not None
    for path in tmp_path.rglob("cpu.stat"):
        path.unlink()
    with pytest.raises(VanishedError):
        files.stat()


@twins
def test_a_removed_cgroup_has_vanished_for_every_reading(twin: Write, tmp_path: Path) -> None:
    files = twin(tmp_path / "cgroup", Facts(), Descriptors(0))
    assert files.cpuset() is not None
    shutil.rmtree(tmp_path / "cgroup")
    for read in (files.stat, files.local_throttled_seconds, files.limits, files.cpuset, files.threads):
        with pytest.raises(VanishedError):
            read()


@twins
def test_each_failing_read_is_an_error_and_the_next_good_one_is_not(twin: Write, tmp_path: Path) -> None:
    files = twin(tmp_path, Facts(), Descriptors(8))
    assert files.stat() == files.stat()
    [path] = tmp_path.rglob("cpu.stat")
    good = path.read_bytes()
    for bad in (b"", b"\x00\xff\n", b"nr_periods -1\n", b"nr_periods 1"):
        path.write_bytes(bad)
        for _ in range(2):
            with pytest.raises(ParseError) as caught:
                files.stat()
            assert caught.value.path == str(path)
        path.write_bytes(good)
        assert files.stat() is not None
    path.write_bytes(b"x" * (10 << 20))
    for _ in range(2):
        with pytest.raises(ReadError) as too_large:
            files.stat()
        assert too_large.value.reason == "too_large"
    files.close()


@twins
@pytest.mark.parametrize(
    "name", ["cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.max.burst", "cpu.cfs_burst_us"]
)
def test_a_malformed_limit_names_its_file(twin: Write, tmp_path: Path, name: str) -> None:
    files = twin(tmp_path, Facts(), Descriptors(8))
    for path in tmp_path.rglob(name):
        path.write_text("often\n")
        with pytest.raises(ParseError) as caught:
            files.limits()
        assert caught.value.path == str(path)


@twins
def test_a_malformed_cpuset_names_its_file(twin: Write, tmp_path: Path) -> None:
    files = twin(tmp_path, Facts(), Descriptors(8))
    for path in (*tmp_path.rglob("cpuset*cpus*"), *tmp_path.rglob("cpuset*mems*")):
        good = path.read_text()
        path.write_text("0-3,8,10-9,x\n")
        with pytest.raises(ParseError) as caught:
            files.cpuset()
        assert caught.value.path == str(path)
        path.write_text(good)
    assert files.cpuset() is not None


# ---- What only one of them has ----


def test_v1_shares_and_v2_weight_are_raw(tmp_path: Path) -> None:
    one = as_v1(tmp_path / "v1", Facts(), Descriptors(0))
    write(tmp_path / "v1/cpu/one", "cpu.shares", "1024\n")
    assert (one.limits().shares, one.limits().weight) == (1024, None)
    two = as_v2(tmp_path / "v2", Facts(), Descriptors(0))
    for text in ("79\n", "0\n", "1\n"):
        write(tmp_path / "v2", "cpu.weight", text)
        assert (two.limits().shares, two.limits().weight) == (None, int(text))


def test_v1_wait_sum_is_seconds_of_waiting(tmp_path: Path) -> None:
    files = as_v1(tmp_path, Facts(), Descriptors(0))
    write(tmp_path / "cpu/one", "cpu.stat", "nr_periods 1\nwait_sum 2500000000\n")
    stat = files.stat()
    assert stat is not None
    assert stat.runqueue_wait_seconds == 2.5


def test_v1_without_the_cpuacct_and_cpuset_controllers_still_throttles(tmp_path: Path) -> None:
    as_v1(tmp_path, Facts(), Descriptors(0))
    files = v1_files(tmp_path / "cpu/one", None, None, Descriptors(0))
    stat = files.stat()
    assert stat is not None
    assert (stat.periods, stat.usage_seconds) == (239, None)
    assert files.modes() == (None, None)
    assert files.cpuset() is None


def test_v1_usage_without_bandwidth_control_is_usage_alone(tmp_path: Path) -> None:
    files = as_v1(tmp_path, Facts(), Descriptors(0))
    (tmp_path / "cpu/one/cpu.stat").unlink()
    assert files.stat() == CpuStat(usage_seconds=10.187083)


def test_v1_cpuset_of_a_kernel_without_effective_files_is_the_configured_one(tmp_path: Path) -> None:
    files = as_v1(tmp_path, Facts(), Descriptors(0))
    write(tmp_path / "cpuset/one", "cpuset.cpus", "0-15\n")
    write(tmp_path / "cpuset/one", "cpuset.mems", "0\n")
    assert files.cpuset() == Cpuset(frozenset({2, 3, 8}), frozenset({0, 1}), "")
    for name in ("cpuset.effective_cpus", "cpuset.effective_mems"):
        (tmp_path / "cpuset/one" / name).unlink()
    assert files.cpuset() == Cpuset(frozenset(range(16)), frozenset({0}), "")


def test_v2_pressure_comes_and_goes_with_its_file(tmp_path: Path) -> None:
    files = as_v2(tmp_path, Facts(), Descriptors(8))
    assert files.pressure() is None
    write(tmp_path, "cpu.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\n")
    assert files.pressure() == (1.5, None)
    (tmp_path / "cpu.pressure").unlink()
    files.close()  # the kernel itself fails the kept descriptor
    assert files.pressure() is None
    assert files.stat() is not None


@pytest.mark.parametrize(
    ("text", "partition"),
    [
        ("member\n", "member"),
        ("root\n", "root"),
        ("isolated\n", "isolated"),
        ("root invalid (Parent is not a partition root)\n", "root invalid"),
        ("isolated invalid (Cpu list in cpuset.cpus not exclusive)\n", "isolated invalid"),
        ("root invalid\n", "root invalid"),
        ("member (later remark)\n", "member"),
        ("\n", ""),
        (None, ""),
    ],
)
def test_v2_partition_is_its_state_without_the_reason(tmp_path: Path, text: str | None, partition: str) -> None:
    files = as_v2(tmp_path, Facts(), Descriptors(0))
    if text is not None:
        write(tmp_path, "cpuset.cpus.partition", text)
    cpuset = files.cpuset()
    assert cpuset is not None
    assert cpuset.partition == partition


def test_v2_partition_of_bytes_that_are_no_text_is_printable(tmp_path: Path) -> None:
    files = as_v2(tmp_path, Facts(), Descriptors(0))
    (tmp_path / "cpuset.cpus.partition").write_bytes(b"ro\xffot\n")
    cpuset = files.cpuset()
    assert cpuset is not None
    assert cpuset.partition.encode()


def test_v2_cpuset_that_inherits_everything_is_the_effective_one(tmp_path: Path) -> None:
    files = as_v2(tmp_path, Facts(), Descriptors(0))
    write(tmp_path, "cpuset.cpus", "\n")
    write(tmp_path, "cpuset.mems", "\n")
    assert files.cpuset() == Cpuset(frozenset({2, 3, 8}), frozenset({0, 1}), "")


def test_v2_cpuset_without_memory_nodes_has_none(tmp_path: Path) -> None:
    files = as_v2(tmp_path, Facts(), Descriptors(0))
    (tmp_path / "cpuset.mems.effective").unlink()
    assert files.cpuset() == Cpuset(frozenset({2, 3, 8}), frozenset(), "")


OUTER = Facts(periods=1000, cpus=frozenset(range(8)), local_us=1, user_ticks=9)
INNER = Facts(periods=2000, cpus=frozenset({4, 5}), local_us=2, user_ticks=8)


@pytest.mark.parametrize(
    ("scope_quota", "child_quota", "limit", "periods"),
    [
        pytest.param(60_000, None, 0.6, 1000, id="quota on the scope"),
        pytest.param(None, 70_000, 0.7, 2000, id="quota on the child"),
        pytest.param(50_000, 50_000, 0.5, 1000, id="the same on both"),
        pytest.param(50_000, 20_000, 0.2, 2000, id="tighter on the child"),
        pytest.param(20_000, 50_000, 0.2, 1000, id="tighter on the scope"),
        pytest.param(None, None, None, 1000, id="on neither"),
    ],
)
def test_crun_s_child_counts_where_the_quota_is_and_runs_where_the_child_may(
    tmp_path: Path, scope_quota: int | None, child_quota: int | None, limit: float | None, periods: int
) -> None:
    child = tmp_path / "container"
    as_v2(tmp_path, replace(OUTER, quota_us=scope_quota), Descriptors(0))
    as_v2(child, replace(INNER, quota_us=child_quota), Descriptors(0))
    budget = Descriptors(8)
    files = v2_files(tmp_path, leaf=child, budget=budget)
    assert files.limits().limit_cores == limit
    stat, cpuset = files.stat(), files.cpuset()
    assert stat is not None
    assert cpuset is not None
    assert stat.periods == periods
    assert cpuset.cpus == INNER.cpus
    assert files.local_throttled_seconds() == 2e-6, "where the tasks are"
    files.close()
    assert budget.kept == 0


def test_crun_s_quota_may_move_between_scope_and_child(tmp_path: Path) -> None:
    child = tmp_path / "container"
    files = v2_files(tmp_path, leaf=child)
    for scope_quota, child_quota, periods in ((60_000, None, 1000), (None, 70_000, 2000), (60_000, None, 1000)):
        as_v2(tmp_path, replace(OUTER, quota_us=scope_quota), Descriptors(0))
        as_v2(child, replace(INNER, quota_us=child_quota), Descriptors(0))
        files.limits()
        stat = files.stat()
        assert stat is not None
        assert stat.periods == periods
    files.close()


def test_crun_s_weight_is_the_scope_s_which_competes_with_other_containers(tmp_path: Path) -> None:
    child = tmp_path / "container"
    as_v2(tmp_path, replace(OUTER, quota_us=None), Descriptors(0))
    as_v2(child, INNER, Descriptors(0))
    write(tmp_path, "cpu.weight", "79\n")
    write(child, "cpu.weight", "100\n")
    files = v2_files(tmp_path, leaf=child)
    assert (files.limits().limit_cores, files.limits().weight) == (0.6, 79)


@twins
def test_what_did_not_change_is_the_same_object(twin: Write, tmp_path: Path) -> None:
    files = twin(tmp_path, Facts(), Descriptors(8))
    first = files.stat()
    assert files.stat() is first
    assert files.tick_stat() is first
    twin(tmp_path, Facts(periods=240), Descriptors(0))
    assert files.tick_stat() == files.stat() != first
    files.close()


@twins
def test_a_tick_sees_the_usage_of_a_cgroup_whose_periods_moved(twin: Write, tmp_path: Path) -> None:
    files = twin(tmp_path, Facts(), Descriptors(8))
    files.stat()
    for number in range(3):
        twin(tmp_path, Facts(periods=240 + number, usage_us=10_187_083 + number), Descriptors(0))
        stat = files.tick_stat()
        assert stat is not None
        assert stat.usage_seconds == (10_187_083 + number) / 1_000_000
    files.close()


@twins
def test_a_tick_meets_a_dying_cgroup_like_any_other_reading(twin: Write, tmp_path: Path) -> None:
    files = twin(tmp_path, Facts(), Descriptors(0))
    assert files.tick_stat() is not None
    [path] = tmp_path.rglob("cpu.stat")
    path.write_bytes(b"nr_periods ten\n")
    for _ in range(2):
        with pytest.raises(ParseError):
            files.tick_stat()
    path.unlink()
    with pytest.raises(VanishedError):
        files.tick_stat()


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


@twins
def test_change_probe_of_a_removed_cgroup_raises(twin: Write, tmp_path: Path) -> None:
    files = twin(tmp_path / "cgroup", Facts(), Descriptors(0))
    shutil.rmtree(tmp_path / "cgroup")
    with pytest.raises(VanishedError):
        files.change_probe()


def test_change_probe_differs_with_the_quota_of_crun_s_child(tmp_path: Path) -> None:
    child = tmp_path / "container"
    as_v2(tmp_path, replace(OUTER, quota_us=None), Descriptors(0))
    as_v2(child, INNER, Descriptors(0))
    files = v2_files(tmp_path, leaf=child)
    first = files.change_probe()
    write(child, "cpu.max", "20000 100000\n")
    assert files.change_probe() != first


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


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_threads_are_the_pids_controller_s_where_it_is(tmp_path: Path, version: str) -> None:
    uid, cid = pod_uid("web"), container_id("app")
    build = (v1 if version == "v1" else v2)(tmp_path)
    path = build.container(f"{build.pod(cgroupfs_pod(uid, 'Burstable'), uid, 'Burstable')}/{cid}", cid, "")
    root = tmp_path / "pids" if version == "v1" else tmp_path
    write(root, "cgroup.procs", "")
    write(root / path, "pids.current", "63\n")
    readers = ReaderFactory(detect(str(tmp_path)), Descriptors(0))
    [found] = [one for one in walk(readers.hierarchy.cpu).found.values() if one.ref.container_id]
    assert readers.open(found).threads() == 63


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


def test_throttled_time_of_crun_s_child_is_its_own_where_the_quota_is_there(tmp_path: Path) -> None:
    child = tmp_path / "container"
    as_v2(tmp_path, replace(OUTER, quota_us=None), Descriptors(0))
    as_v2(child, INNER, Descriptors(0))
    files = v2_files(tmp_path, leaf=child)
    files.limits()
    assert files.nested_throttled() == {str(child): 0.0}
    as_v2(tmp_path, replace(OUTER, quota_us=1000), Descriptors(0))
    files.limits()
    assert files.nested_throttled() == {str(child): seconds(INNER.throttled_us)}
