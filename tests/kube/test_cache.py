import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import FrozenInstanceError
from itertools import pairwise

import pytest

from exporter.errors import MappingError
from exporter.identities import ContainerIdentity, ContainerSpec, KubeletConfig, PodIdentity, PodList, PodSpec
from exporter.kube.cache import PodCache, SourceStatus
from exporter.kube.source import PodSource
from tests.support.virtual_time import run_virtually

Clock = Callable[[], float]


def pods(*container_ids: str) -> PodList:
    """One pod for each id."""
    return PodList(
        pods={
            f"uid-{container_id}": PodIdentity(
                uid=f"uid-{container_id}",
                namespace="default",
                name=container_id,
                spec=PodSpec("Burstable"),
                workload_kind="Pod",
                workload=container_id,
                containers=(ContainerIdentity(container_id, "app", "container", "containerd", True, ContainerSpec()),),
            )
            for container_id in container_ids
        }
    )


class Source:
    """Answers what it is told to, after as long as it is told to, and remembers when it was asked."""

    def __init__(self, name: str, clock: Clock, answer: PodList | str = "refused", seconds: float = 0.0) -> None:
        self.name = name
        self.answer = answer
        self.seconds = seconds
        self.asked: list[float] = []
        self.closed = False
        self._clock = clock

    async def pods(self) -> PodList:
        self.asked.append(self._clock())
        await asyncio.sleep(self.seconds)
        if isinstance(self.answer, str):
            raise MappingError(f"{self.name}: {self.answer}", reason=self.answer)
        return self.answer

    async def aclose(self) -> None:
        self.closed = True


class Settings:
    """A kubelet's settings that may or may not be had."""

    def __init__(self, clock: Clock) -> None:
        self.answer: KubeletConfig | str = KubeletConfig(cpu_manager_policy="static")
        self.asked: list[float] = []
        self._clock = clock

    async def config(self) -> KubeletConfig:
        self.asked.append(self._clock())
        if isinstance(self.answer, str):
            raise MappingError(self.answer, reason=self.answer)
        return self.answer


class Told:
    """What the directory handed on."""

    def __init__(self) -> None:
        self.pods: list[PodList] = []
        self.configs: list[KubeletConfig] = []


def directory(
    clock: Clock, *sources: PodSource, told: Told | None = None, settings: Settings | None = None
) -> PodCache:
    told = told or Told()
    return PodCache(
        sources,
        on_pods=told.pods.append,
        config_source=settings,
        on_config=told.configs.append,
        clock=clock,
        wall=lambda: 1_000_000.0 + clock(),
        jitter=lambda: 1.0,
    )


async def running(made: PodCache, story: Callable[[], Awaitable[None]]) -> None:
    """Tells a story while the directory runs."""
    task = asyncio.create_task(made.run())
    try:
        await story()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def test_the_list_is_asked_for_at_once_and_every_interval() -> None:
    async def main(clock: Clock) -> None:
        told = Told()
        kubelet = Source("kubelet", clock, pods("a"))
        made = directory(clock, kubelet, told=told)
        await running(made, lambda: asyncio.sleep(185))
        assert kubelet.asked == [0, 60, 120, 180]
        assert told.pods == [pods("a")] * 4
        assert made.attempts == 4

    run_virtually(main)


def test_a_requested_refresh_is_made_at_once() -> None:
    async def main(clock: Clock) -> None:
        kubelet = Source("kubelet", clock, pods("a"))
        made = directory(clock, kubelet)

        async def story() -> None:
            await asyncio.sleep(20)
            kubelet.answer = pods("a", "b")
            made.request_refresh(new=True)
            await asyncio.sleep(0.001)
            assert made.pods == pods("a", "b")
            made.request_refresh(new=True)
            made.request_refresh(new=True)
            await asyncio.sleep(5)

        await running(made, story)
        assert kubelet.asked == [0, 20, 21]

    run_virtually(main)


def test_requests_about_what_is_never_mapped_back_off_and_news_resets_them() -> None:
    async def main(clock: Clock) -> None:
        kubelet = Source("kubelet", clock, pods("a"))
        made = directory(clock, kubelet)

        async def story() -> None:
            await asyncio.sleep(1)
            for tick in range(50):
                if tick == 40:
                    kubelet.answer = pods("a", "b")
                made.request_refresh()
                await asyncio.sleep(1)

        await running(made, story)
        assert kubelet.asked == [0, 1, 2, 4, 8, 16, 26, 36, 46, 47, 49]

    run_virtually(main)


