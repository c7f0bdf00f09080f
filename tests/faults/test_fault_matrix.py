"""Each dependency x each way in which it fails: what is still served, how it ends, what tells.

The clock is the test's: recovery is in seconds of that clock, at the default sample and scan intervals. Only what is
asked for over sockets or hangs takes real time.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from exporter.errors import ConfigError, ReadError
from exporter.kube.source import PodSource
from tests.faults.files import FILE_DEPENDENCIES, GARBAGE, FileDependency
from tests.faults.node import AVAILABLE, Node, Place, by_hand, failures, grown, hung, named
from tests.faults.sources import REASONS, SOURCES, ApiServer, Kubelet, State
from tests.support.fake_kubelet import Reply
from tests.support.pages import Page
from tests.support.treebuilder import container_id, pod_uid, v2, write_v2
from tests.support.trees import containerd_systemd, in_scope, pod_list

SCAN_SECONDS = 10
SETTLED_SECONDS = 6
"""After which an idle pod is not read any more."""
UP, ACTIVE = "throttle_exporter_pods_source_up", "throttle_exporter_pods_source_active"
OUTAGES: tuple[State, ...] = ("shut", "silent")
"""Of the kubelet, while the API server goes on."""
RATIO = "cgroup_container_cpu_throttled_ratio"
TAKEN_AT = "throttle_exporter_snapshot_timestamp_seconds"

BY_NAME = {one.name: one for one in FILE_DEPENDENCIES}
by_file = pytest.mark.parametrize("name", [name for name in BY_NAME if name != "cpu controller"])  # which is all


def place(name: str, folder: Path) -> tuple[FileDependency, Place]:
    dependency = BY_NAME[name]
    return dependency, Place(folder, dependency.layout(folder / "cgroup"))


async def shown(node: Node, dependency: FileDependency) -> list[float | str]:
    return list(dependency.shows(await node.page(), await node.document()))


async def healthy(node: Node, dependency: FileDependency) -> list[float | str]:
    """What is shown of the dependency before anything happens to it."""
    await node.lives(SETTLED_SECONDS)
    page = await node.page()
    assert named(page) == dependency.containers
    assert page.get(AVAILABLE, input=dependency.input) == 1
    values = await shown(node, dependency)
    assert values
    return values


async def without(node: Node, dependency: FileDependency, *reasons: tuple[str, str]) -> None:
    """The page while the dependency is of no use: all but its values."""
    before = await node.page()
    await node.lives(SETTLED_SECONDS)
    page = await node.page()
    assert await shown(node, dependency) == []
    assert page.get(AVAILABLE, input=dependency.input) == 0
    assert named(page) == dependency.containers
    assert grown(before, page) == set(reasons)
    if dependency.input != "cpu_stat":  # the windows go on: nothing has happened to the quotas
        assert before.rows(RATIO).keys() <= page.rows(RATIO).keys()


async def recovered(node: Node, dependency: FileDependency, values: list[float | str]) -> None:
    """Let time pass until the page says ``values`` of it."""
    limit = dependency.scans * SCAN_SECONDS + 1
    for _ in range(limit):
        await node.lives(1)
        if await shown(node, dependency) == values:
            assert (await node.page()).get(AVAILABLE, input=dependency.input) == 1
            return
    raise AssertionError(f"{await shown(node, dependency)} and not {values} after {limit} s")


@by_file
async def test_absent_at_start(name: str, tmp_path: Path) -> None:
    dependency, files = place(name, tmp_path)
    dependency.take(files)
    async with by_hand(files.settings) as node:
        await without(node, dependency)
        dependency.give_back(files)
        async with by_hand(files.settings) as other:  # what a start beside it says
            values = await healthy(other, dependency)
        await recovered(node, dependency, values)


@pytest.mark.parametrize("name", BY_NAME)
async def test_garbage(name: str, tmp_path: Path) -> None:
    dependency, files = place(name, tmp_path)
    async with by_hand(files.settings) as node:
        values = await healthy(node, dependency)
        said = dependency.write(files, GARBAGE)
        await without(node, dependency, ("parse", "malformed"))
        for file, text in said.items():
            file.write_bytes(text)
        await recovered(node, dependency, values)


@by_file
@pytest.mark.parametrize("renewed", [False, True])
async def test_dies_and_returns(name: str, renewed: bool, tmp_path: Path) -> None:
    """What it says after its return is served, and nothing of what it said before."""
    dependency, files = place(name, tmp_path)
    async with by_hand(files.settings) as node:
        before = values = await healthy(node, dependency)
        dependency.take(files)
        await without(node, dependency)
        dependency.give_back(files)
        if renewed:
            dependency.write(files, dependency.fresh.encode())
            async with by_hand(files.settings) as other:
                values = await healthy(other, dependency)
            assert values != before or name == "/proc/stat", "of which only the growth since its return is shown"
        await recovered(node, dependency, values)


@pytest.mark.parametrize("name", ["sysfs topology", "/proc/stat", "CPU manager checkpoint"])
async def test_a_file_of_the_machine_hangs(name: str, tmp_path: Path) -> None:
    """It has a thread of its own, which nobody waits for twice."""
    dependency, files = place(name, tmp_path)
    async with by_hand(files.settings) as node:
        values = await healthy(node, dependency)
        [file] = tmp_path.glob(dependency.texts)
        with hung(file):
            await without(node, dependency, ("read", "timeout"))
        await recovered(node, dependency, values)


@pytest.mark.timeout(30)
async def test_a_file_of_a_cgroup_hangs(tmp_path: Path) -> None:
    """The kernel stops the sampling thread; nothing true is left to say of containers until it goes on."""

    async def hangs(name: str) -> None:
        files = Place(tmp_path / name, containerd_systemd(tmp_path / name / "cgroup"))
        new = files.tree.root / files.tree.pods[0].path / f"cri-containerd-{container_id('hangs')}.scope"
        aside = files.folder / "aside"
        write_v2(aside, 99, 50_000)
        async with by_hand(files.settings) as node:
            await node.lives(1)
            before = await node.page()
            with hung(aside / name):
                aside.rename(new)
                with pytest.raises(ReadError):
                    await node.lives(1)
                page = await node.page()
                assert page.rows("cgroup_container_cpu_quota_state") == {}
                assert page.get(TAKEN_AT) == before.get(TAKEN_AT)
                assert ("read", "timeout") in failures(page)
                new.rename(aside)
            while named(page) < len(files.tree.containers):
                with suppress(ReadError):
                    await node.lives(1)
                page = await node.page()

    await asyncio.gather(*map(hangs, ("cpu.stat", "cpuset.cpus.effective", "cpu.pressure", "cpu.stat.local")))


# ---- the sources of the pods' names, on real time ----


@pytest.mark.parametrize("name", SOURCES)
async def test_a_source_of_names_fails_and_returns(name: str, tmp_path: Path) -> None:
    """Absent at start, dies, hangs, says nonsense, and returns each time: names once known stay."""
    files = Place(tmp_path, containerd_systemd(tmp_path / "cgroup"))
    everybody = len(files.tree.containers)
    async with SOURCES[name]() as answering:
        await answering.turn("shut")
        source = await asyncio.to_thread(answering.source, files)
        async with by_hand(files.settings, sources=[source]) as node:
            await node.when(lambda page: len(page.rows("cgroup_container_cpu_quota_state")) == everybody)
            assert named(await node.page()) == 0
            for state, reasons in REASONS.items():
                await answering.turn("right")
                page = await node.when(lambda page: named(page) == everybody and page.get(UP, source=source.name) == 1)
                counted = {("pods", reason): failures(page).get(("pods", reason), 0) for reason in reasons}
                await answering.turn(state)
                page = await node.when(partial(is_counted, counted))
                assert page.get(UP, source=source.name) == (state == "nonsense" and name == "log directory")
                assert named(page) == everybody


async def test_the_api_server_stands_in_until_the_kubelet_is_back(tmp_path: Path) -> None:
    """New pods get their names from it, and no container loses its own on the way."""
    build = v2(tmp_path / "cgroup")
    in_scope(build, pod_uid("old"), "Burstable", container_id("old"))
    files = Place(tmp_path, build)
    async with Kubelet() as kubelet, ApiServer() as api:
        sources: list[PodSource] = [await asyncio.to_thread(kubelet.source, files)]
        sources.append(await asyncio.to_thread(api.source, files))
        async with by_hand(replace(files.settings, pods_interval=1.0), sources=sources) as node:

            async def until(number: int, active: str) -> Page:
                def holds(page: Page) -> bool:
                    assert named(page) >= known, "a name was lost"
                    return named(page) == number and page.get(ACTIVE, source=active) == 1

                return await node.when(holds)

            known = 0
            await until(1, "kubelet")
            assert api.lists == 0, "nobody pays for a watch that is not needed"
            for known, state in enumerate(OUTAGES, 1):
                await kubelet.turn(state)
                in_scope(build, pod_uid(state), "Burstable", container_id(state))
                await api.put(pod_list(build)["items"][-1])
                page = await until(known + 1, "apiserver")
                assert [page.get(UP, source=source) for source in ("apiserver", "kubelet")] == [1, 0]
                assert failures(page).keys() & {("pods", reason) for reason in REASONS[state]}
                # The first list of a kubelet that restarts may lack everybody.
                empty, whole = ({"kind": "PodList", "items": None}, pod_list(build))
                kubelet.answer("/pods", Reply.json(empty), Reply.json(whole))
                kubelet.requests.clear()
                await kubelet.turn("right")
                known += 1  # noqa: PLW2901 - the new one's name is known, too
                await until(known, "kubelet")
                while len(kubelet.requests) < 2:
                    await until(known, "kubelet")


def is_counted(before: dict[tuple[str, str], float], page: Page) -> bool:
    return any(failures(page).get(kind, 0) > number for kind, number in before.items())


# ---- the cpu controller: without it there is nothing to serve ----


async def test_the_cpu_controller_is_absent_at_start(tmp_path: Path) -> None:
    dependency, files = place("cpu controller", tmp_path)
    dependency.take(files)
    with pytest.raises(ConfigError, match=r"--path.cgroup: .*not a cgroup tree with a cpu controller"):
        async with by_hand(files.settings):
            pass


@pytest.mark.parametrize("fault", ["dies", "returns"])
async def test_the_cpu_controller_goes_and_comes(fault: str, tmp_path: Path) -> None:
    dependency, files = place("cpu controller", tmp_path)
    async with by_hand(files.settings) as node:
        values = await healthy(node, dependency)
        before = await node.page()
        dependency.take(files)
        await node.lives(SCAN_SECONDS)
        page = await node.page()
        assert await shown(node, dependency) == values, "the last counters linger"
        assert page.rows("cgroup_container_cpu_limit_cores") == {}
        assert grown(before, page) == {("read", "enoent")}
        await node.lives(70)
        page = await node.page()
        assert (named(page), await shown(node, dependency)) == (0, [])
        assert page.get("throttle_exporter_cgroups", state="mapped") == 0
        dependency.give_back(files)
        if fault == "returns":
            dependency.write(files, dependency.fresh.encode())
            values = [70000.0] * dependency.containers
        await recovered(node, dependency, values)
        assert named(await node.page()) == dependency.containers
