import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.errors import MappingError
from exporter.identities import KubeletConfig, PodList
from exporter.kube.cache import PodCache, SourceStatus
from exporter.kube.podlist import parse_pod_list
from exporter.kube.source import full_jitter
from tests.support.pods import pod, pod_list
from tests.support.virtual_time import run_virtually

Clock = Callable[[], float]


def pods(*names: str) -> PodList:
    return parse_pod_list(pod_list(*(pod(f"uid-{name}", name) for name in names)), "test")


class Source:
    """Answers what it is told to, after as long as it is told to, and remembers when it was asked."""

    def __init__(self, name: str, clock: Clock, answer: PodList | str = "refused", seconds: float = 0.0) -> None:
        self.name = name
        self.answer = answer
        self.seconds = seconds
        self.asked: list[float] = []
        self._clock = clock

    async def pods(self) -> PodList:
        self.asked.append(round(self._clock(), 6))
        await asyncio.sleep(self.seconds)
        if isinstance(self.answer, str):
            raise MappingError(f"{self.name}: {self.answer}", reason=self.answer)
        return self.answer


class Node:
    """A cache on virtual time, its sources and what it handed on."""

    def __init__(self, clock: Clock, **sources: PodList | str) -> None:
        self.clock = clock
        self.sources = [Source(name, clock, answer) for name, answer in sources.items()]
        self.kubelet, self.asked = self.sources[0], self.sources[0].asked
        self.pods: list[PodList] = []
        self.configs: list[KubeletConfig] = []
        self.config: KubeletConfig | str = KubeletConfig(cpu_manager_policy="static")
        self.config_asked: list[float] = []
        self.cache = PodCache(
            self.sources,
            on_pods=self.pods.append,
            read_config=self._read_config,
            on_config=self.configs.append,
            clock=clock,
            wall=lambda: 1_000_000.0 + clock(),
            jitter=lambda: 1.0,
        )

    async def _read_config(self) -> KubeletConfig:
        self.config_asked.append(self.clock())
        if isinstance(self.config, str):
            raise MappingError(self.config, reason=self.config)
        return self.config

    @property
    def states(self) -> list[tuple[str, bool | None, bool]]:
        return [(one.name, one.up, one.active) for one in self.cache.status.sources]


def live(story: Callable[[Node], Awaitable[None]], **sources: PodList | str) -> Node:
    """Return the node after a story that is told while its cache runs."""

    async def main(clock: Clock) -> Node:
        node = Node(clock, **sources)
        task = asyncio.create_task(node.cache.run())
        try:
            await story(node)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        return node

    return run_virtually(main)


def seconds(number: float) -> Callable[[Node], Awaitable[None]]:
    return lambda _: asyncio.sleep(number)


def test_the_list_is_asked_for_at_once_and_every_interval() -> None:
    node = live(seconds(185), kubelet=pods("a"))
    assert node.asked == [0, 60, 120, 180]
    assert node.pods == [pods("a")] * 4
    assert node.cache.attempts == 4


BACKED_OFF = [0, 1, 2, 4, 8, 16, 26, 36]


@pytest.mark.parametrize(
    ("repeated", "new", "news", "takes", "asked"),
    [
        # Right after an answer it waits for half a second; later it is made at once, and the next a second later.
        ([], [0.1, 20.1, 20.2, 20.3], 20.0, 0.0, [0, 0.5, 20.1, 21.1]),
        # One that comes during a refresh is kept for the next.
        ([], [10.0, 10.2], None, 0.5, [0, 10, 11.5]),
        # About a container that is never mapped they back off, and news resets them.
        (range(1, 51), [], 41.0, 0.0, [*BACKED_OFF, 46, 47, 49, 53]),
        # They make neither a new container wait nor, after a quiet time, the same one.
        (range(1, 40), [40.0], None, 0.0, [*BACKED_OFF, 40]),
        ([*range(1, 40), 55], [], None, 0.0, [*BACKED_OFF, 46, 55]),
    ],
)
def test_requested_refreshes(
    repeated: Iterable[float], new: list[float], news: float | None, takes: float, asked: list[float]
) -> None:
    async def story(node: Node) -> None:
        node.kubelet.seconds = takes
        loop = asyncio.get_running_loop()
        for is_new, times in enumerate((repeated, new)):
            for at in times:
                loop.call_at(at, partial(node.cache.request_refresh, new=bool(is_new)))
        if news is not None:
            loop.call_at(news, setattr, node.kubelet, "answer", pods("a", "b"))
        await asyncio.sleep(59)

    assert live(story, kubelet=pods("a")).asked == asked


