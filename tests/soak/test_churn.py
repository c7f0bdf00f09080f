"""Fifteen hundred real cgroups made and removed under a scraped process; ``tests.soak.churn`` does ten thousand."""

from __future__ import annotations

import sys

import pytest

from exporter.lab.hierarchy import Hierarchy, LabError, writable_hierarchy
from exporter.lab.tree import sweep
from tests.conftest import unavailable
from tests.soak.churn import CONTAINERS_A_POD, PODS_A_BATCH, Outcome, churn, told

CONTAINERS = 1500
MOST_GROWTH = 4_000_000
"""Bytes of resident memory: one allocation of the interpreter's, not one a container."""


@pytest.fixture(scope="module")
def hierarchy() -> Hierarchy:
    try:
        found = writable_hierarchy()
    except LabError as error:
        unavailable(f"needs a hierarchy in which cgroups can be made: {error}")
    sweep(found)
    return found


@pytest.fixture(scope="module")
def outcome(hierarchy: Hierarchy, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("churn")
    return churn(hierarchy, folder, containers=CONTAINERS, scrape_seconds=0.3, linger=2, life=0.25)


@pytest.mark.timeout(180)
def test_every_page_is_whole_and_nothing_fails(outcome: Outcome) -> None:
    sys.stdout.write("\n".join(told(outcome)) + "\n")  # shown with -s, and where this fails
    assert outcome.made >= CONTAINERS
    assert len(outcome.scrapes) >= 20
    assert {scrape.status for scrape in outcome.scrapes} == {200}
    assert outcome.problems == []
    assert outcome.counted == {}
    assert outcome.named, "some lived long enough to be named"


def test_descriptors_and_watches_end_as_they_began(outcome: Outcome) -> None:
    before, after = outcome.before, outcome.after
    assert before is not None
    assert after is not None
    assert (after.descriptors, after.watches) == (before.descriptors, before.watches)
    # While it goes on they follow what is alive: two batches, each pod with its sandbox.
    alive = 3 * PODS_A_BATCH * (CONTAINERS_A_POD + 2)
    assert max(scrape.watches for scrape in outcome.scrapes) <= before.watches + alive
    assert max(scrape.descriptors for scrape in outcome.scrapes) <= before.descriptors + 4 * alive


def test_memory_stays(outcome: Outcome) -> None:
    assert outcome.resident_growth() < MOST_GROWTH
