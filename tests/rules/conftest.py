from collections.abc import Callable
from pathlib import Path

import pytest

from tests.rules.scenario import ALIVE, Labels, Source, check, firing, query

Fires = Callable[..., None]


@pytest.fixture
def fires(tmp_path: Path) -> Fires:
    """Asserts which alerts, of all there are, fire at a minute, with all their labels."""

    def assert_firing(sources: list[Source], *alerts: Labels, minute: int = 30) -> None:
        check(tmp_path, [*sources, ALIVE], queries=[query('ALERTS{alertstate="firing"}', minute, firing(*alerts))])

    return assert_firing
