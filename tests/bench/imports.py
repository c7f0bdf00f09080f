"""What the imports of ``serve`` cost: time by ``-X importtime``, memory by a fresh interpreter for each package."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from statistics import median

from tests.bench.results import Import
from tests.support.process import ROOT, environment

MODULE = "exporter.cli.serve"
_LINE = re.compile(r"^import time:\s+(?P<self>\d+) \|\s+\d+ \|\s*(?P<module>\S+)$", re.MULTILINE)
_ROUNDS = 3
_SHOWN_SHARE = 0.005
_RESIDENT = """
import {names}
for line in open("/proc/self/status"):
    if line.startswith("VmRSS:"):
        print(line.split()[1])
"""


def imports() -> list[Import]:
    """By top-level package, the dearest first; the standard library but for asyncio, and what is cheap, in one row."""
    costs = [import_costs(_importtime()) for _ in range(_ROUNDS)]
    bare = _resident_mb("sys")
    whole = median(sum(one for one, _ in cost.values()) for cost in costs)
    shown: list[Import] = []
    rest: dict[str, tuple[float, int]] = {}
    for package, (_, modules) in costs[0].items():
        milliseconds = median(cost.get(package, (0.0, 0))[0] for cost in costs)
        is_standard = package in sys.stdlib_module_names and package != "asyncio"
        if not is_standard and milliseconds >= _SHOWN_SHARE * whole:
            grown = None if package == "exporter" else _resident_mb(package) - bare
            shown.append(Import(name=package, milliseconds=milliseconds, modules=modules, megabytes=grown))
        else:
            name = "the rest of the standard library" if is_standard else "other packages"
            sum_ms, sum_modules = rest.get(name, (0.0, 0))
            rest[name] = sum_ms + milliseconds, sum_modules + modules
    shown.sort(key=lambda one: one.milliseconds or 0.0, reverse=True)
    modules = sum(number for _, number in costs[0].values())
    return [
        *shown,
        *(Import(name=name, milliseconds=ms, modules=number) for name, (ms, number) in rest.items()),
        Import(name=f"`{MODULE}`", milliseconds=whole, modules=modules, megabytes=_resident_mb(MODULE) - bare),
        Import(name="Python alone", milliseconds=None, modules=None, megabytes=bare),
    ]


def import_costs(text: str) -> dict[str, tuple[float, int]]:
    """Of each top-level package its own milliseconds and its modules.

    Modules that start Python itself are in it: ``site``, ``encodings``.
    """
    costs: dict[str, tuple[float, int]] = defaultdict(lambda: (0.0, 0))
    for found in _LINE.finditer(text):
        package = found["module"].partition(".")[0]
        # An extension module in C is its package's, or the package's that wraps it.
        package = package.removeprefix("_") if package.removeprefix("_") in sys.stdlib_module_names else package
        milliseconds, modules = costs[package]
        costs[package] = milliseconds + int(found["self"]) / 1000, modules + 1
    return dict(costs)


def _importtime() -> str:
    command = [sys.executable, "-X", "importtime", "-c", f"import {MODULE}"]
    return subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=True).stderr


def _resident_mb(name: str) -> float:
    command = [sys.executable, "-c", _RESIDENT.format(names=name)]
    ran = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    return int(ran.stdout) / 1024 if ran.returncode == 0 else float("nan")