def test_the_first_source_that_works_is_used_and_an_earlier_one_that_recovers_is_used_again() -> None:
    async def main(clock: Clock) -> None:
        kubelet, api, logs = (Source(name, clock) for name in ("kubelet", "apiserver", "logs"))
        api.answer = pods("api")
        logs.answer = pods("logs")
        made = directory(clock, kubelet, api, logs)

        async def story() -> None:
            await asyncio.sleep(1)
            assert made.pods == pods("api")
            assert [(s.name, s.up, s.active) for s in made.status.sources] == [
                ("kubelet", False, False),
                ("apiserver", True, True),
                ("logs", None, False),
            ]
            made.request_refresh()
            await asyncio.sleep(1)
            assert kubelet.asked == [0]  # a request goes to the source in use
            await asyncio.sleep(60)
            assert kubelet.asked == [0, 60]
            kubelet.answer = pods("kubelet")
            await asyncio.sleep(120)  # its second failure in a row lets it wait for two intervals
            assert made.pods == pods("kubelet")
            assert [(s.up, s.active) for s in made.status.sources] == [(True, True), (True, False), (None, False)]

        await running(made, story)
        assert logs.asked == []

    run_virtually(main)


def test_when_the_source_in_use_fails_the_others_take_over_at_once() -> None:
    async def main(clock: Clock) -> None:
        kubelet, api = Source("kubelet", clock, pods("a")), Source("apiserver", clock, pods("a", "b"))
        made = directory(clock, kubelet, api)

        async def story() -> None:
            await asyncio.sleep(5)
            kubelet.answer = "refused"
            made.request_refresh(new=True)
            await asyncio.sleep(0.001)
            assert made.pods == pods("a", "b")

        await running(made, story)
        assert (kubelet.asked, api.asked) == ([0, 5], [5])

    run_virtually(main)


def test_a_source_that_fails_for_ever_while_another_serves_is_said_and_counted_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main(clock: Clock) -> None:
        kubelet, api = Source("kubelet", clock, "tls"), Source("apiserver", clock, pods("a"))
        made = directory(clock, kubelet, api)

        async def story() -> None:
            await asyncio.sleep(4 * 3600)
            first, second = made.status.sources
            assert (first.up, first.reason, first.failures) == (False, "tls", {"tls": 1})
            assert (second.up, second.active, second.failures) == (True, True, {})
            assert [record.getMessage() for record in caplog.records] == [
                "pod source kubelet failed (tls): kubelet: tls",
                "pods come from apiserver now: 1 of them",
            ]
            api.answer = "timeout"
            await asyncio.sleep(100)
            first, second = made.status.sources
            assert first.failures["tls"] > 5  # when all fail, all are tried again soon, and each failure counts
            assert second.failures["timeout"] > 5

        with caplog.at_level(logging.INFO):
            await running(made, story)
        gaps = [after - before for before, after in pairwise(kubelet.asked[:19])]
        assert gaps == [60, 120, 240, 480, *[900] * 14]

    run_virtually(main)


def test_a_source_that_fails_for_another_reason_is_said_again(caplog: pytest.LogCaptureFixture) -> None:
    async def main(clock: Clock) -> None:
        kubelet, api = Source("kubelet", clock, "refused"), Source("apiserver", clock, pods("a"))
        made = directory(clock, kubelet, api)

        async def story() -> None:
            await asyncio.sleep(30)
            kubelet.answer = "forbidden"
            await asyncio.sleep(3600)

        await running(made, story)
        assert made.status.sources[0].failures == {"refused": 1, "forbidden": 1}

    run_virtually(main)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        "pod source kubelet failed (refused): kubelet: refused",
        "pod source kubelet failed (forbidden): kubelet: forbidden",
    ]


def test_the_last_good_list_outlives_every_failure() -> None:
    async def main(clock: Clock) -> None:
        told = Told()
        kubelet = Source("kubelet", clock, pods("a"))
        made = directory(clock, kubelet, told=told)

        async def story() -> None:
            await asyncio.sleep(1)
            kubelet.answer = "timeout"
            await asyncio.sleep(3600)
            assert made.pods == pods("a")
            [status] = made.status.sources
            assert (status.up, status.active, status.last_success) == (False, True, 1_000_000.0)
            assert status.failures == {"timeout": len(kubelet.asked) - 1}
            assert status.last_error == "kubelet: timeout"
            kubelet.answer = pods("b")
            await asyncio.sleep(31)
            assert made.pods == pods("b")
            [status] = made.status.sources
            assert (status.up, status.last_error) == (True, "")

        await running(made, story)
        assert told.pods == [pods("a"), pods("b")]
        assert kubelet.asked[:9] == [0, 60, 60.5, 61.5, 63.5, 67.5, 75.5, 91.5, 121.5]

    run_virtually(main)


