"""What the exporter is compared with, each in a process of its own that is asked for one round at a time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import mean, median

from exporter.lab.hierarchy import LabError
from tests.bench.node import BenchNode
from tests.support.process import ROOT

TARGETS_SAMPLES, TARGETS_MS = 11_250, 54.0
"""How fast the machine was on which the targets were set: ``generate_latest`` of so many samples took so long."""
_WAKERS_LIVE_SECONDS = 1800


class Peer:
    """A program that does one round for each line it is sent, and answers with what the round cost."""

    def __init__(self, command: Sequence[str | Path], first: str = "") -> None:
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self._name = command[-1]
        self._send(first)

    def ask(self) -> float:
        """One round; raises ``LabError`` when the program has ended."""
        self._send("\n")
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        if not answer:
            raise LabError(f"{self._name} ended with {self._process.wait(10)}", reason="peer")
        return float(answer)

    def _send(self, text: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(text)
        except OSError as error:
            raise LabError.from_os_error(f"asking {self._name}", error) from error

    def close(self) -> None:
        """The end of its input is the end of it."""
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with suppress(OSError):  # it ended before; that was told where it was asked
                stream.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def peer(command: Sequence[str | Path], first: str = "") -> Iterator[Peer]:
    one = Peer(command, first)
    try:
        yield one
    finally:
        one.close()


def build(name: str, folder: Path) -> Path:
    """The C program ``name``, compiled into ``folder``."""
    program = folder / name
    source = Path(__file__).with_name(f"{name}.c")
    try:
        subprocess.run(["gcc", "-O2", "-o", program, source], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise LabError(f"compiling {source.name}: {error}", reason="gcc") from error
    return program


@contextmanager
def c_reader(program: Path, node: BenchNode) -> Iterator[Peer]:
    """Answers in CPU microseconds."""
    with peer([program], "".join(f"{file}\n" for file in node.files_of_a_tick()) + "\n") as one:
        yield one


@contextmanager
def client(samples: int) -> Iterator[Peer]:
    """``generate_latest`` of so many samples; answers in CPU milliseconds."""
    with peer([sys.executable, "-m", "tests.bench.client", str(samples)]) as one:
        yield one


@contextmanager
def awake(
    program: Path, members: Sequence[Sequence[Path]], *, every_seconds: float, work_seconds: float
) -> Iterator[None]:
    """In each of the cgroups a process that wakes at this pace."""
    arguments = [f"{1e3 * every_seconds:.0f}", f"{1e6 * work_seconds:.0f}", str(_WAKERS_LIVE_SECONDS)]
    lines = "".join("\t".join(map(str, files)) + "\n" for files in members)
    with peer([program, *arguments], lines) as one:
        joined = one.ask()
        if joined != len(members):
            raise LabError(f"only {joined:.0f} of {len(members)} containers woke", reason="wakers")
        yield


class Speed:
    """How slow this machine is now, as a multiple of the one on which the targets were set.

    Asked before and after each measurement: a virtual machine's speed changes by the minute.
    """

    def __init__(self, one_page: Callable[[], float]) -> None:
        """``one_page`` gives the milliseconds of one ``generate_latest`` of 11,250 samples."""
        self._one_page = one_page
        self.asked: list[float] = []
        """Milliseconds, in order."""

    def ask(self, times: int = 3) -> None:
        self.asked.append(median(self._one_page() for _ in range(times)))

    def around(self) -> float:
        """The factor of the measurement between the last time it was asked and now."""
        self.ask()
        return mean(self.asked[-2:]) / TARGETS_MS
