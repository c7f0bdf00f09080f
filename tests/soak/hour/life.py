"""What goes on while the exporter is watched: containers that come and go, and now and then something that fails."""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import count, cycle

from exporter.lab.spec import Container, Pod, Workload
from exporter.lab.tree import KubepodsTree
from exporter.lab.workloads import Workforce
from tests.soak.hour.kubelet import Kubelet
from tests.support.lab import in_background
from tests.support.lab import pod as lab_pod

STEADY = (
    (lab_pod("steady", Container(name="busy", limit_cores=0.05)), Workload(kind="busy")),
    (
        lab_pod("bursts", Container(name="bursty", limit_cores=0.05)),
        Workload(kind="bursty", workers=2, unit_seconds=0.02, every_seconds=1.0),
    ),
    (lab_pod("sleeps", Container(name="idle", limit_cores=0.5)), Workload(kind="idle")),
)
"""They stay from the beginning to the end."""
STEP_SECONDS = 3.0
"""Between two changes of the tree."""
ALIVE = 4
"""Pods that come and go, at one time."""
RESTART_STEPS = 10
"""Steps between two restarts of the container that crashes."""


class Life:
    """Pods that stay, pods that come and go, and one whose container crashes and comes again."""

    def __init__(self, tree: KubepodsTree, workforce: Workforce, kubelet: Kubelet, lifetime: float) -> None:
        self._tree, self._workforce, self._kubelet, self._lifetime = tree, workforce, kubelet, lifetime
        self._numbers = count()
        self._alive: deque[Pod] = deque()
        self.made = 0
        """Containers so far, restarts included."""
        self.steady = tuple(pod.identified(tree.prefix) for pod, _ in STEADY)
        for pod, (_, workload) in zip(self.steady, STEADY, strict=True):
            self._begin(pod, workload)
        self._crashing = lab_pod("crashes", Container(name="again", limit_cores=0.02)).identified(tree.prefix)
        self._begin(self._crashing, Workload(kind="busy"))
        self._tell()

    def run(self, stop: threading.Event) -> None:
        """Until told to stop; what it made stays for whoever removes the tree."""
        while not stop.wait(STEP_SECONDS):
            number = next(self._numbers)
            if number % RESTART_STEPS == RESTART_STEPS - 1:
                self._crash(number)
            made = [Container(name=f"c{n}", limit_cores=0.1) for n in range(1 + number % 3)]
            fleeting = lab_pod(f"fleeting-{number}", *made).identified(self._tree.prefix)
            self._tree.add_pod(fleeting)
            self.made += len(made)
            self._alive.append(fleeting)
            # The kubelet forgets a pod before its cgroups are gone.
            over = self._alive.popleft() if len(self._alive) > ALIVE else None
            self._tell()
            if over is not None:
                self._tree.remove_pod(over)

    def _begin(self, pod: Pod, workload: Workload) -> None:
        self._tree.add_pod(pod)
        self._work(pod, workload)

    def _work(self, pod: Pod, workload: Workload) -> None:
        members = self._tree.members(self._tree.container_group(pod, pod.containers[0]))
        self._workforce.start(workload, members, lifetime=self._lifetime)
        self.made += 1

    def _crash(self, number: int) -> None:
        [before] = self._crashing.containers
        self._tree.remove(self._tree.container_group(self._crashing, before))
        again = replace(before, container_id=f"{number:08x}{before.container_id[8:]}")
        self._crashing = replace(self._crashing, containers=(again,))
        self._tree.make(
            self._tree.container_group(self._crashing, again), self._crashing.container_settings(again, None)
        )
        self._work(self._crashing, Workload(kind="busy"))

    def _tell(self) -> None:
        self._kubelet.pods = (*self.steady, self._crashing, *self._alive)


# ---- Faults ----


@dataclass(frozen=True)
class Fault:
    """Something that fails for a while."""

    name: str
    tells: str
    """``stage/reason`` under which the exporter counts it."""
    happens: Callable[[], AbstractContextManager[None]]


def faults(kubelet: Kubelet, address: tuple[str, int]) -> tuple[Fault, ...]:
    """All there are, of a kubelet and of clients at the exporter's address."""
    return (
        Fault("kubelet down", "pods/refused", kubelet.down),
        Fault("slow clients", "web/slow_request", lambda: slow_clients(address)),
        Fault("kubelet says nonsense", "pods/malformed", lambda: kubelet.nonsense('{"kind": "PodList", "items": [{')),
        Fault("clients that never read", "web/slow_reader", lambda: never_reading(address)),
        Fault("kubelet silent", "pods/timeout", kubelet.silent),
    )


LONG_ENOUGH = 25.0
"""Seconds after which a fault must have been counted: the exporter gives a client 10 s, and a kubelet 5 s."""


class Faults:
    """One after the other, again and again, with pauses."""

    def __init__(self, kinds: tuple[Fault, ...], *, pause: float, lasts: float) -> None:
        self._kinds, self._pause, self._lasts = kinds, pause, lasts
        self.begun: list[Fault] = []

    def run(self, stop: threading.Event) -> None:
        """Until told to stop."""
        for fault in cycle(self._kinds):
            if stop.wait(self._pause):
                return
            self.begun.append(fault)
            with fault.happens():
                stop.wait(self._lasts)

    def expected(self) -> set[str]:
        """What the exporter must have counted by now."""
        ended = self.begun[:-1]
        return {fault.tells for fault in ended} if self._lasts >= LONG_ENOUGH else set()


CLIENTS = 40


@contextmanager
def slow_clients(address: tuple[str, int]) -> Iterator[None]:
    """Each sends a byte of its headers now and then."""
    with ExitStack() as stack:
        opened = [stack.enter_context(socket.create_connection(address, timeout=5.0)) for _ in range(CLIENTS)]

        def drip(stop: threading.Event) -> None:
            text = b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: " + b"x" * 4096
            for byte in text:
                for sock in opened:
                    with suppress(OSError):  # the exporter has had enough of it
                        sock.sendall(bytes([byte]))
                if stop.wait(0.5):
                    return

        stack.enter_context(in_background(drip))
        yield


@contextmanager
def never_reading(address: tuple[str, int]) -> Iterator[None]:
    """Each asks for more pages than the kernel keeps for it, and reads none."""
    with ExitStack() as stack:
        for _ in range(CLIENTS):
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.settimeout(5.0)
            sock.connect(address)
            with suppress(OSError):
                sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 200)
        yield


def pauses(seconds: float, kinds: int) -> tuple[float, float]:
    """Pause and length of the faults of a run: each kind at least once, and the last one over before the end."""
    turn = min(200.0, seconds / (kinds + 1))
    lasts = min(30.0, turn / 2)
    return turn - lasts, lasts
