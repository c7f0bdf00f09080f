"""``throttle-exporter demo``: a whole node in one process, and the exporter on it.

Cgroups in kubepods layout with loads in them where this machine lets us make some (root and a writable hierarchy), else
a synthetic tree that moves; a kubelet API for their pods; and ``serve`` on both, with nothing replaced in it. Whatever
ends it, nothing stays: Ctrl-C and SIGTERM clean up, and what a kill leaves the next start removes.
"""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import aiohttp

from exporter import app
from exporter.cpulist import format_cpu_list
from exporter.lab import podlist, scenario
from exporter.lab.hierarchy import LabError, writable_hierarchy
from exporter.lab.kubelet import KubeletApi
from exporter.lab.node import Node, real_node, synthetic_node
from exporter.lab.synthetic import sweep_synthetic
from exporter.lab.tree import sweep
from exporter.metrics.catalog import FAMILIES
from exporter.settings import Settings
from exporter.values import ListenAddress, parse_duration

_MOVE_SECONDS = 0.1
_POLL_SECONDS = 0.25
_TELL_WITHIN_SECONDS = 15.0
_MOST_LINES = 8
_LONGEST_SECONDS = 7 * 86400.0
"""No worker outlives this, should all else that ends it fail."""
_ADDRESS = ListenAddress("127.0.0.1", 9843)


def add_arguments(parser: ArgumentParser) -> None:
    """How long, and on what."""
    parser.add_argument(
        "--for", dest="duration", type=_duration, metavar="DURATION", help="end by itself after this time"
    )
    parser.add_argument("--synthetic", action="store_true", help="files that move, even where cgroups could be made")
    parser.add_argument(
        "--cgroup-driver", choices=("cgroupfs", "systemd"), default="cgroupfs", help="how groups are named (cgroupfs)"
    )


def run(settings: Settings, args: Namespace) -> int:
    """Build the node, serve it, and leave nothing behind."""
    with _one_interrupt(), ExitStack() as stack:
        node = _build(stack, settings, args)
        asyncio.run(_serve(settings, node, args.duration))
    return 0


def _build(stack: ExitStack, settings: Settings, args: Namespace) -> Node:
    sweep_synthetic()
    if not args.synthetic:
        try:
            hierarchy = writable_hierarchy(Path(settings.path_cgroup))
        except LabError as error:
            _say(f"no real cgroups: {error}")
        else:
            sweep(hierarchy)
            pods = scenario.demo(hierarchy.cpus(), uuid.uuid4().hex)
            lifetime = min(_LONGEST_SECONDS, (args.duration or _LONGEST_SECONDS) + 60)
            return stack.enter_context(real_node(hierarchy, pods, lifetime=lifetime, driver=args.cgroup_driver))
    cpus = frozenset(os.sched_getaffinity(0))
    pods = scenario.demo(cpus, uuid.uuid4().hex)
    return stack.enter_context(synthetic_node(pods, cpus, driver=args.cgroup_driver))


async def _serve(settings: Settings, node: Node, duration: float | None) -> None:
    started = datetime.now(UTC)
    static_cpus = node.shared_cpus is not None

    def pods() -> dict[str, Any]:
        return podlist.pod_list(node.pods, node_name="demo-node", started=started)

    def configz() -> dict[str, Any]:
        reserved = format_cpu_list(sorted(node.shared_cpus or ())[:1])
        return podlist.configz(driver=node.driver, static_cpus=static_cpus, reserved_cpus=reserved)

    try:
        async with KubeletApi(pods, configz) as kubelet, asyncio.TaskGroup() as group:
            running = sum(not container.finished for pod in node.pods for container in pod.containers)
            _say(f"{len(node.pods)} pods with {running} containers in {node.place}")
            _say(f"their kubelet answers at {kubelet.url}")
            address = asyncio.get_running_loop().create_future()
            tasks = [group.create_task(_tell(address, settings.web_telemetry_path), name="teller")]
            if node.move is not None:
                tasks.append(group.create_task(_keep_moving(node.move), name="mover"))
            with suppress(TimeoutError):
                async with asyncio.timeout(duration):
                    await app.run(_on_node(settings, node, kubelet.url), on_ready=address.set_result)
            for task in tasks:
                task.cancel()
    finally:
        # What is removed now must not be interrupted half-way.
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)


def _on_node(settings: Settings, node: Node, kubelet_url: str) -> Settings:
    """The user's settings, with the node's own where the user did not choose."""
    defaults: dict[str, Any] = {
        "web_listen_address": _ADDRESS,
        "pods_sources": ("kubelet",),
        "node_name": "demo-node",
    }
    chosen = {name: value for name, value in defaults.items() if name not in settings.given}
    fixed: dict[str, Any] = {
        "path_cgroup": str(node.cgroup_root),
        "kubelet_url": kubelet_url,
        "kubelet_token_file": None,
        "kubelet_ca_file": None,
    }
    return replace(settings, **chosen | fixed)


async def _keep_moving(move: Callable[[], None]) -> None:
    while True:
        await asyncio.to_thread(move)
        await asyncio.sleep(_MOVE_SECONDS)


async def _tell(address: asyncio.Future[str], path: str) -> None:
    """Prints where the page is, and some of it as soon as it has windows of named pods."""
    url = f"{await address}{path}"
    _say(f"metrics at {url}")
    lines: list[str] = []
    try:
        async with asyncio.timeout(_TELL_WITHIN_SECONDS), aiohttp.ClientSession() as session:
            while not lines:
                await asyncio.sleep(_POLL_SECONDS)
                async with session.get(url) as answer:
                    answer.raise_for_status()
                    lines = _telling_lines(await answer.text())
    except (TimeoutError, aiohttp.ClientError) as error:
        _say(f"the page has nothing to tell yet ({type(error).__name__})")
        return
    for line in lines:
        print(f"  {line}")
    _say("Ctrl-C ends it and removes everything")


def _telling_lines(page: str) -> list[str]:
    """The worst rows of the first throttling gauge, of containers and of pods; empty until pods have names."""
    gauges = [one for one in FAMILIES if one.metric.collector == "throttle" and one.metric.kind == "gauge"]
    found: list[str] = []
    for row_type in ("container", "pod"):
        name = next(one.name for one in gauges if one.row_type == row_type)
        rows = [line for line in page.splitlines() if line.startswith(f"{name}{{") and 'namespace=""' not in line]
        found += sorted(rows, key=lambda line: -float(line.rpartition(" ")[2]))[: _MOST_LINES // 2]
    return found


@contextmanager
def _one_interrupt() -> Iterator[None]:
    """SIGTERM ends as Ctrl-C does, in order; a second signal of either kind does not disturb the first one's work."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(text: str) -> None:
    print(f"demo: {text}", flush=True)


def _duration(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{error}, not {text!r}") from error
    if not 0 < seconds <= _LONGEST_SECONDS:
        raise ArgumentTypeError("must be above 0 and at most 1w")
    return seconds
