"""The real process, started once for each recording and asked at both instants."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.fake_kubelet import kubelet
from tests.support.pages import Key, Page
from tests.support.process import OPENMETRICS, Exporter, started, tree_options
from tests.support.recordings import RECORDINGS, Node, Recording, advance, copied, expected_samples

FAST = ("--sample.interval=100ms", "--scan.interval=100ms")
"""As often as the exporter may: tests wait for ticks, never for time."""

SETTLE_SECONDS = 10.0


@dataclass(frozen=True)
class Observed:
    """What one process said of one recording."""

    recording: Recording
    first: Page
    first_openmetrics: Page
    expected_first: dict[Key, float]
    second: Page
    expected_second: dict[Key, float]
    log: str
    exit_code: int


@pytest.fixture(scope="session", params=RECORDINGS, ids=lambda recording: recording.name)
def observed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Observed:
    """A recording served at its first instant, then, under the same process, at its second."""
    recording: Recording = request.param
    folder = tmp_path_factory.mktemp(recording.name)
    tree = copied(recording, folder / "tree")
    options = [
        *tree_options(tree),
        *FAST,
        "--collector.usage_modes",
        "--collector.distribution",
        "--web.cadvisor-names",
    ]
    with pods_of(recording, folder) as source, started([*options, *source]) as exporter:
        expected_first = expected_samples(Node(tree), recording.pod_list)
        # The second sample of a cgroup makes its first window.
        exporter.page_after_ticks(2)
        first, first_openmetrics = exporter.page(), exporter.page(OPENMETRICS)
        advance(tree, recording)
        expected_second = expected_samples(Node(tree), recording.pod_list)
        second = page_where(exporter, lambda page: expected_second.items() <= page.samples.items())
    return Observed(
        recording,
        first,
        first_openmetrics,
        expected_first,
        second,
        expected_second,
        exporter.log,
        exporter.process.returncode,
    )


@contextmanager
def pods_of(recording: Recording, folder: Path) -> Iterator[list[str]]:
    """The recorded kubelet's answers from a kubelet, or the written list from a file."""
    if not recording.is_v1:
        yield [f"--pods.sources=file:{recording.pods}"]
        return
    configz = (recording.folder / "configz.json").read_bytes()
    with kubelet(folder, recording.pods.read_bytes(), configz) as running:
        yield running.options


def page_where(exporter: Exporter, settled: Callable[[Page], bool]) -> Page:
    """The first page that is ``settled``, or the last one asked for: the test then shows what differs."""
    deadline = time.monotonic() + SETTLE_SECONDS
    # Counters are read for the page, windows are those of the last tick.
    page = exporter.page_after_ticks(1)
    while not settled(page) and time.monotonic() < deadline:
        page = exporter.page_after_ticks(1)
    return page
