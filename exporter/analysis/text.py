"""Numbers as people read them: two digits that count, with their unit."""

from __future__ import annotations

import math
from collections.abc import Iterable

from exporter.model import CgroupName


def amount(value: float) -> str:
    """Two significant digits where it matters: ``0.25``, ``1.5``, ``12``."""
    if not math.isfinite(value):
        return "?"
    if abs(value) >= 9.95:
        return f"{value:.0f}"
    text = f"{value:.2g}" if abs(value) >= 0.01 else f"{value:.3f}"
    return "0" if text == "0.000" else text


def cpus(cores: float) -> str:
    """What was used: ``2 CPUs``, ``1 CPU``, ``0.67 CPUs``."""
    text = f"{cores:.4g}" if cores >= 1 else amount(cores)
    return f"{text} CPU" if text == "1" else f"{text} CPUs"


def limit(cores: float) -> str:
    """What somebody wrote, with its digits: ``12.5 CPUs``, ``0.125 CPUs``. Two that drifted apart never read alike."""
    return f"{cores:.4g} CPU" if f"{cores:.4g}" == "1" else f"{cores:.4g} CPUs"


def numbered(cpu_list: str) -> str:
    """``CPU 7``, ``CPUs 2-3,6``: which ones, not how many."""
    return f"{'CPU' if cpu_list.isdecimal() else 'CPUs'} {cpu_list}"


def percent(share: float) -> str:
    """``42 %``."""
    return f"{amount(100 * share)} %"


def milliseconds(seconds: float) -> str:
    """``100 ms``."""
    return f"{amount(1000 * seconds) if seconds < 0.00995 else f'{1000 * seconds:.0f}'} ms"


def count(number: int, thing: str) -> str:
    """``1 thread``, ``64 threads``."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def full_name(name: CgroupName) -> str:
    """``namespace/pod/container``; what is not known is left out."""
    return "/".join(part for part in name if part)


def listing(parts: Iterable[str]) -> str:
    """``a, b and c``."""
    *most, last = ["", *parts]
    return f"{', '.join(most[1:])} and {last}" if most[1:] else last
