"""The kubelet's settings that cannot be had, on a clock that jumps: what was known stays, and is asked for again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final

from exporter.errors import MappingError
from exporter.identities import KubeletConfig, PodList
from exporter.kube.cache import PodCache
from exporter.kube.configz import parse_configz
from exporter.kube.podlist import parse_pod_list
from exporter.metrics.own import OwnMetrics
from tests.sampler.rig import Rig
from tests.support.pages import Page
from tests.support.virtual_time import run_virtually
from tests.survive.matrix import Cell
from tests.survive.node import AVAILABLE, ERRORS, Place, named

POLICY: Final = "cgroup_node_cpu_manager_info"
POLL_SECONDS: Final = 600
NOTICE_SECONDS: Final = 10.0
KUBELET_SECONDS: Final = 10.0
"""How long the kubelet's client waits for an answer."""
HAPPENS: Final[dict[str, bytes | str]] = {
    "absent at start": "refused",
    "dies": "refused",
    "hangs": "timeout",
    "garbage": b"<html>",
    "returns": "refused",
}
"""What each fault gives: a failure's reason, or an answer."""


class Kubelet:
    """A source of both kinds that answers as it is told."""

    name = "kubelet"

    def __init__(self, place: Place) -> None:
        self._listed = json.dumps(place.listed).encode()
        self.answer: bytes | str = self.policy("static")

    @staticmethod
    def policy(name: str) -> bytes:
        return json.dumps({"kubeletconfig": {"cpuManagerPolicy": name}}).encode()

    async def pods(self) -> PodList:
        return parse_pod_list(self._listed, "test")

    async def config(self) -> KubeletConfig:
        answer = self.answer
        if isinstance(answer, bytes):
            return parse_configz(answer)
        await asyncio.sleep(KUBELET_SECONDS if answer == "timeout" else 0)
        raise MappingError("told to", reason=answer)

    async def aclose(self) -> None:
        return


class Story:
    """A sampler and a directory on one clock, which jumps from timer to timer."""

    def __init__(self, place: Place, clock: Callable[[], float]) -> None:
        self.kubelet = Kubelet(place)
        # Files are read in a thread that the loop waits for: this loop is watched, and meanwhile its clock stands.
        self._thread = ThreadPoolExecutor(1)
        self._rig, self._clock = self._thread.submit(Rig, place.tree.root).result(), clock
        self._directory = PodCache(
            [self.kubelet],
            on_pods=self._rig.sampler.set_pods,
            config_source=self.kubelet,
            on_config=self._rig.sampler.set_kubelet,
            clock=clock,
            wall=clock,
            jitter=lambda: 1.0,  # the longest waits
        )
        self._own = OwnMetrics(interval=1.0, window=60.0, directory=lambda: self._directory.status)

    async def tell(self, what: Callable[[], Coroutine[Any, Any, Cell]]) -> Cell:
        asking = asyncio.create_task(self._directory.run())
        try:
            return await what()
        finally:
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await asking
            self._rig.sampler.close()
            self._thread.shutdown()

    async def page(self, seconds: float = 1.0) -> Page:
        """After so many more seconds."""
        await asyncio.sleep(seconds)
        return self._thread.submit(self._page).result()

    def _page(self) -> Page:
        self._rig.now = 1000.0 + self._clock()
        self._rig.scan()
        self._rig.sampler.tick()
        snapshot = self._rig.snapshot()
        self._own.publish(snapshot)
        text = self._rig.renderer.render(snapshot, "text") + self._own.render("text")
        return Page(text.decode(), "text/plain")


def fault(name: str, place: Place) -> Cell:
    """What this fault does."""

    async def main(clock: Callable[[], float]) -> Cell:
        story = Story(place, clock)
        return await story.tell(lambda: _live_through(name, story, clock, len(place.tree.containers)))

    return run_virtually(main)


async def _live_through(name: str, story: Story, clock: Callable[[], float], containers: int) -> Cell:
    kubelet, at_start = story.kubelet, name == "absent at start"
    if at_start:
        kubelet.answer = HAPPENS[name]
    page = await story.page()
    assert page.values(POLICY, "policy") == (set() if at_start else {"static"})
    kubelet.answer = HAPPENS[name]
    began = clock()
    reason = "malformed" if name == "garbage" else str(HAPPENS[name])
    while not page.get(ERRORS, stage="pods", reason=reason):
        page = await story.page(NOTICE_SECONDS)
        assert clock() - began <= POLL_SECONDS + KUBELET_SECONDS + NOTICE_SECONDS
    noticed = clock() - began
    for _ in range(6):
        page = await story.page(NOTICE_SECONDS)
        assert named(page) == containers
        assert page.values(POLICY, "policy") == (set() if at_start else {"static"}), "the last answer stays"
        assert page.get(AVAILABLE, input="kubelet_configz") == (0 if at_start else 1)
    kubelet.answer = kubelet.policy("none")  # another one, to see it arrive
    began = clock()
    while page.values(POLICY, "policy") != {"none"}:
        page = await story.page()
        assert clock() - began < POLL_SECONDS
    missing = 'input_available{input="kubelet_configz"} 0, ' if at_start else ""
    return Cell(
        "configz",
        name,
        "all but the node's labels" if at_start else f"whole, with the last answer; noticed within {noticed:.0f} s",
        f"{named(page)} of {containers}",
        f"{clock() - began:.0f} s" + (", its new values" if name == "returns" else ""),
        f'{missing}errors_total{{stage="pods",reason="{reason}"}}',
    )