def test_failures_wait_longer_each_time_and_requests_do_not_shorten_that() -> None:
    async def story(node: Node) -> None:
        for _ in range(130):
            node.cache.request_refresh(new=True)
            await asyncio.sleep(1)

    assert live(story, kubelet="refused").asked == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5, 61.5, 91.5, 121.5]


@given(failures=st.integers(min_value=1, max_value=10_000), draw=st.floats(min_value=0, max_value=1, exclude_max=True))
def test_jitter_spreads_over_the_whole_wait_and_is_never_a_tight_loop(failures: int, draw: float) -> None:
    wait = full_jitter(failures, 0.5, 30.0, lambda: draw)
    ceiling = full_jitter(failures, 0.5, 30.0, lambda: 1.0)
    assert 0.1 <= wait <= ceiling <= 30.0


def test_the_first_source_that_works_is_used_and_an_earlier_one_that_recovers_is_used_again() -> None:
    async def story(node: Node) -> None:
        await asyncio.sleep(1)
        assert node.cache.pods == pods("api")
        assert node.states == [("kubelet", False, False), ("apiserver", True, True), ("logs", None, False)]
        node.cache.request_refresh()
        await asyncio.sleep(1)
        assert node.asked == [0]  # a request goes to the source in use
        await asyncio.sleep(60)
        assert node.asked == [0, 60]
        node.kubelet.answer = pods("kubelet")
        await asyncio.sleep(120)  # its second failure in a row lets it wait for two intervals
        assert node.cache.pods == pods("kubelet")
        assert node.states == [("kubelet", True, True), ("apiserver", True, False), ("logs", None, False)]

    assert live(story, kubelet="refused", apiserver=pods("api"), logs=pods("logs")).sources[2].asked == []


def test_when_the_source_in_use_fails_the_others_take_over_at_once() -> None:
    async def story(node: Node) -> None:
        await asyncio.sleep(5)
        node.kubelet.answer = "refused"
        node.cache.request_refresh(new=True)
        await asyncio.sleep(0.001)
        assert node.cache.pods == pods("a", "b")

    node = live(story, kubelet=pods("a"), apiserver=pods("a", "b"))
    assert [source.asked for source in node.sources] == [[0, 5], [5]]


def test_a_source_that_fails_for_ever_while_another_serves_is_said_and_counted_once_for_each_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story(node: Node) -> None:
        await asyncio.sleep(4 * 3600)
        first, second = node.cache.status.sources
        assert (first.up, first.reason, first.failures) == (False, "tls", {"tls": 1})
        assert (second.up, second.active, second.failures) == (True, True, {})
        assert [record.getMessage() for record in caplog.records] == [
            "pod source kubelet failed (tls): kubelet: tls",
            "pods come from apiserver now: 1 of them",
        ]
        node.kubelet.answer = "forbidden"
        await asyncio.sleep(900)
        assert node.cache.status.sources[0].failures == {"tls": 1, "forbidden": 1}
        assert caplog.records[-1].getMessage() == "pod source kubelet failed (forbidden): kubelet: forbidden"
        node.kubelet.answer = "tls"
        await asyncio.sleep(900)
        status = node.cache.status.sources[0]
        assert (status.reason, status.failures) == ("tls", {"tls": 1, "forbidden": 1})
        node.kubelet.answer = "forbidden"
        await asyncio.sleep(900)
        node.sources[1].answer = "timeout"
        await asyncio.sleep(100)
        first, second = node.cache.status.sources
        assert first.failures["forbidden"] > 5  # when all fail, all are tried again soon, and each failure counts
        assert second.failures["timeout"] > 5

    with caplog.at_level(logging.INFO):
        node = live(story, kubelet="tls", apiserver=pods("a"))
    assert [after - before for before, after in pairwise(node.asked[:19])] == [60, 120, 240, 480, *[900] * 14]


