"""The real process, started once for each recording and asked at both instants."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.pages import Key, Page
from tests.support.process import OPENMETRICS, Exporter, started, tree_options
from tests.support.recordings import RECORDINGS, Node, Recording, advance, copied, expected_samples

FAST = ("--sample.interval=100ms", "--scan.interval=200ms")
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
    tree = copied(recording, tmp_path_factory.mktemp(recording.name) / "tree")
    options = [*tree_options(tree), *FAST, f"--pods.sources=file:{recording.pods}", "--collector.usage_modes"]
    with started(options) as exporter:
        expected_first = expected_samples(Node(tree), recording.pod_list)
        # The second sample of a cgroup makes its first window.
        exporter.page_after_ticks(2)
        first, first_openmetrics = exporter.page(), exporter.page(OPENMETRICS)
        advance(tree, recording)
        expected_second = expected_samples(Node(tree), recording.pod_list)
        second = _page_with(exporter, expected_second)
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


def _page_with(exporter: Exporter, expected: dict[Key, float]) -> Page:
    """The first page that holds ``expected``, or the last one asked for: the test then shows what differs."""
    deadline = time.monotonic() + SETTLE_SECONDS
    page = exporter.page()
    while not expected.items() <= page.samples.items() and time.monotonic() < deadline:
        page = exporter.page_after_ticks(1)
    return page


@pytest.fixture(scope="module")
def public_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that a process without privileges may enter, unlike pytest's own."""
    folder = tmp_path_factory.mktemp("public")
    for parent in (folder, *folder.parents):
        if parent.stat().st_mode & 0o777 == 0o700:
            parent.chmod(0o711)
    return folder
