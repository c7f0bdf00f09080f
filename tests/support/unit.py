"""Keeps ``make unit`` what it says: no root, no program beside Python's, no real time.

A test that needs one of these is a system test: its file or folder is in :data:`SYSTEM`, or it is marked ``system``.
Any other test that starts a foreign program, writes below /sys, runs the exporter in real time or sleeps fails, in
whatever run it is.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
SYSTEM = (
    *("e2e", "live", "monitoring", "rules", "soak", "faults"),
    "cgroupfs/test_kernel.py",
    *("chart/test_alertmanager.py", "chart/test_image.py", "chart/test_pod_runs.py"),
    *("cli/test_client_tls.py", "cli/test_explain_process.py", "cli/test_tmux.py", "cli/test_top_terminal.py"),
    "fuzz/test_time.py",
    *("status/test_screens.py", "web/test_process.py"),
)
"""Files and folders of system tests, below ``tests``."""

_SYSTEM = tuple(f"{TESTS / name}/" for name in SYSTEM)

MOST_ASLEEP_SECONDS = 2.0
"""Time a unit test may be neither running nor waiting for a CPU."""
CHILDREN_WAIT = 10
"""How many times as long as they ran its child processes may have waited for a CPU, which no counter keeps."""
_WRITING = os.O_WRONLY | os.O_RDWR


class UnitGuard:
    """A pytest plugin that marks system tests and fails other tests that need what only system tests may."""

    def __init__(self) -> None:
        self._needs: list[str] = []

    def pytest_configure(self) -> None:
        """Begin to look on: not on import, or each file that a benchmark opens would cost twice."""
        sys.addaudithook(self._audit)

    def pytest_ignore_collect(self, collection_path: Path, config: pytest.Config) -> bool | None:
        """Spare a run of unit tests the import of what it leaves out."""
        return True if config.option.markexpr == "not system" and _is_system(collection_path) else None

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            if _is_system(item.path):
                item.add_marker(pytest.mark.system)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._needs.clear()
        item.stash[_BEGAN] = _asleep()
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Iterator[None]:
        result = yield
        asleep = _asleep() - item.stash[_BEGAN]
        if asleep > MOST_ASLEEP_SECONDS:
            self._needs.append(f"slept for {asleep:.1f} s")
        if self._needs and item.get_closest_marker("system") is None:
            pytest.fail(f"{'; '.join(self._needs)}: mark it system, see {Path(__file__).name}", pytrace=False)
        return result

    def real_time(self, what: str) -> None:
        """Note that the running test does ``what`` in real time."""
        self._needs.append(what)

    def _audit(self, event: str, arguments: tuple[object, ...]) -> None:
        match event, arguments:
            case "subprocess.Popen", (executable, *_):
                program = os.fsdecode(executable) if isinstance(executable, (str, bytes, os.PathLike)) else ""
                if not _is_ours(program):
                    self._needs.append(f"started {program}")
            case "open", (str(path), _, int(flags)) if path.startswith("/sys/") and flags & _WRITING:
                self._needs.append(f"wrote {path}")
            case "os.mkdir" | "os.rmdir", (str(path), *_) if path.startswith("/sys/"):
                self._needs.append(f"{event} {path}")
            case _:
                pass


_BEGAN = pytest.StashKey[float]()
GUARD = UnitGuard()


def _is_system(path: Path) -> bool:
    return f"{path}/".startswith(_SYSTEM)


def _is_ours(program: str) -> bool:
    """Return whether a program belongs to this Python, or is one of those without which there is no ``make unit``."""
    if program in {"make", "sed"} or os.path.basename(program) == "git" or program.startswith(sys.prefix + os.sep):
        return True
    return os.path.realpath(program) == os.path.realpath(sys.executable)


def _asleep() -> float:
    """Return seconds in which this process neither ran nor waited for a CPU, less what its children may explain."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        waited = int(Path("/proc/thread-self/schedstat").read_bytes().split()[1]) / 1e9
    except OSError:  # a kernel without CONFIG_SCHED_INFO
        waited = 0.0
    ran_by_children = children.ru_utime + children.ru_stime
    return time.monotonic() - time.process_time() - waited - (1 + CHILDREN_WAIT) * ran_by_children
