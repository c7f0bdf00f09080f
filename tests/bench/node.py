"""A node of the size to be measured, in this machine's real cgroups, with its kubelet and containers that wake."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from exporter.lab.cgroups import CgroupTree, LabError, writable_hierarchy
from exporter.lab.spec import Container, Pod
from tests.support.lab import group_of
from tests.support.lab_kubelet import Kubelet, kubelet
from tests.support.process import ROOT

CONTAINERS_A_POD = 3
_WAKERS_LIVE_SECONDS = 1800
_END_SECONDS = 60.0


class Peer:
    """A program that does one round for each line it is sent, and answers with what the round cost."""

    def __init__(self, command: Sequence[str | Path], first: str = "") -> None:
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout
        self._input.write(first)

    def ask(self) -> float:
        """One round; raises ``LabError`` when the program has ended."""
        with suppress(OSError):  # no answer will come then
            self._input.write("\n")
        answer = self._output.readline()
        if not answer:
            raise LabError(f"{self._process.args!r} ended with {self._process.wait(10)}", reason="peer")
        return float(answer)

    def close(self) -> None:
        """The end of its input is the end of it."""
        for stream in (self._input, self._output):
            with suppress(OSError):
                stream.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:  # three thousand wakers take a while to end on a busy machine
            self._process.kill()
            self._process.wait()


def build(name: str, folder: Path) -> Path:
    """The C program ``name``, compiled into ``folder``."""
    program, source = folder / name, Path(__file__).with_name(f"{name}.c")
    try:
        subprocess.run(["gcc", "-O2", "-o", program, source], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise LabError(f"compiling {source.name}: {error}", reason="gcc") from error
    return program


@dataclass(frozen=True)
class BenchNode:
    """What the measurements need to know of it."""

    tree: CgroupTree
    pods: tuple[Pod, ...]
    kubelet: Kubelet
    root: Path
    """Shows this tree alone: other pods of the machine would be measured too."""
    programs: Path
    """Folder of the compiled ones."""
    members: list[tuple[Path, ...]] = field(repr=False)
    """Of each container, the files that take the pid of who joins it; one container of every pod comes first."""

    def c_reader(self) -> Peer:
        """Reads what one tick reads, the counters of every pod and container under a quota; in CPU microseconds."""
        groups = [path for pod in self.pods for path, settings, _ in pod.cgroups("cgroupfs") if settings.quota_us]
        names = [("cpu", "cpu.stat")]
        if self.tree.hierarchy.version == "v1":
            names.append(("cpuacct", "cpuacct.usage"))
        files = [self.tree.file(controller, group, name) for group in groups for controller, name in names]
        return Peer([self.programs / "reader"], "".join(f"{file}\n" for file in files) + "\n")

    @contextmanager
    def awake(self, members: Sequence[Sequence[Path]], every_seconds: float, work_seconds: float) -> Iterator[None]:
        """In each of the cgroups a process that wakes at this pace."""
        pace = [f"{1e3 * every_seconds:.0f}", f"{1e6 * work_seconds:.0f}", str(_WAKERS_LIVE_SECONDS)]
        lines = "".join("\t".join(map(str, files)) + "\n" for files in members)
        wakers = Peer([self.programs / "wakers", *pace], lines)
        try:
            joined = wakers.ask()
            if joined != len(members):
                raise LabError(f"only {joined:.0f} of {len(members)} containers woke", reason="wakers")
            yield
        finally:
            wakers.close()

    @contextmanager
    def living(self, pods: Sequence[Pod]) -> Iterator[None]:
        """Pods that come, as the kubelet makes them, do a little work, and go."""
        self.kubelet.pods = (*self.kubelet.pods, *pods)
        for pod in pods:
            self.tree.add_pod(pod)
        with self.awake([self.tree.members(group_of(self.tree, pod)) for pod in pods], 0.1, 0.001):
            yield
        for pod in pods:
            self.tree.remove(pod.cgroup(self.tree.driver))


@contextmanager
def bench_node(pods: int) -> Iterator[BenchNode]:
    """``pods`` times three containers under quotas, nothing running in them. Raises ``LabError`` without cgroups."""
    hierarchy = writable_hierarchy()
    made = tuple(new_pod(number) for number in range(pods))
    with ExitStack() as stack:
        programs = Path(stack.enter_context(TemporaryDirectory()))
        for name in ("reader", "wakers"):
            build(name, programs)
        tree = stack.enter_context(CgroupTree(hierarchy, "bench"))
        for pod in made:
            tree.add_pod(pod)
        served = stack.enter_context(kubelet("bench-node"))
        served.pods = made
        members = [tree.members(group_of(tree, pod, one)) for one in range(CONTAINERS_A_POD) for pod in made]
        root = tree.own_root(Path(stack.enter_context(TemporaryDirectory())))
        yield BenchNode(tree, made, served, root, programs, members)


def new_pod(number: int, name: str = "service") -> Pod:
    """Named as a Deployment's pods are."""
    containers = tuple(Container(f"app-{one}", 0.01, 1.0) for one in range(CONTAINERS_A_POD))
    pod = Pod(f"team-{number % 20}", f"{name}-{number}-6c8f7b9d5-x{number:04d}", "ReplicaSet", name, containers)
    return pod.identified("bench")
