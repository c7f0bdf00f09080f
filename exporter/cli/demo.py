"""``throttle-exporter demo``: a node of real cgroups, else of simulated files; a kubelet API; ``serve`` on both."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any, Final

from exporter import app
from exporter.cli import argument
from exporter.cli.source import Client, NoAnswerError
from exporter.cpulist import format_cpu_list
from exporter.errors import ExporterError
from exporter.lab import kubelet_api, scenario
from exporter.lab.cgroups import writable_hierarchy
from exporter.lab.scenario import Node
from exporter.lab.synthetic import synthetic_node
from exporter.report.schema import ContainersDocument
from exporter.settings import Settings
from exporter.values import ListenAddress, duration

_LINE_SECONDS: Final = 10.0
_PORT: Final = 9843
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def add_arguments(parser: ArgumentParser) -> None:
    """Add how long, and on what."""
    add, seconds, drivers = parser.add_argument, argument(duration(0.001, 7 * 86400.0).parse), ("cgroupfs", "systemd")
    add("--for", dest="seconds", type=seconds, metavar="DURATION", help="end by itself after this time")
    add("--synthetic", action="store_true", help="files that move, even where cgroups could be made")
    add("--cgroup-driver", choices=drivers, default=drivers[0], help="how groups are named (cgroupfs)")


def run(settings: Settings, args: Namespace) -> int:
    """Build the node, serve it, and leave nothing behind."""
    for number in _SIGNALS:
        signal.signal(number, _interrupt)
    with _node(settings, args) as node:
        asyncio.run(_serve(settings, node, args))
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # a second one does not disturb the first one's work
    raise KeyboardInterrupt


def _node(settings: Settings, args: Namespace) -> AbstractContextManager[Node]:
    name = uuid.uuid4().hex
    if not args.synthetic:
        try:
            hierarchy = writable_hierarchy(Path(settings.path_cgroup))
        except (ExporterError, OSError) as error:
            _print(f"no real cgroups: {error}")
        else:
            return scenario.real_node(hierarchy, scenario.demo(hierarchy.cpus(), name), args.cgroup_driver)
    cpus = frozenset(os.sched_getaffinity(0))
    return synthetic_node(scenario.demo(cpus, name), cpus, driver=args.cgroup_driver)


async def _serve(settings: Settings, node: Node, args: Namespace) -> None:
    pods, shared, driver = node.scenario.pods, node.scenario.shared_cpus, args.cgroup_driver
    pod_list, reserved = kubelet_api.pod_list(pods, node_name="demo-node"), format_cpu_list(sorted(shared or ())[:1])
    configz = kubelet_api.configz(driver=driver, static_cpus=shared is not None, reserved_cpus=reserved)
    loop = asyncio.get_running_loop()
    try:
        async with kubelet_api.serve(lambda: pod_list, lambda: configz) as url, asyncio.TaskGroup() as group:
            _print(f"{len(pods)} pods with {sum(len(pod.running) for pod in pods)} containers in {node.place}")
            _print(f"their kubelet answers at {url}")
            address = loop.create_future()
            tasks = [
                group.create_task(_report(address, settings.web_telemetry_path), name="reporter"),
                group.create_task(_keep_moving(node.move), name="mover"),
            ]
            with suppress(TimeoutError):
                async with asyncio.timeout(args.seconds):
                    await app.run(_on_node(settings, node, url), on_ready=address.set_result)
            for task in tasks:
                task.cancel()
    finally:
        # A signal now would interrupt the removal.
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)


def _on_node(settings: Settings, node: Node, kubelet_url: str) -> Settings:
    address = ListenAddress("127.0.0.1", _PORT)
    defaults = {"web_listen_address": address, "pods_sources": ("kubelet",), "node_name": "demo-node"}
    chosen: dict[str, Any] = {name: value for name, value in defaults.items() if name not in settings.given}
    chosen |= {"path_cgroup": str(node.cgroup_root), "kubelet_url": kubelet_url}
    return replace(settings, **chosen, kubelet_token_file=None, kubelet_ca_file=None)


async def _keep_moving(move: Callable[[], None]) -> None:
    while True:
        await asyncio.to_thread(move)
        await asyncio.sleep(0.1)


async def _report(address: asyncio.Future[str], path: str) -> None:
    url = await address
    _print(f"status page at {url}/")
    _print(f"metrics at {url}{path}")
    pause = 0.25
    while True:
        await asyncio.sleep(pause)
        try:
            worst = throttled(await asyncio.to_thread(Client(url).containers))
        except NoAnswerError as error:
            _print(str(error))
            continue
        if worst and pause != _LINE_SECONDS:
            other = "" if url.endswith(f":{_PORT}") else f"--url={url} "
            _print(f"why: throttle-exporter explain {other}{worst[0].partition(' ')[0]}")
            _print("Ctrl-C ends it and removes everything")
            pause = _LINE_SECONDS
        if pause == _LINE_SECONDS:
            _print(f"throttled periods: {', '.join(worst[:5]) or 'none'}")


def throttled(document: ContainersDocument) -> list[str]:
    """Return ``NAMESPACE/POD[/CONTAINER] RATIO`` of what is throttled, worst first."""
    ratios: dict[str, float | None] = {}
    for one in document["containers"]:
        pod = f"{one['namespace']}/{one['pod']}"
        ratios[f"{pod}/{one['container']}"] = one["throttling"]["ratio"]
        ratios[pod] = one["pod_cgroup"] and one["pod_cgroup"]["ratio"]
    found = sorted((-ratio, name) for name, ratio in ratios.items() if ratio)
    return [f"{name} {-ratio:.0%}" for ratio, name in found]


def _print(text: str) -> None:
    print(f"demo: {text}", flush=True)
