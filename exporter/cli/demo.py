"""``throttle-exporter demo``: a whole node in one process, and the exporter on it.

Cgroups in kubepods layout with loads in them where this machine allows it (root and a writable hierarchy), else a
synthetic tree that moves; a kubelet API for their pods; and ``serve`` on both. Ctrl-C and SIGTERM clean up; what a kill
leaves the next start removes.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import tempfile
import uuid
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, Final

import aiohttp

from exporter import app
from exporter.cpulist import format_cpu_list
from exporter.lab import kubelet_api, scenario
from exporter.lab.hierarchy import LabError, writable_hierarchy
from exporter.lab.scenario import Node
from exporter.lab.stale_marker import own_prefix
from exporter.lab.synthetic import remove_stale_synthetic
from exporter.lab.tree import remove_stale
from exporter.settings import Settings
from exporter.values import ListenAddress, parse_duration

_MOVE_SECONDS: Final = 0.1
_LINE_SECONDS: Final = 10.0
_FIRST_LINE_SECONDS: Final = 0.25
_MOST_NAMES: Final = 5
_LONGEST_SECONDS: Final = 7 * 86400.0
"""No worker outlives this, should all else that ends it fail."""
_ADDRESS: Final = ListenAddress("127.0.0.1", 9843)
_RATIO: Final = re.compile(
    r'^cgroup_(?:container|pod)_cpu_throttled_ratio{(?:container="(?P<container>[^"]+)",)?namespace="(?P<namespace>[^"]+)",'
    r'pod="(?P<pod>[^"]+)"} (?P<ratio>\S+)$',
    re.MULTILINE,
)


def add_arguments(parser: ArgumentParser) -> None:
    """Add how long, and on what."""
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
    remove_stale_synthetic()
    name, driver = uuid.uuid4().hex, args.cgroup_driver
    if not args.synthetic:
        try:
            hierarchy = writable_hierarchy(Path(settings.path_cgroup))
        except LabError as error:
            _print(f"no real cgroups: {error}")
        else:
            remove_stale(hierarchy)
            pods = scenario.demo(hierarchy.cpus(), name)
            lifetime = min(_LONGEST_SECONDS, (args.duration or _LONGEST_SECONDS) + 60)
            # Named so that remove_stale_synthetic of the next start removes it after a kill.
            folder = Path(tempfile.gettempdir()) / own_prefix("root")
            folder.mkdir(mode=0o700)
            stack.callback(shutil.rmtree, folder)
            return stack.enter_context(scenario.real_node(hierarchy, pods, folder, lifetime=lifetime, driver=driver))
    cpus = frozenset(os.sched_getaffinity(0))
    return stack.enter_context(scenario.synthetic_node(scenario.demo(cpus, name), cpus, driver=driver))


async def _serve(settings: Settings, node: Node, duration: float | None) -> None:
    started, shared = datetime.now(UTC), node.scenario.shared_cpus

    def pods() -> dict[str, Any]:
        return kubelet_api.pod_list(node.pods, node_name="demo-node", started=started)

    def configz() -> dict[str, Any]:
        reserved = format_cpu_list(sorted(shared or ())[:1])
        return kubelet_api.configz(driver=node.driver, static_cpus=shared is not None, reserved_cpus=reserved)

    try:
        async with kubelet_api.KubeletApi(pods, configz) as kubelet, asyncio.TaskGroup() as group:
            _print(
                f"{len(node.pods)} pods with {sum(len(pod.running) for pod in node.pods)} containers in {node.place}"
            )
            _print(f"their kubelet answers at {kubelet.url}")
            address = asyncio.get_running_loop().create_future()
            tasks = [group.create_task(_report(address, settings.web_telemetry_path), name="reporter")]
            if node.move is not None:
                tasks.append(group.create_task(_keep_moving(node.move), name="mover"))
            with suppress(TimeoutError):
                async with asyncio.timeout(duration):
                    await app.run(_on_node(settings, node, kubelet.url), on_ready=address.set_result)
            for task in tasks:
                task.cancel()
    finally:
        # A signal now would interrupt the removal.
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)


def _on_node(settings: Settings, node: Node, kubelet_url: str) -> Settings:
    """Return the user's settings with the node's own, and its defaults where the user did not choose."""
    defaults = {"web_listen_address": _ADDRESS, "pods_sources": ("kubelet",), "node_name": "demo-node"}
    chosen: dict[str, Any] = {name: value for name, value in defaults.items() if name not in settings.given}
    chosen |= {"path_cgroup": str(node.cgroup_root), "kubelet_url": kubelet_url}
    return replace(settings, **chosen, kubelet_token_file=None, kubelet_ca_file=None)


async def _keep_moving(move: Callable[[], None]) -> None:
    while True:
        await asyncio.to_thread(move)
        await asyncio.sleep(_MOVE_SECONDS)


async def _report(address: asyncio.Future[str], path: str) -> None:
    """Print the page's address and the explain command; then, every ten seconds, what is throttled."""
    url = await address
    _print(f"status page at {url}/")
    _print(f"metrics at {url}{path}")
    other = "" if url.endswith(f":{_ADDRESS.port}") else f"--url={url} "
    pause, told = _FIRST_LINE_SECONDS, False
    async with aiohttp.ClientSession() as session:
        while True:
            await asyncio.sleep(pause)
            try:
                async with session.get(f"{url}{path}") as answer:
                    answer.raise_for_status()
                    worst = throttled(await answer.text())
            except (TimeoutError, aiohttp.ClientError) as error:
                _print(f"the page does not answer ({type(error).__name__})")
                worst = []
            if worst and not told:
                _print(f"why: throttle-exporter explain {other}{worst[0].partition(' ')[0]}")
                _print("Ctrl-C ends it and removes everything")
                pause, told = _LINE_SECONDS, True
            if told:
                _print(f"throttled periods: {', '.join(worst[:_MOST_NAMES]) or 'none'}")


def throttled(page: str) -> list[str]:
    """Return ``NAMESPACE/POD[/CONTAINER] RATIO`` of what is throttled on a metrics page, worst first."""
    found = []
    for row in _RATIO.finditer(page):
        name = "/".join(filter(None, (row["namespace"], row["pod"], row["container"])))
        found.append((float(row["ratio"]), name))
    return [f"{name} {ratio:.0%}" for ratio, name in sorted(found, key=lambda one: (-one[0], one[1])) if ratio > 0]


@contextmanager
def _one_interrupt() -> Iterator[None]:
    """SIGTERM ends as Ctrl-C does; a second signal of either kind does not disturb the first one's work."""

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


def _print(text: str) -> None:
    print(f"demo: {text}", flush=True)


def _duration(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{error}, not {text!r}") from error
    if not 0 < seconds <= _LONGEST_SECONDS:
        raise ArgumentTypeError("must be above 0 and at most 1w")
    return seconds
