"""The mixed load's comparison: what is said of a container beside what is the matter with it."""

from __future__ import annotations

from typing import cast

import pytest

from exporter.report.schema import Container
from tests.support import snapshots as make
from tests.support.lab_truth import KINDS, Truth

ACCUSED, MISTAKEN, MISSED = KINDS
THROTTLED = Truth("own quota", "throttled")
NEIGHBOUR = Truth("a neighbour", "contention", ("neighbours",), "live/hog/burn", is_waiting=True)


def said(*findings: tuple[str, str, str], unknown: str = "") -> Container:
    """A container with findings (name, reason, summary), and an entry of its ledger that is unknown."""
    found = [make.finding(name, None, summary=text) | {"reason": reason} for name, reason, text in findings]
    ledger = {"unknown": {unknown: "the kernel does not count it"} if unknown else {}}
    return cast("Container", {"findings": found, "ledger": ledger})


@pytest.mark.parametrize(
    ("truth", "answer", "kinds"),
    [
        (Truth(), said(), []),
        (Truth(), said(("throttled", "", "s")), [ACCUSED]),
        (Truth(tolerated=("throttled",)), said(("throttled", "", "s")), []),
        (THROTTLED, said(("throttled", "", "s")), []),
        (THROTTLED, said(), [MISSED]),
        (THROTTLED, said(unknown="waited"), [MISSED]),
        (THROTTLED, said(("throttled", "", "s"), ("contention", "", "s")), [ACCUSED]),
        (NEIGHBOUR, said(("contention", "neighbours", "live/hog/burn with 0.7 CPUs")), []),
        (NEIGHBOUR, said(("contention", "neighbours", "live/web/app with 0.1 CPUs")), [MISTAKEN]),
        (NEIGHBOUR, said(("contention", "outside", "live/hog/burn")), [MISTAKEN]),
        (NEIGHBOUR, said(unknown="waited"), []),
        (NEIGHBOUR, said(), [MISSED]),
    ],
)
def test_errors_are_told_apart(truth: Truth, answer: Container, kinds: list[str]) -> None:
    wrong = truth.wrong(answer, ())
    assert [error.partition(":")[0] for error in wrong] == kinds
    assert truth.wrong(answer, {"throttled", "contention"}) == [one for one in wrong if not one.startswith(ACCUSED)]
