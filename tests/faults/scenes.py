"""The part of the fault matrix that needs real time: pods asked over sockets, reads that hang.

Each scene is a node of its own, and all of them live at once. The pod sources have short timeouts and retries; what
they are by default is in ``docs/degradation.md``.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from exporter.kube.apiserver import ApiServerSource, WatchTiming
from exporter.kube.kubelet import KubeletSource
from exporter.kube.logdir import LogDirSource
from exporter.kube.source import FileSource, PodSource
from tests.faults.files import FILE_DEPENDENCIES, on_v1
from tests.faults.gate import Gate, State
from tests.faults.node import AVAILABLE, Place, by_itself, failures, grown, hung, named
from tests.kube.fake_apiserver import NODE, FakeApiServer
from tests.support.fake_kubelet import FakeKubelet, Reply
from tests.support.pages import Page
from tests.support.treebuilder import container_id, write_v1, write_v2
from tests.support.trees import containerd_systemd

UP = "throttle_exporter_pods_source_up"
TAKEN_AT = "throttle_exporter_snapshot_timestamp_seconds"
QUICK: Final = WatchTiming(answer_seconds=0.5, silent_seconds=1.0, first_retry=0.1, last_retry=0.5)
TIMEOUT: Final = 0.5

SOURCES: Final = ("kubelet", "API server", "log directory")
CGROUP_FILES: Final = {
    "cpu controller": "cpu/{}/cpu.stat",
    "cpuset tree": "cpuset/{}/cpuset.effective_cpus",
    "cpuacct tree": "cpuacct/{}/cpuacct.usage",
    "cpu.pressure": "{}/cpu.pressure",
    "cpu.stat.local": "{}/cpu.stat.local",
}
"""The file of a container whose read never returns."""
MACHINE_FILES: Final = {
    "sysfs topology": "sys/devices/system/cpu/online",
    "/proc/stat": "proc/stat",
    "CPU manager checkpoint": "cpu_manager_state",
}
FAULTS: Final[dict[str, State]] = {
    "absent at start": "shut",
    "dies": "shut",
    "hangs": "silent",
    "garbage": "nonsense",
    "returns": "shut",
}
"""What each does to a pod source."""
KEYS: Final = [
    *((name, fault) for name in SOURCES for fault in FAULTS),
    *((name, "hangs") for name in (*CGROUP_FILES, *MACHINE_FILES)),
]


def all_at_once(folder: Path) -> dict[tuple[str, str], BaseException | None]:
    """What went wrong in each scene."""

    async def main() -> Sequence[BaseException | None]:
        lives = [scene(*key)(place_in(folder / "-".join(key).replace("/", ""), key[0])) for key in KEYS]
        return await asyncio.gather(*lives, return_exceptions=True)

    return dict(zip(KEYS, asyncio.run(main()), strict=True))


def place_in(folder: Path, name: str) -> Place:
    v1 = name in {"cpu controller", "cpuset tree", "cpuacct tree"}
    return Place(folder, (on_v1 if v1 else containerd_systemd)(folder / "cgroup"))


def scene(name: str, fault: str) -> Callable[[Place], Awaitable[None]]:
    if name in CGROUP_FILES:
        return partial(a_cgroup_file_hangs, name)
    if name in MACHINE_FILES:
        return partial(a_machine_file_hangs, name)
    return partial(a_source_fails, name, fault)


# ---- pod sources ----


class Names(NamedTuple):
    """A pod source and the switch that breaks it."""

    source: PodSource
    reasons: dict[State, str]
    """The failure that each state is counted as."""
    turn: Callable[[State], Awaitable[None]]
    tell: Callable[[], Awaitable[None]]
    """The pods of the place are what it answers from now on."""


HTTP_REASONS: Final[dict[State, str]] = {"shut": "refused", "silent": "timeout", "nonsense": "malformed"}
LOG_REASONS: Final[dict[State, str]] = {"shut": "not_found", "silent": "timeout", "nonsense": "malformed_name"}


async def kubelet(stack: AsyncExitStack, place: Place, state: State) -> Names:
    server = await stack.enter_async_context(FakeKubelet())
    gate = await stack.enter_async_context(Gate(server.url, state))
    server.answer("/configz", Reply(body=b'{"kubeletconfig": {}}'))

    async def tell() -> None:
        server.answer("/pods", Reply(body=json.dumps(place.listed).encode()))

    return Names(KubeletSource(gate.url, timeout_seconds=TIMEOUT), HTTP_REASONS, gate.turn, tell)


async def api_server(stack: AsyncExitStack, place: Place, state: State) -> Names:
    server = await stack.enter_async_context(FakeApiServer())
    gate = await stack.enter_async_context(Gate(server.url, state))
    place.write("token", server.token)
    token = str(place.folder / "token")
    source = ApiServerSource(gate.url, node_name=NODE, token_file=token, ca_file=None, timing=QUICK)

    async def tell() -> None:
        for item in place.listed["items"]:
            await server.put(item)

    return Names(source, HTTP_REASONS, gate.turn, tell)


async def log_directory(_: AsyncExitStack, place: Place, state: State) -> Names:
    pods, aside = place.folder / "logs/pods", place.folder / "logs/pods.aside"
    go_on = threading.Event()

    def list_names(path: str) -> list[str]:
        go_on.wait()
        return os.listdir(path)

    async def turn(state: State) -> None:
        (go_on.clear if state == "silent" else go_on.set)()
        if aside.exists():
            if pods.exists():
                shutil.rmtree(pods)
            aside.rename(pods)
        if state in {"shut", "nonsense"}:
            pods.rename(aside)
        if state == "nonsense":
            for number in range(5):
                os.makedirs(os.fsencode(pods) + b"/\xff\xfe %d" % number)

    async def tell() -> None:
        if pods.exists():
            await asyncio.to_thread(place.write_logs)

    place.write_logs()
    await turn(state)
    source = LogDirSource(str(place.folder / "logs"), timeout_seconds=TIMEOUT, list_names=list_names)
    return Names(source, LOG_REASONS, turn, tell)


OPENED: Final = {"kubelet": kubelet, "API server": api_server, "log directory": log_directory}


async def a_source_fails(name: str, fault: str, place: Place) -> None:
    """Names once known stay; a container that comes meanwhile goes by its id, and is named after the return."""
    at_start = fault == "absent at start"
    async with AsyncExitStack() as stack:
        names = await OPENED[name](stack, place, FAULTS[fault] if at_start else "open")
        await names.tell()
        node = await stack.enter_async_context(by_itself(place, [names.source]))
        page = Page("", "text/plain")
        if not at_start:
            page = await node.when(lambda page: named(page) == node.containers)
            await names.turn(FAULTS[fault])
        failed = ("pods", names.reasons[FAULTS[fault]])
        page = await node.when(lambda now: failed in grown(page, now))
        page = await node.when(lambda now: shown(now) == node.containers)
        known, total = named(page), node.containers
        assert known == (0 if at_start else total)
        if fault == "returns":
            place.add_pod("late")
            page = await node.when(lambda now: shown(now) == total + 1)
            assert named(page) == total
        if fault != "garbage" or name != "log directory":  # of which the rest of its names would do
            # The kubelet's other endpoint may have failed first.
            await node.when(lambda now: now.get(UP, source=names.source.name) == 0)
        assert node.exporter.ready().ok
        assert node.exporter.healthy().ok
        await names.turn("open")
        await names.tell()
        wanted = total + (fault == "returns")
        await node.when(lambda now: named(now) == wanted and now.get(UP, source=names.source.name) == 1)


def shown(page: Page) -> int:
    return len(page.rows("cgroup_container_cpu_quota_state"))


# ---- reads that hang ----


async def a_cgroup_file_hangs(name: str, place: Place) -> None:
    """The kernel stands still for one thread; nothing true is left to say of containers."""
    path = f"{place.tree.pods[0].path}/{container_id('hangs')}"
    mounts = {mount: place.tree.root / mount for mount in ("cpu", "cpuacct", "cpuset")}
    aside = place.folder / "late"
    async with by_itself(place, [FileSource(str(place.folder / "pods.json"))]) as node:
        page = await node.when(lambda page: shown(page) == node.containers)
        if place.tree.version == "v1":
            write_v1({mount: aside / mount for mount in mounts}, path, 99, 50_000, path)
        else:
            write_v2(aside / path, 99, 50_000)
        with hung(aside / CGROUP_FILES[name].format(path)):
            for mount in mounts if place.tree.version == "v1" else [""]:
                (aside / mount / path).rename(place.tree.root / mount / path)
            page = await node.when(lambda page: shown(page) == 0)
            assert ("read", "timeout") in failures(page)
            assert (await node.page()).get(TAKEN_AT) == page.get(TAKEN_AT), "it stands still"
            await node.when(lambda _: not node.exporter.healthy().ok)
            for mount in mounts if place.tree.version == "v1" else [""]:
                (place.tree.root / mount / path).rename(aside / mount / path)
        await node.when(lambda page: shown(page) == node.containers)
        assert node.exporter.healthy().ok


async def a_machine_file_hangs(name: str, place: Place) -> None:
    """It has a thread of its own, which nobody waits for twice."""
    input_name = next(one.input for one in FILE_DEPENDENCIES if one.name == name)
    async with by_itself(place, [FileSource(str(place.folder / "pods.json"))]) as node:
        await node.when(lambda page: page.get(AVAILABLE, input=input_name) == 1)
        with hung(place.folder / MACHINE_FILES[name]):
            page = await node.when(lambda page: page.get(AVAILABLE, input=input_name) == 0)
            assert ("read", "timeout") in failures(page)
            before = page.total("throttle_exporter_sample_duration_seconds_count")
            began = time.monotonic()
            page = await node.when(
                lambda page: page.total("throttle_exporter_sample_duration_seconds_count") >= before + 5
            )
            assert time.monotonic() - began < 10.0, "samples go on"
            assert shown(page) == node.containers
            assert node.exporter.healthy().ok
        await node.when(lambda page: page.get(AVAILABLE, input=input_name) == 1)
