from collections.abc import Callable
from pathlib import Path

import pytest

from tests.rules.scenario import ALIVE, Labels, Source, check, firing, query

Fires = Callable[..., None]
OTHERS = 'ALERTS{alertstate="firing",alertname!~"WorkloadCPUThrottled.*|PodCPUThrottled"}'


@pytest.fixture
def fires(tmp_path: Path) -> Fires:
    """Asserts which alerts fire at a minute, with all their labels, but for those of test_catalogue.py."""

    def assert_firing(sources: list[Source], *alerts: Labels, minute: int = 30) -> None:
        check(tmp_path, [*sources, ALIVE], queries=[query(OTHERS, minute, firing(*alerts))])

    return assert_firing
