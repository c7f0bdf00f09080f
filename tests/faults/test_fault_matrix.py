"""Each dependency x each way in which it fails: what is still served, who keeps its name, how it ends, what tells.

Files fail on a node whose clock is the test's (:func:`tests.faults.node.by_hand`): recovery is in seconds of that
clock, at the default sample and scan intervals. What hangs and what is asked over HTTP fails on nodes on real time, all
at once.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.errors import ConfigError
from tests.faults import scenes
from tests.faults.files import FILE_DEPENDENCIES, GARBAGE, FileDependency
from tests.faults.node import AVAILABLE, Node, Place, by_hand, grown, named

# A server that dies on purpose leaves its transports to the collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

SCAN_SECONDS = 10

BY_NAME = {one.name: one for one in FILE_DEPENDENCIES}
by_file = pytest.mark.parametrize("name", [name for name in BY_NAME if name != "cpu controller"])  # which is all


def place(name: str, folder: Path) -> tuple[FileDependency, Place]:
    dependency = BY_NAME[name]
    return dependency, Place(folder, dependency.layout(folder / "cgroup"))


async def shown(node: Node, dependency: FileDependency) -> list[float | str]:
    return list(dependency.shows(await node.page(), await node.document()))


async def healthy(node: Node, dependency: FileDependency) -> list[float | str]:
    """What is shown of the dependency before anything happens to it."""
    await node.lives(25)
    page = await node.page()
    assert named(page) == node.containers
    assert page.get(AVAILABLE, input=dependency.input) == 1
    values = await shown(node, dependency)
    assert values
    return values


async def without(node: Node, dependency: FileDependency, *reasons: tuple[str, str]) -> None:
    """The page while the dependency is of no use: all but its values."""
    before = await node.page()
    await node.lives(2 * SCAN_SECONDS)
    page = await node.page()
    assert await shown(node, dependency) == []
    assert page.get(AVAILABLE, input=dependency.input) == 0
    assert named(page) == node.containers
    assert grown(before, page) == set(reasons)


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
    async with by_hand(files) as node:
        await without(node, dependency)
        dependency.give_back(files)
        async with by_hand(files) as other:  # what a start beside it says
            values = await healthy(other, dependency)
        await recovered(node, dependency, values)


@pytest.mark.parametrize("name", BY_NAME)
async def test_garbage(name: str, tmp_path: Path) -> None:
    dependency, files = place(name, tmp_path)
    async with by_hand(files) as node:
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
    async with by_hand(files) as node:
        before = values = await healthy(node, dependency)
        dependency.take(files)
        await without(node, dependency)
        dependency.give_back(files)
        if renewed:
            dependency.write(files, dependency.fresh.encode())
            async with by_hand(files) as other:
                values = await healthy(other, dependency)
            assert values != before or name == "/proc/stat", "of which only the growth since its return is shown"
        await recovered(node, dependency, values)


# ---- the cpu controller: without it there is nothing to serve ----


async def test_the_cpu_controller_is_absent_at_start(tmp_path: Path) -> None:
    dependency, files = place("cpu controller", tmp_path)
    dependency.take(files)
    with pytest.raises(ConfigError, match=r"--path.cgroup: .*not a cgroup tree with a cpu controller"):
        async with by_hand(files):
            pass


@pytest.mark.parametrize("fault", ["dies", "returns"])
async def test_the_cpu_controller_goes_and_comes(fault: str, tmp_path: Path) -> None:
    dependency, files = place("cpu controller", tmp_path)
    async with by_hand(files) as node:
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
            values = [70000.0] * node.containers
        await recovered(node, dependency, values)
        assert named(await node.page()) == node.containers


# ---- what hangs, and what is asked over HTTP ----


@pytest.fixture(scope="module")
def on_real_time(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], BaseException | None]:
    """All scenes on real time, lived through at once: waiting is most of what they do."""
    return scenes.all_at_once(tmp_path_factory.mktemp("scenes"))


@pytest.mark.timeout(150)  # the first of them waits for all scenes
@pytest.mark.parametrize("key", scenes.KEYS, ids="-".join)
def test_on_real_time(key: tuple[str, str], on_real_time: dict[tuple[str, str], BaseException | None]) -> None:
    failure = on_real_time[key]
    if failure is not None:
        raise failure