def test_the_last_good_list_outlives_every_failure() -> None:
    async def story(node: Node) -> None:
        await asyncio.sleep(1)
        node.kubelet.answer = "timeout"
        await asyncio.sleep(3600)
        assert node.cache.pods == pods("a")
        [status] = node.cache.status.sources
        assert (status.up, status.active, status.last_success) == (False, True, 1_000_000.0)
        assert status.failures == {"timeout": len(node.asked) - 1}
        assert status.last_error == "kubelet: timeout"
        node.kubelet.answer = pods("b")
        await asyncio.sleep(31)
        assert node.cache.pods == pods("b")
        [status] = node.cache.status.sources
        assert (status.up, status.last_error) == (True, "")

    assert live(story, kubelet=pods("a")).pods == [pods("a"), pods("b")]


@pytest.mark.parametrize("answer", ["refused", pods("a")])
def test_the_first_result_is_a_list_or_the_failure_of_all(answer: PodList | str) -> None:
    async def story(node: Node) -> None:
        node.sources[0].seconds, node.sources[1].seconds = 8, 2
        assert node.cache.attempts == 0
        await node.cache.first_result.wait()
        assert node.clock() == 10
        assert node.cache.attempts == 1

    live(story, kubelet="timeout", apiserver=answer)


def test_a_status_once_taken_does_not_change() -> None:
    async def story(node: Node) -> None:
        await asyncio.sleep(0.1)
        before = node.cache.status
        await asyncio.sleep(10)
        error = "kubelet: refused"
        expected = SourceStatus("kubelet", up=False, failures={"refused": 1}, reason="refused", last_error=error)
        assert before.sources == (expected,)

    live(story, kubelet="refused")


def test_the_same_failure_is_told_once_then_now_and_then_and_its_end(caplog: pytest.LogCaptureFixture) -> None:
    async def story(node: Node) -> None:
        await asyncio.sleep(1000)
        node.kubelet.answer = "forbidden"
        await asyncio.sleep(60)
        node.kubelet.answer = pods("a")
        await asyncio.sleep(60)

    with caplog.at_level(logging.INFO):
        live(story, kubelet="refused")
    assert [record.getMessage() for record in caplog.records] == [
        "pod source kubelet failed (refused): kubelet: refused",
        "pod source kubelet still fails, 26 times in a row (refused): kubelet: refused",
        "pod source kubelet failed (forbidden): kubelet: forbidden",
        "pod source kubelet works again after 41 failures",
        "pods come from kubelet now: 1 of them",
    ]


def test_problems_of_a_list_are_logged_and_counted_once(caplog: pytest.LogCaptureFixture) -> None:
    problems = {"malformed_pod": 2, "bad_annotation": 1}
    with caplog.at_level(logging.WARNING):
        node = live(seconds(200), kubelet=PodList(pods={}, problems=problems))
    assert len(node.asked) == 4
    assert node.cache.status.problems == problems
    assert [record.getMessage() for record in caplog.records] == [
        "pod list of kubelet: 1 bad_annotation, 2 malformed_pod"
    ]


def test_settings_are_asked_for_at_the_start_and_rarely_after() -> None:
    node = live(seconds(1801), kubelet=pods("a"))
    assert node.config_asked == [0, 600, 1200, 1800]
    assert node.configs == [KubeletConfig(cpu_manager_policy="static")] * 4


def test_settings_that_cannot_be_had_cost_nothing_but_themselves() -> None:
    async def story(node: Node) -> None:
        node.config = "forbidden"
        await asyncio.sleep(100)

    node = live(story, kubelet=pods("a"))
    assert node.config_asked == [0, 5, 15, 35, 75]
    # It may be so for ever, and nothing else is missing.
    assert node.cache.status.config_failures == {"forbidden": 1}
    assert len(node.pods) == 2


def test_settings_are_asked_for_anew_when_the_kubelet_is_back() -> None:
    async def story(node: Node) -> None:
        await asyncio.sleep(30)
        node.kubelet.answer = "refused"
        await asyncio.sleep(31)
        node.kubelet.answer = pods("a")
        await asyncio.sleep(30)

    assert live(story, kubelet=pods("a")).config_asked == [0, 61.5]