@pytest.mark.parametrize("answer", ["refused", pods("a")])
def test_the_first_result_is_a_list_or_the_failure_of_all(answer: PodList | str) -> None:
    async def main(clock: Clock) -> None:
        made = directory(clock, Source("kubelet", clock, "timeout", 8), Source("apiserver", clock, answer, 2))
        assert not made.status.settled

        async def story() -> None:
            await made.first_result()
            assert clock() == 10
            assert made.status.settled
            assert made.attempts == 1

        await running(made, story)

    run_virtually(main)


def test_a_status_once_taken_does_not_change() -> None:
    async def main(clock: Clock) -> None:
        kubelet = Source("kubelet", clock)
        made = directory(clock, kubelet)

        async def story() -> None:
            await asyncio.sleep(0.1)
            before = made.status
            await asyncio.sleep(10)
            assert before.sources == (
                SourceStatus(
                    "kubelet", up=False, failures={"refused": 1}, reason="refused", last_error="kubelet: refused"
                ),
            )
            with pytest.raises(FrozenInstanceError):
                before.attempts = 7  # type: ignore[misc]  # that is the point

        await running(made, story)

    run_virtually(main)


def test_the_same_failure_is_told_once_then_now_and_then_and_its_end(caplog: pytest.LogCaptureFixture) -> None:
    async def main(clock: Clock) -> None:
        kubelet = Source("kubelet", clock)
        made = directory(clock, kubelet)

        async def story() -> None:
            await asyncio.sleep(1000)
            kubelet.answer = "forbidden"
            await asyncio.sleep(60)
            kubelet.answer = pods("a")
            await asyncio.sleep(60)

        with caplog.at_level(logging.INFO):
            await running(made, story)

    run_virtually(main)
    assert [record.getMessage() for record in caplog.records] == [
        "pod source kubelet failed (refused): kubelet: refused",
        "pod source kubelet still fails, 26 times in a row (refused): kubelet: refused",
        "pod source kubelet failed (forbidden): kubelet: forbidden",
        "pod source kubelet works again after 41 failures",
        "pods come from kubelet now: 1 of them",
    ]


def test_a_list_with_problems_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async def main(clock: Clock) -> None:
        kubelet = Source("kubelet", clock, PodList(pods={}, problems={"malformed_pod": 2, "bad_annotation": 1}))
        made = directory(clock, kubelet)
        with caplog.at_level(logging.WARNING):
            await running(made, lambda: asyncio.sleep(200))
        assert len(kubelet.asked) == 4

    run_virtually(main)
    assert [record.getMessage() for record in caplog.records] == [
        "pod list of kubelet: 1 bad_annotation, 2 malformed_pod"
    ]


def test_settings_are_asked_for_at_the_start_and_rarely_after() -> None:
    async def main(clock: Clock) -> None:
        told, settings = Told(), Settings(clock)
        made = directory(clock, Source("kubelet", clock, pods("a")), told=told, settings=settings)
        await running(made, lambda: asyncio.sleep(1801))
        assert settings.asked == [0, 600, 1200, 1800]
        assert told.configs == [KubeletConfig(cpu_manager_policy="static")] * 4

    run_virtually(main)


def test_settings_that_cannot_be_had_cost_nothing_but_themselves() -> None:
    async def main(clock: Clock) -> None:
        told, settings = Told(), Settings(clock)
        settings.answer = "forbidden"
        made = directory(clock, Source("kubelet", clock, pods("a")), told=told, settings=settings)
        await running(made, lambda: asyncio.sleep(100))
        assert settings.asked == [0, 5, 15, 35, 75]
        assert made.status.config_failures == {"forbidden": 1}  # it may be so for ever, and nothing else is missing
        assert len(told.pods) == 2

    run_virtually(main)


def test_settings_are_asked_for_anew_when_the_kubelet_is_back() -> None:
    async def main(clock: Clock) -> None:
        settings = Settings(clock)
        kubelet = Source("kubelet", clock, pods("a"))
        made = directory(clock, kubelet, settings=settings)

        async def story() -> None:
            await asyncio.sleep(30)
            kubelet.answer = "refused"
            await asyncio.sleep(31)
            kubelet.answer = pods("a")
            await asyncio.sleep(30)

        await running(made, story)
        assert settings.asked == [0, 61.5]

    run_virtually(main)


def test_all_sources_are_closed() -> None:
    async def main(clock: Clock) -> None:
        sources = [Source("kubelet", clock), Source("logs", clock)]
        made = directory(clock, *sources)
        await running(made, lambda: asyncio.sleep(1))
        await made.aclose()
        assert all(source.closed for source in sources)

    run_virtually(main)
