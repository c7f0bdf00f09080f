"""What goes on while the exporter is watched: containers that come and go, and now and then something that fails."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import count, cycle

from exporter.lab.cgroups import CgroupTree
from exporter.lab.spec import Container, Pod, Workload
from exporter.lab.workloads import Workforce
from tests.soak.hostile import GET, many
from tests.support.lab import group_of, in_background
from tests.support.lab import pod as lab_pod
from tests.support.lab_kubelet import Kubelet

BUSY = Workload("busy")
STEADY = (
    (lab_pod("steady", Container("busy", limit_cores=0.05)), BUSY),
    (lab_pod("bursts", Container("bursty", limit_cores=0.05)), Workload("bursty", 2, 0.02)),
    (lab_pod("sleeps", Container("idle", limit_cores=0.5)), Workload()),
)
"""They stay from the beginning to the end."""
STEP_SECONDS = 3.0
"""Between two changes of the tree."""
ALIVE = 4
"""Pods that come and go, at one time."""
RESTART_STEPS = 10
"""Steps between two restarts of the container that crashes."""
LONG_ENOUGH = 25.0
"""Seconds after which a fault must have been counted: the exporter gives a client 10 s, and a kubelet 5 s."""
CLIENTS = 40


class Life:
    """Pods that stay, pods that come and go, and one whose container crashes and comes again."""

    def __init__(self, tree: CgroupTree, workforce: Workforce, kubelet: Kubelet) -> None:
        self._tree, self._workforce, self._kubelet = tree, workforce, kubelet
        self._alive: deque[Pod] = deque()
        self.made = 0
        """Containers so far, restarts included."""
        self.steady = tuple(pod.identified(tree.prefix) for pod, _ in STEADY)
        self._crashing = lab_pod("crashes", Container("again", limit_cores=0.02)).identified(tree.prefix)
        works = [*(work for _, work in STEADY), BUSY]
        for pod, workload in zip((*self.steady, self._crashing), works, strict=True):
            self._begin(pod, workload)
        self._tell()

    def run(self, stop: threading.Event) -> None:
        """Until told to stop; what it made stays for whoever removes the tree."""
        for number in count():
            if stop.wait(STEP_SECONDS):
                return
            if number % RESTART_STEPS == RESTART_STEPS - 1:
                [before] = self._crashing.containers
                self._tree.remove(group_of(self._tree, self._crashing))
                again = replace(before, container_id=f"{number:08x}{before.container_id[8:]}")
                self._crashing = replace(self._crashing, containers=(again,))
                self._begin(self._crashing, BUSY)
            made = [Container(f"c{one}", limit_cores=0.1) for one in range(1 + number % 3)]
            fleeting = lab_pod(f"fleeting-{number}", *made).identified(self._tree.prefix)
            self._tree.add_pod(fleeting)
            self.made += len(made)
            self._alive.append(fleeting)
            # The kubelet forgets a pod before its cgroups are gone.
            over = self._alive.popleft() if len(self._alive) > ALIVE else None
            self._tell()
            if over is not None:
                self._tree.remove(over.cgroup(self._tree.driver))

    def _begin(self, pod: Pod, workload: Workload) -> None:
        self._tree.add_pod(pod)
        self._workforce.start(workload, self._tree.members(group_of(self._tree, pod)))
        self.made += 1

    def _tell(self) -> None:
        self._kubelet.pods = (*self.steady, self._crashing, *self._alive)


class Faults:
    """Something that fails for a while, one after the other, again and again, with pauses.

    Each kind at least once in a run of so many seconds, and the last one over before its end.
    """

    def __init__(self, kubelet: Kubelet, address: tuple[str, int], seconds: float) -> None:
        garbage = '{"kind": "PodList", "items": [{'

        def clients(first: bytes, buffer: int = 0) -> AbstractContextManager[None]:
            return in_background(lambda stop: many(address, CLIENTS, first, every=0.5, buffer=buffer, over=stop.wait))

        self._kinds: dict[str, tuple[str, Callable[[], AbstractContextManager[None]]]] = {
            "kubelet down": ("pods/refused", kubelet.down),
            "slow clients": ("web/slow_request", lambda: clients(GET + b"X-Slow: ")),
            "kubelet says nonsense": ("pods/malformed", lambda: kubelet.nonsense(garbage)),
            "clients that never read": ("web/slow_reader", lambda: clients((GET + b"\r\n") * 200, buffer=4096)),
            "kubelet silent": ("pods/timeout", kubelet.silent),
        }
        self._turn = min(200.0, seconds / (len(self._kinds) + 1))
        self._lasts = min(30.0, self._turn / 2)
        self.begun: list[str] = []

    def run(self, stop: threading.Event) -> None:
        """Until told to stop."""
        for name, (_, happens) in cycle(self._kinds.items()):
            if stop.wait(self._turn - self._lasts):
                return
            self.begun.append(name)
            with happens():
                stop.wait(self._lasts)

    def expected(self) -> set[str]:
        """The ``stage/reason`` that the exporter must have counted by now."""
        return {self._kinds[name][0] for name in self.begun[:-1]} if self._lasts >= LONG_ENOUGH else set()
